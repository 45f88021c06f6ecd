"""Labels, archives and repeats as people have them."""

import gzip
import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcfm_node.data import raw
from dcfm_node.data.alike import first_alike
from dcfm_node.data.source import holdout_mask, load
from dcfm_node.data.spec import AttributeSource, IdxData, NpzData
from dcfm_node.errors import DataError
from tests.unit.data.oddities import FINDING, RUN, VECTORS, everything, folder, grey


def test_samples_that_are_alike_are_on_one_side_of_the_split(tmp_path: Path) -> None:
    x = np.repeat(np.random.default_rng(0).normal(size=(40, 2)), 3, axis=0)
    labels = np.array(["none", "mass"])[np.arange(120) % 2]
    np.savez(tmp_path / "d.npz", x=x, finding=labels)
    data = load(NpzData(format="npz", path=tmp_path / "d.npz", holdout=0.25), VECTORS)
    assert len(data.holdout.x) == 30
    assert not set(map(tuple, data.train.x.tolist())) & set(map(tuple, data.holdout.x.tolist()))
    (note,) = data.notes
    assert "80 of 120 samples repeat an earlier one, 40 with other labels" in note
    assert "row 1, which equals" in note
    assert not data.warnings


def test_where_all_samples_are_alike_it_is_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.tile([[1.0, -1.0]], (9, 1)), finding=["none"] * 9)
    data = load(NpzData(format="npz", path=tmp_path / "d.npz"), VECTORS)
    assert (len(data.train.x), len(data.holdout.x)) == (8, 1)
    assert "all samples are equal" in data.warnings[0].what


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2)), min_size=2, max_size=40),
    st.floats(0.001, 0.999),
)
def test_every_split_keeps_what_is_alike_together(
    samples: list[tuple[int, int]], fraction: float
) -> None:
    values, labels = np.array(samples).T
    x = np.repeat(values[:, None].astype(np.float32), 2, axis=1)
    first = first_alike(x)
    assert (values[first] == values).all()
    assert all(first[i] == samples_of[0] for samples_of in _alike(values) for i in samples_of)
    held = holdout_mask(labels[:, None], fraction, 0, first)
    assert 1 <= held.sum() < len(values)
    if len(set(values.tolist())) > 1:
        assert not set(values[held].tolist()) & set(values[~held].tolist())


def _alike(values: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(values == value) for value in np.unique(values)]


def test_without_repeats_the_split_is_what_it_was() -> None:
    c = np.arange(30)[:, None] % 3
    assert np.array_equal(holdout_mask(c, 0.2, 1), holdout_mask(c, 0.2, 1, np.arange(30)))


@pytest.mark.parametrize(
    ("labels", "what", "fix"),
    [
        ([1, 2, 3, 1], "3 is not a value", "subtract 1, if the labels count from 1"),
        ([0, 2, 3, 1], "3 is not a value", "an index from 0 to 2"),
        ([0, -1, 1, 1], "-1 is not a value", "an index from 0 to 2"),
        ([0.0, 1.0, 0.0, 1.0], "stored as float64", "labels.astype(int)"),
        ([True, False, True, False], "stored as bool", "labels.astype(int)"),
        (np.eye(3)[[0, 1, 2, 0]] * 2, "shape (4, 3) for 4 samples", "argmax(axis=1)"),
        (np.zeros((4, 3), int), "shape (4, 3) for 4 samples", "argmax(axis=1)"),
        (np.zeros((4, 1, 1), int), "shape (4, 1, 1) for 4 samples", "one value per sample"),
        (np.array(0), "shape () for 4 samples", "one value per sample"),
        (np.array([0, 1, 1j, 0]), "stored as complex128", "labels.astype(int)"),
        (np.zeros(4, "datetime64[D]"), "stored as datetime64[D]", "labels.astype(int)"),
        (["none", "", "mass", "none"], "'' is not a value", "none, mass, naïve"),
    ],
)
def test_labels_that_are_no_positions_or_values_are_refused(
    tmp_path: Path, labels: Any, what: str, fix: str
) -> None:
    np.savez(tmp_path / "d.npz", x=np.arange(8.0).reshape(4, 2), finding=labels)
    with pytest.raises(DataError) as caught:
        load(NpzData(format="npz", path=tmp_path / "d.npz"), VECTORS)
    assert what in caught.value.what
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    "labels",
    [
        [b"none", b"mass", "naïve".encode(), b"none"],
        np.eye(3)[[0, 1, 2, 0]],
        np.eye(3, dtype=bool)[[0, 1, 2, 0]],
        np.array([[0], [1], [2], [0]]),
        np.array([["none"], ["mass"], ["naïve"], ["none"]]),
    ],
)
def test_labels_as_other_programs_write_them_are_read(tmp_path: Path, labels: Any) -> None:
    np.savez(tmp_path / "d.npz", x=np.arange(8.0).reshape(4, 2), finding=labels)
    _, c = everything(load(NpzData(format="npz", path=tmp_path / "d.npz"), VECTORS))
    assert sorted(c.ravel().tolist()) == [0, 0, 1, 2]


