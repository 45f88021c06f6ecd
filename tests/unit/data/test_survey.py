"""What a silo's files hold, found from their path alone."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcfm_node.data.spec import AttributeSource, FolderData, IdxData
from dcfm_node.data.survey import survey
from dcfm_node.errors import DataError

WEATHER = np.repeat(["rain", "dry", "dry"], 30)
X = np.random.default_rng(0).normal((1013.0, 0.02), (9.0, 0.004), (90, 2)).astype(np.float32)


def npz(folder: Path, **arrays: object) -> Path:
    file = folder / "north.npz"
    np.savez(file, **{"x": X, "weather": WEATHER} | arrays)  # type: ignore[arg-type]
    return file


def picture(file: Path, mode: str = "RGB", size: tuple[int, int] = (6, 8), level: int = 90) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, (level,) * len(mode) if len(mode) > 1 else level).save(file)


def pictures(folder: Path, mode: str = "RGB") -> Path:
    for i in range(4):
        picture(folder / "Shape=cross,colour=red" / f"{i}.png", mode, level=10 + i)
        picture(folder / "Shape=bar,colour=red" / f"{i}.png", mode, level=20 + i)
    return folder


def test_vectors_in_physical_units(tmp_path: Path) -> None:
    found = survey(npz(tmp_path, terrain=np.tile([10, 9, 2], 30)))
    assert (found.samples, found.sample_shape) == (90, (2,))
    assert found.attributes == (("weather", ("dry", "rain")), ("terrain", ("2", "9", "10")))
    assert dict(found.combinations)["dry", "9"] == 20
    assert sum(number for _, number in found.combinations) == 90
    assert [round(one.mean, 2) for one in found.features] == [
        round(float(X[:, 0].mean(dtype=np.float64)), 2),
        0.02,
    ]
    assert found.spec.path == tmp_path / "north.npz"
    assert found.warnings == tuple(
        f"only 10 samples are rain, {value}" for value in ("2", "9", "10")
    )


def test_columns_that_are_no_labels_are_told(tmp_path: Path) -> None:
    columns = {"patient": np.arange(90), "age": X[:, 0], "when": X}
    found = survey(npz(tmp_path, Site=WEATHER == "dry", **columns))
    assert found.attributes == (("weather", ("dry", "rain")), ("site", ("0", "1")))
    told = "\n".join(found.notes)
    assert "'age', float32 [90], is not used" in told
    assert "'when', float32 [90, 2], is not used" in told
    assert "'patient' is not used: it has another value for nearly every sample" in told


def test_odd_numbers_are_told(tmp_path: Path) -> None:
    odd = np.concatenate([X, np.full((90, 1), 3.0, np.float32)], axis=1)
    assert "feature 2 has the same value" in survey(npz(tmp_path, x=odd)).warnings[0]
    bytes_as_floats = np.tile(np.arange(256, dtype=np.float32).reshape(1, 16, 16), (90, 1, 1, 1))
    assert "x / 127.5 - 1" in survey(npz(tmp_path, x=bytes_as_floats)).warnings[0]


def test_large_samples_are_told(tmp_path: Path) -> None:
    picture(tmp_path / "p" / "a=x" / "0.png", size=(40, 30))
    picture(tmp_path / "p" / "a=y" / "0.png", size=(40, 30), level=3)
    assert "samples of 3600 numbers" in survey(tmp_path / "p").warnings[0]
    assert "resize = true" in survey(tmp_path / "p").warnings[0]
    large = np.random.default_rng(0).normal(size=(90, 4000)).astype(np.float32)
    assert "store smaller ones" in survey(npz(tmp_path, x=large)).warnings[0]
    assert "numbers" not in survey(npz(tmp_path, x=large[:, :3072])).warnings[0]


def test_labels_in_one_array(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, x=X, c=np.stack([np.arange(90) % 2, np.arange(90) % 3], axis=1))
    found = survey(file)
    assert found.attributes == (("c0", ("0", "1")), ("c1", ("0", "1", "2")))
    assert "in place of c0" in found.notes[0]


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1), ("RGBA", 4)])
def test_pictures_in_folders_with_text_labels(tmp_path: Path, mode: str, channels: int) -> None:
    found = survey(pictures(tmp_path, mode))
    assert found.sample_shape == (channels, 8, 6)
    assert found.attributes == (("shape", ("bar", "cross")), ("colour", ("red",)))
    assert found.spec.attributes == {"shape": AttributeSource(column="Shape")}
    assert any("'colour' is always 'red' here" in told for told in found.warnings)
    assert len(found.features) == channels


def test_pictures_of_other_sizes_are_resampled(tmp_path: Path) -> None:
    pictures(tmp_path)
    picture(tmp_path / "Shape=bar,colour=red" / "large.png", size=(60, 80))
    found = survey(tmp_path)
    assert found.sample_shape == (3, 8, 6)
    assert isinstance(found.spec, FolderData)
    assert found.spec.resize
    assert "1 of 9 pictures are not 8 x 6" in found.warnings[0]


def test_pictures_without_a_common_size_get_a_usual_one(tmp_path: Path) -> None:
    for i in range(9):
        picture(tmp_path / "a=x,b=y" / f"{i}.png", size=(20 + i, 60 + i))
        picture(tmp_path / "a=z,b=y" / f"{i}.png", size=(29 + i, 70 + i))
    assert survey(tmp_path).sample_shape == (3, 32, 24)


@pytest.mark.parametrize(
    ("name", "names", "like"),
    [
        ("{}_{}_17.png", "{shape}_{size}_*", "{first}_{second}_*"),
        ("{}/{}/17.png", "{shape}/{size}/*", "{first}/{second}/*"),
        ("{}-{}/img 17.png", "{shape}-{size}/*", "{first}-{second}/{third} *"),
    ],
)
def test_names_of_pictures_give_labels(tmp_path: Path, name: str, names: str, like: str) -> None:
    for i, shape in enumerate(("bar", "cross", "bar")):
        picture(tmp_path / name.format(shape, "ab"[i // 2]), level=i)
    found = survey(tmp_path, names=names)
    assert found.attributes == (("shape", ("bar", "cross")), ("size", ("a", "b")))
    assert isinstance(found.spec, FolderData)
    assert found.spec.names == names
    with pytest.raises(DataError, match="gives no attribute") as refused:
        survey(tmp_path)
    assert f"--names '{like}'" in refused.value.fix
    for wrong, what in (("{a}{a}", "gives no labels"), ("*", "gives no labels"), ("{a}x", "fit")):
        with pytest.raises(DataError, match=what):
            survey(tmp_path, names=wrong)


def test_one_attribute_cannot_be_composed(tmp_path: Path) -> None:
    both = np.char.add(np.char.add(WEATHER, "_"), np.tile(["hill", "sea"], 45))
    (told,) = survey(npz(tmp_path, weather=both)).warnings[:1]
    assert "'weather' is the only attribute" in told
    assert "'dry_hill' looks like several values" in told
    assert "several" not in survey(npz(tmp_path)).warnings[0]


def test_a_table_that_lists_pictures(tmp_path: Path) -> None:
    for i in range(6):
        picture(tmp_path / f"{i}.png", level=i)
    rows = [f"{i}.png,{['bar', 'cross'][i % 2]},p{i}" for i in range(6)]
    (tmp_path / "list.csv").write_text("\n".join(["file,shape,patient", *rows]))
    for path in (tmp_path, tmp_path / "list.csv"):
        found = survey(path)
        assert found.attributes == (("shape", ("bar", "cross")),)
        assert "'patient' is not used" in found.notes[0]
        assert found.spec.paths == (tmp_path, tmp_path / "list.csv")


def test_a_pair_of_idx_files(tmp_path: Path) -> None:
    images, labels = (
        tmp_path / "train-images-idx3-ubyte.gz",
        tmp_path / "train-labels-idx1-ubyte.gz",
    )
    pixels = np.arange(40 * 4, dtype=np.uint8)
    images.write_bytes(gzip.compress(struct.pack(">4I", 0x803, 40, 2, 2) + pixels.tobytes()))
    digits = np.arange(40, dtype=np.uint8) % 4
    labels.write_bytes(gzip.compress(struct.pack(">2I", 0x801, 40) + digits.tobytes()))
    for path in (tmp_path, images):
        found = survey(path)
        assert (found.sample_shape, found.attributes) == (
            (1, 2, 2),
            (("label", ("0", "1", "2", "3")),),
        )
        assert isinstance(found.spec, IdxData)
        assert found.spec.labels == labels


def test_what_is_no_data_is_refused_with_a_fix(tmp_path: Path) -> None:
    (tmp_path / "table.xlsx").write_text("?")
    picture(tmp_path / "plain" / "cross" / "0.png")
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "unlabelled.npz", x=X, age=X[:, 0])
    np.savez(tmp_path / "flat.npz", x=X[:, 0])
    np.savez(tmp_path / "nameless.npz", y=X)
    np.savez(tmp_path / "nan.npz", x=X * np.nan, weather=WEATHER)
    np.savez(tmp_path / "blank.npz", x=X, weather=np.where(WEATHER == "dry", " ", "rain"))
    (tmp_path / "two").mkdir()
    for name in ("a", "b"):
        np.savez(tmp_path / "two" / f"{name}.npz", x=X, weather=WEATHER)
    for name, what, fix in (
        ("nowhere", "no such file", ".npz archive"),
        ("table.xlsx", "is not data", ".npz archive"),
        ("plain", "gives no attribute", "shape=cross"),
        ("empty", "holds no picture", ".npz archive"),
        ("unlabelled.npz", "gives no attribute", "beside x"),
        ("flat.npz", "x has shape [90]", "(N, features)"),
        ("nameless.npz", "has no array 'x', only y", "(N, …)"),
        ("nan.npz", "NaN", "repair"),
        ("blank.npz", "'weather' is ''", "1 to 64"),
        ("two", "holds 2 data files: a.npz, b.npz", "name one"),
    ):
        with pytest.raises(DataError) as refused:
            survey(tmp_path / name)
        assert what in refused.value.what, name
        assert fix in refused.value.fix, name
        assert name in refused.value.where
