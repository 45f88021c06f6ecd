"""Tables of categories: words to tokens, refused by line, and words again."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcfm_node.data.source import SiloData
from dcfm_node.data.spec import AttributeSource, NpzData, TableData
from dcfm_node.domains import base as domains
from dcfm_node.domains.categories import UNKNOWN, Categories
from dcfm_node.domains.settings import CategoriesSettings
from dcfm_node.errors import DataError
from dcfm_node.records.manifest import Manifest
from dcfm_node.student.loaded import load_student
from tests.training.settings import manifest
from tests.unit.student.made import make

COLUMNS = (
    {"name": "sky", "values": ("clear", "cloudy", "overcast")},
    {"name": "grade", "values": ("1", "2")},
)
TABLE = "id,grade,sky,a0,a1\n7,2.0,clear,0,1\n8,1,overcast,1,1\n9,1, cloudy ,0,0\n"


def run(**changes: Any) -> Manifest:
    document = manifest(shape=(2,), tokens=3).model_dump()
    domain = {"kind": "categories", "column": COLUMNS}
    return Manifest.model_validate(document | {"domain": domain} | changes, strict=False)


def loaded(folder: Path, text: str, **spec: Any) -> SiloData:
    (folder / "table.csv").write_text(text)
    data = TableData(format="csv", path=folder / "table.csv", **spec)
    return domains.of(run()).load(run(), data)


def test_a_table_of_words_becomes_tokens_and_words_again(tmp_path: Path) -> None:
    data = loaded(tmp_path, TABLE)
    x = np.concatenate([data.train.x, data.holdout.x])
    c = np.concatenate([data.train.c, data.holdout.c])
    found = {tuple(row): tuple(label) for row, label in zip(x.tolist(), c.tolist(), strict=True)}
    assert found == {(0.0, 1.0): (0, 1), (2.0, 0.0): (1, 1), (1.0, 0.0): (0, 0)}
    domain = Categories(CategoriesSettings.model_validate({"column": COLUMNS}))
    assert domain.cells(x[:0]) == (("sky", "grade"), [])
    assert sorted(domain.text(x)) == ["clear, 2", "cloudy, 1", "overcast, 1"]
    assert domain.text(np.array([[1.0, 2.0]], np.float32)) == [f"cloudy, {UNKNOWN}"]


def test_tokens_may_come_as_arrays(tmp_path: Path) -> None:
    labels = np.array([0, 1] * 5)
    np.savez(tmp_path / "a.npz", x=np.ones((10, 2), np.int64), a0=labels, a1=labels)
    spec = NpzData(format="npz", path=tmp_path / "a.npz")
    assert len(domains.of(run()).load(run(), spec).train.x) == 9


@pytest.mark.parametrize(
    ("text", "why", "line"),
    [
        (TABLE + "1,1,foggy,0,0\n", "'sky' holds 'foggy'", ":5"),
        (TABLE + "1,1,,0,0\n", "'sky' is empty", ":5"),
        (TABLE.replace("sky", "air"), "no column 'sky'", ":2"),
        (TABLE.replace("a1", "b1"), "no column 'a1'", ":2"),
        ("sky,grade,a0,a1\nclear,1,0,0\n", "holds 1 samples", ""),
    ],
)
def test_what_is_wrong_is_refused_by_its_line(
    tmp_path: Path, text: str, why: str, line: str
) -> None:
    with pytest.raises(DataError, match=why) as error:
        loaded(tmp_path, text)
    assert line in error.value.where
    assert error.value.fix


def test_an_attribute_may_be_constant(tmp_path: Path) -> None:
    data = loaded(tmp_path, TABLE, attributes={"a0": AttributeSource(constant="1")})
    assert set(data.train.c[:, 0]) == {1}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"column": COLUMNS[:1] * 2}, "has a name twice"),
        ({"column": ({"name": "a", "values": ("x", "x")},)}, "has a value twice"),
    ],
)
def test_columns_and_values_differ(change: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        CategoriesSettings.model_validate(change)


def test_the_run_has_as_many_tokens_and_places_as_the_table() -> None:
    with pytest.raises(ValueError, match=r"sample_shape = \[2\]"):
        run(sample_shape=(3,))
    with pytest.raises(ValueError, match="tokens = 3"):
        run(path={"kind": "discrete", "tokens": 4})


def test_a_student_of_categories_writes_its_columns(tmp_path: Path) -> None:
    changes = {name: run().model_dump()[name] for name in ("domain", "path", "network")}
    folder = make(tmp_path / "student", method={"solver": "euler"}, **changes)
    load_student(folder).sample(n=4).save(tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["sky", "grade", "n", "colour"]
    assert {row["sky"] for row in rows} <= set(COLUMNS[0]["values"])