@pytest.mark.parametrize(
    ("labels", "values", "warned"),
    [
        ([1, 2, 1, 2], {}, True),
        ([2, 2, 2, 2], {}, True),
        ([0, 2, 2, 2], {}, False),
        (["mass"] * 4, {}, False),
        ([1, 2, 1, 2], {"1": "mass", "2": "naïve"}, False),
    ],
)
def test_positions_that_may_count_from_one_are_told(
    tmp_path: Path, labels: Any, values: dict[str, str], warned: bool
) -> None:
    np.savez(tmp_path / "d.npz", x=np.arange(8.0).reshape(4, 2), finding=labels)
    source = {"finding": AttributeSource(values=values)}
    spec = NpzData(format="npz", path=tmp_path / "d.npz", attributes=source)
    found = [w.what for w in load(spec, VECTORS).warnings if w.code == "data-labels"]
    assert len(found) == warned
    if warned:
        assert "no label of attribute 'finding' is 0" in found[0]
        assert "2 as 'naïve'" in found[0]
        assert "2 for 'mass'" in found[0]
        assert "[data.attributes.finding.values]" in found[0]


XS = np.random.default_rng(0).normal(size=(6, 2))
HUES = np.array(["none", "mass", "naïve"] * 2)


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": np.asfortranarray(XS)},
        {"x": XS.astype(">f8")},
        {"x": XS.astype("<f2")},
        {"x": XS, "finding": np.array([0, 1, 2] * 2, ">i8")},
        {"x": XS, "finding": HUES.astype(">U9")},
        {"x": XS, "finding": np.array([0, 1, 2] * 2, np.uint64)},
        {"x": XS, "": np.zeros(3), "extra": np.array([None, {}], object)},
        {"x": XS, "finding": np.array([f" {hue} " for hue in HUES])},
    ],
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_is_read_however_it_was_written(
    tmp_path: Path, arrays: dict[str, Any], save: Any
) -> None:
    with (tmp_path / "d.npz").open("wb") as stream:
        save(stream, **({"finding": HUES} | arrays))
    x, c = everything(load(NpzData(format="npz", path=tmp_path / "d.npz"), VECTORS))
    order = np.argsort(x[:, 0])
    assert np.allclose(x[order], XS[np.argsort(XS[:, 0])], atol=1e-3)
    assert sorted(c[:, 0].tolist()) == [0, 0, 1, 1, 2, 2]


