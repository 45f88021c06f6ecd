"""CSV tables of samples: what columns are, and what is read of them."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from dcfm_node.data.sheet import read_sheet
from dcfm_node.data.source import load
from dcfm_node.data.spec import AttributeSource, TableData
from dcfm_node.data.survey import Survey, survey
from dcfm_node.errors import DataError
from tests.unit.data.manifests import manifest

RNG = np.random.default_rng(0)
MANY = 60
Cells = Sequence[object]
KIND = ("kind", ("a", "b"))
SHAPES = [("cross", "bar")[i % 2] for i in range(MANY)]
SIZES = [i % 3 + 1 for i in range(MANY)]
NUMBERS: dict[str, Cells] = {
    name: [f"{v:.3f}" for v in RNG.normal(size=MANY)] for name in ("wind", "load", "hum")
}
LABELS: dict[str, Cells] = {"shape": [*SHAPES], "size": [*SIZES]}


def table(folder: Path, **columns: Cells) -> Path:
    file = folder / "north.csv"
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return file


def found(folder: Path, *chosen: str, **columns: Cells) -> Survey:
    return survey(table(folder, **{**NUMBERS, **LABELS, **columns}), chosen)


def test_numbers_and_attributes_are_told_apart(tmp_path: Path) -> None:
    made = found(tmp_path)
    assert made.attributes == (("shape", ("bar", "cross")), ("size", ("1", "2", "3")))
    assert made.sample_shape == (3,)
    assert [one.name for one in made.features] == ["hum", "load", "wind"]
    assert made.spec == TableData(format="csv", path=tmp_path / "north.csv")
    assert not (made.notes or made.assumed)
    assert made.chose.startswith("the attributes are shape, size (few whole numbers): ")
    worker = found(tmp_path, worker=["ann", "bo"] * (MANY // 2))
    assert "the attributes are shape, worker: " in worker.chose
    assert "--attributes A,B" in worker.chose
    assert found(tmp_path, "shape", "size").chose == ""


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("id", [f"P{i}" for i in range(MANY)]),
        ("patient_id", [7 * i % 61 for i in range(MANY)]),
        ("row", range(1, MANY + 1)),
        ("anything", range(1, MANY + 1)),
        ("at", [f"2026-01-{i % 28 + 1:02}T10:00:00" for i in range(MANY)]),
        ("hour", [f"{i % 24}:00" for i in range(MANY)]),
        ("timestamp", [1.7e9 + 3600 * i for i in range(MANY)]),
        ("empty", [""] * MANY),
    ],
)
def test_columns_that_are_neither_are_left_out(tmp_path: Path, name: str, cells: Cells) -> None:
    made = found(tmp_path, **{name: cells})
    assert made.sample_shape == (3,)
    assert [name for name, _ in made.attributes] == ["shape", "size"]
    assert isinstance(made.spec, TableData)
    assert made.spec.ignore == (name,)
    assert f"{name!r} is not used" in made.notes[0]


def test_a_constant_column_is_told_by_its_name(tmp_path: Path) -> None:
    made = found(tmp_path, offset=[1.5] * MANY)
    assert made.sample_shape == (4,)
    assert "feature 'offset' has the same value" in made.warnings[0]


def test_a_column_without_a_name_is_left_out(tmp_path: Path) -> None:
    assert found(tmp_path, **{"": list(range(MANY))}).sample_shape == (3,)


def test_whole_numbers_are_attributes_only_where_text_gives_too_few(tmp_path: Path) -> None:
    colours = [("red", "blue", "green")[i % 3] for i in range(MANY)]
    made = found(tmp_path, colour=colours)
    assert [name for name, _ in made.attributes] == ["shape", "colour"]
    assert made.sample_shape == (4,)
    assert "--attributes shape,colour,size" in made.notes[0]
    made = found(tmp_path, "size", "shape", colour=colours)
    assert [name for name, _ in made.attributes] == ["size", "shape"]
    assert isinstance(made.spec, TableData)
    assert (made.sample_shape, made.spec.ignore) == ((3,), ("colour",))
    steps: dict[str, Cells] = {f"step{k}": [i % 2 for i in range(MANY)] for k in range(4)}
    assert found(tmp_path, **steps).sample_shape == (7,)


def test_labels_are_written_alike_everywhere(tmp_path: Path) -> None:
    made = found(tmp_path, size=[f"{size}.0" for size in SIZES])
    assert dict(made.attributes)["size"] == ("1", "2", "3")


def test_one_hot_columns_are_one_attribute(tmp_path: Path) -> None:
    hot: dict[str, Cells] = {f"size_{s}": [int(s == x) for x in SIZES] for s in (1, 2, 3)}
    file = table(tmp_path, **NUMBERS, shape=[*SHAPES], **hot)
    made = survey(file)
    assert made.attributes == (("shape", ("bar", "cross")), ("size", ("1", "2", "3")))
    assert made.spec.attributes == {"size": AttributeSource(column="size_*")}
    raw = read_sheet(TableData(format="csv", path=file), {"shape": "shape", "s": "size_*"}, (3,))
    assert raw.columns["s"].tolist() == [str(size) for size in SIZES]
    file.write_text("a,s_1,s_2\n0,1,0\n0,1,1\n")
    with pytest.raises(DataError, match="has 2 values of 's'") as refused:
        read_sheet(TableData(format="csv", path=file), {"s": "s_*"}, (1,))
    assert refused.value.where == f"{file}:3"


def test_a_table_is_loaded_in_the_order_of_names(tmp_path: Path) -> None:
    rows = range(12)
    columns: dict[str, Cells] = {f"t{i}": [100 * row + i for row in rows] for i in (10, 2, 1, 0)}
    file = table(tmp_path, kind=[("a", "b")[i % 2] for i in rows], note=["?"] * 12, **columns)
    spec = TableData(format="csv", path=file, ignore=("note",))
    data = load(spec, manifest((1, 4), (KIND,)))
    assert data.train.x.shape[1:] == (1, 4)
    assert (data.train.x[:, 0] % 100 == [0, 1, 2, 10]).all()
    assert ((data.train.x[:, 0, 0] / 100) % 2 == data.train.c[:, 0]).all()
    with pytest.raises(DataError, match=r"4 columns of numbers \(t0, t1, t2, t10\)"):
        load(spec, manifest((3,), (KIND,)))


@pytest.mark.parametrize(
    ("columns", "what", "line"),
    [
        ({"wind": ["", "NaN", *NUMBERS["wind"][2:]]}, "without a number: 'wind' (2)", 2),
        ({"wind": [*NUMBERS["wind"][:-1], "high"]}, "'high' in the column 'wind'", 61),
        ({"shape": [*SHAPES[:-1], ""]}, "has no 'shape'", 61),
        ({"shape": SHAPES[:1] * MANY, "size": [*NUMBERS["hum"]]}, None, 0),
        (
            dict.fromkeys(("wind", "load", "hum", "size"), ["x"] * MANY),
            "no column for the numbers",
            0,
        ),
    ],
)
def test_what_cannot_be_read_is_refused_by_line(
    tmp_path: Path, columns: dict[str, Cells], what: str | None, line: int
) -> None:
    if what is None:
        assert found(tmp_path, **columns).attributes == (("shape", ("cross",)),)
        return
    with pytest.raises(DataError) as refused:
        found(tmp_path, **columns)
    assert what in refused.value.what
    assert refused.value.where == str(tmp_path / "north.csv") + (f":{line}" if line else "")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a;b;kind\n1;2;x\n", "semicolons separate its cells"),
        ("1.5,2.5,x\n1,2,y\n", "has numbers in its first line"),
        ("a,kind\n", "holds 0 samples"),
        ("", "holds 0 samples"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "d.csv").write_text(text)
    with pytest.raises(DataError) as refused:
        survey(tmp_path / "d.csv")
    assert what in refused.value.what


def test_names_that_the_data_have_not_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'colour'"):
        found(tmp_path, "colour")
    np.savez(tmp_path / "d.npz", x=np.zeros((4, 2), np.float32), shape=SHAPES[:4])
    with pytest.raises(DataError, match="no labels 'colour'"):
        survey(tmp_path / "d.npz", ["colour"])
