"""IDX files."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from dcfm_node.data.source import load
from dcfm_node.data.spec import AttributeSource, IdxData
from dcfm_node.errors import DataError
from dcfm_node.samples import unit
from tests.unit.data.manifests import DIGIT, manifest

RUN = manifest(shape=(1, 3, 2), attributes=(DIGIT,))
IMAGES = np.arange(4 * 6, dtype=np.uint8).reshape(4, 3, 2)
LABELS = np.array([3, 1, 4, 1], np.uint8)
MNIST = Path(os.environ.get("DCFM_DATA", Path(__file__).parents[4] / "shared" / "data")) / "mnist"


def idx(array: np.ndarray) -> bytes:
    shape = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes((0, 0, 8, array.ndim)) + shape + array.tobytes()


def pair(folder: Path, images: bytes = idx(IMAGES), labels: bytes = idx(LABELS)) -> IdxData:
    (folder / "x").write_bytes(images)
    (folder / "y").write_bytes(labels)
    return IdxData(format="idx", path=folder / "x", labels=folder / "y")


@pytest.mark.parametrize("packed", [False, True])
def test_images_and_labels(tmp_path: Path, packed: bool) -> None:
    images, labels = idx(IMAGES), idx(LABELS)
    if packed:
        images, labels = gzip.compress(images), gzip.compress(labels)
    data = load(pair(tmp_path, images, labels), RUN)
    assert data.train.x.shape[1:] == (1, 3, 2)
    pixels = unit(np.concatenate([data.train.x, data.holdout.x]))
    order = np.argsort(pixels[:, 0, 0, 0])
    assert np.allclose(pixels[order, 0], IMAGES / 127.5 - 1, atol=1e-6)
    assert np.concatenate([data.train.c, data.holdout.c])[order, 0].tolist() == LABELS.tolist()


def test_other_attributes_are_constant(tmp_path: Path) -> None:
    run = manifest(shape=(1, 3, 2))
    with pytest.raises(DataError, match="digit, colour") as caught:
        load(pair(tmp_path), run)
    assert "constant" in caught.value.fix
    spec = pair(tmp_path).model_copy(
        update={"attributes": {"colour": AttributeSource(constant="green")}}
    )
    assert {label[1] for label, _ in load(spec, run).counts} == {1}


@pytest.mark.parametrize(
    ("images", "labels", "file", "what"),
    [
        (idx(IMAGES), idx(LABELS[:3]), "y", "3 labels for 4 images"),
        (idx(IMAGES)[:-1], idx(LABELS), "x", "holds less than the 24 bytes"),
        (idx(IMAGES) + b"x", idx(LABELS), "x", "holds more than the 24 bytes"),
        (idx(IMAGES)[:9], idx(LABELS), "x", "not an IDX file"),
        (b"", idx(LABELS), "x", "not an IDX file"),
        (idx(LABELS), idx(LABELS), "x", "not an IDX file of unsigned bytes in 3 dimensions"),
        (idx(IMAGES), idx(IMAGES), "y", "not an IDX file of unsigned bytes in 1 dimensions"),
        (idx(IMAGES).replace(b"\x08", b"\x0d", 1), idx(LABELS), "x", "not an IDX file"),
        # mtime: test processes must collect the same names, and a parameter's name is its bytes.
        (gzip.compress(idx(IMAGES), mtime=0)[:-9], idx(LABELS), "x", "cannot be read"),
        (b"\x1f\x8bnonsense", idx(LABELS), "x", "cannot be read"),
        (b"\0\0\x08\x03" + b"\xff" * 12, idx(LABELS), "x", "announces"),
        (idx(IMAGES), idx(LABELS + 9), "y: label 1", "'10' is not a value"),
        (idx(IMAGES.reshape(4, 2, 3)), idx(LABELS), "x", "samples have shape [1, 2, 3]"),
    ],
)
def test_what_is_not_right_is_refused(
    tmp_path: Path, images: bytes, labels: bytes, file: str, what: str
) -> None:
    with pytest.raises(DataError) as caught:
        load(pair(tmp_path, images, labels), RUN)
    assert caught.value.where == str(tmp_path / file)
    assert what in caught.value.what
    assert caught.value.fix


@pytest.mark.parametrize("gone", ["x", "y"])
def test_a_missing_file_is_named(tmp_path: Path, gone: str) -> None:
    spec = pair(tmp_path)
    (tmp_path / gone).unlink()
    with pytest.raises(DataError, match="no such file") as caught:
        load(spec, RUN)
    assert caught.value.where == str(tmp_path / gone)


@pytest.mark.skipif(not MNIST.is_dir(), reason=f"no MNIST in {MNIST}; set DCFM_DATA to have it")
def test_mnist() -> None:
    spec = IdxData(
        format="idx",
        path=MNIST / "t10k-images-idx3-ubyte.gz",
        labels=MNIST / "t10k-labels-idx1-ubyte.gz",
    )
    data = load(spec, manifest(shape=(1, 28, 28), attributes=(DIGIT,)))
    assert (len(data.train.x), len(data.holdout.x)) == (9_000, 1_000)
    assert (data.train.x.min(), data.train.x.max()) == (0, 255)
    every = np.concatenate([data.train.c, data.holdout.c])[:, 0]
    # The published sizes of the ten classes.
    assert np.bincount(every).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