def header(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    stream = io.BytesIO()
    said = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, said)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ({"x.npy": header((10**12, 2))}, "its header says 8000000000000"),
        ({"x.npy": header((6, 2)) + bytes(47)}, "holds 47 bytes, but its header says 48"),
        ({"x.npy": header((6, 2)) + bytes(49)}, "holds 49 bytes, but its header says 48"),
        ({"x.npy": header((-6, -2)) + bytes(48)}, "cannot be read"),
        ({"x.npy": header((6, 2), "|O") + bytes(96)}, "holds Python objects"),
        ({"x.npy": b"\x93NUMPY\x09\x00" + bytes(99)}, "cannot be read"),
        ({"x.npy": b""}, "cannot be read"),
        ({"x.npy": header((6, 2)) + bytes(48), "x": b""}, "holds two arrays 'x'"),
        ({"x.npy": header((6, 3)) + bytes(72)}, "samples have shape [3]"),
        ({"x.npy": header((0, 2))}, "holds 0 samples"),
        ({"x.npy": header((6, 2), "<c8") + bytes(96)}, "stored as complex64"),
        ({"x.npy": header((6, 2), "|b1") + bytes(12)}, "stored as bool"),
        ({"x.npy": header((6, 2), "<M8[D]") + bytes(96)}, "stored as datetime64"),
    ],
)
def test_an_archive_that_is_not_what_it_says_is_refused(
    tmp_path: Path, entries: dict[str, bytes], what: str
) -> None:
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
        archive.writestr("finding.npy", header((6,), "<i8") + bytes(48))
    with pytest.raises(DataError) as caught:
        load(NpzData(format="npz", path=tmp_path / "d.npz"), VECTORS)
    assert what in caught.value.what
    assert caught.value.fix


def test_the_same_member_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("x.npy", header((6, 2)) + bytes(48))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("x.npy", header((6, 2)) + bytes(48))
    with pytest.raises(DataError, match="holds two arrays 'x'"):
        load(NpzData(format="npz", path=tmp_path / "d.npz"), VECTORS)


def test_what_does_not_fit_in_memory_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = 200_000
    np.savez_compressed(tmp_path / "d.npz", x=np.zeros((many, 2), np.float16), finding=["none"])
    np.savez_compressed(tmp_path / "e.npz", x=np.zeros((many, 2)), finding=np.zeros(many, int))
    images = bytes((0, 0, 8, 3)) + struct.pack(">III", many, 2, 3) + bytes(many * 6)
    labels = bytes((0, 0, 8, 1)) + struct.pack(">I", many) + bytes(many)
    (tmp_path / "x.gz").write_bytes(gzip.compress(images))
    (tmp_path / "y.gz").write_bytes(gzip.compress(labels))
    assert (tmp_path / "x.gz").stat().st_size < 10_000
    idx = IdxData(format="idx", path=tmp_path / "x.gz", labels=tmp_path / "y.gz")
    monkeypatch.setattr(raw, "memory", lambda: 1_000_000)
    with pytest.raises(DataError, match="attribute 'finding' has shape"):
        load(NpzData(format="npz", path=tmp_path / "d.npz"), VECTORS)
    with pytest.raises(DataError, match="announces 48"):
        load(NpzData(format="npz", path=tmp_path / "e.npz"), VECTORS)
    with pytest.raises(DataError, match="announces"):
        load(idx, RUN)
    for i in range(2):
        (tmp_path / f"finding={FINDING[1][i]}").mkdir()
        grey(i).save(tmp_path / f"finding={FINDING[1][i]}" / "a.png")
    monkeypatch.setattr(raw, "memory", lambda: 47)
    with pytest.raises(DataError, match="announces 48 bytes"):
        load(folder(tmp_path), RUN)


def test_there_is_memory() -> None:
    assert 2**28 < raw.memory() < 2**50


@pytest.mark.parametrize("make", [os.mkfifo, lambda p: p.symlink_to("/dev/zero")])
def test_pipes_and_devices_are_not_waited_for(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    path = tmp_path / "d"
    make(path)
    for spec in (
        NpzData(format="npz", path=path),
        IdxData(format="idx", path=path, labels=path),
        folder(tmp_path, "d"),
    ):
        with pytest.raises(DataError, match="neither a file nor a folder"):
            load(spec, RUN)
