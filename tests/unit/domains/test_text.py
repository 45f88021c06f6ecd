"""Texts of the sites: read as tokens, refused by line, and written as text again."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcfm_node.data import raw
from dcfm_node.data.source import SiloData
from dcfm_node.data.spec import AttributeSource, TextData
from dcfm_node.domains import base as domains
from dcfm_node.domains.settings import TextSettings
from dcfm_node.domains.text import Text
from dcfm_node.errors import DataError, UserError
from dcfm_node.records.manifest import Manifest
from dcfm_node.student.loaded import load_student
from tests.training.settings import manifest
from tests.unit.student.made import make

TABLE = 'text,topic,style\n"wave, gull",0,0\n"two\nlines, a, b, c",0,1\nöl,1,0\n'


def run(places: int = 20, **domain: Any) -> Manifest:
    document = manifest(shape=(places,), tokens=256).model_dump()
    document["attributes"] = [{"name": name, "values": ["0", "1"]} for name in ("topic", "style")]
    words = domain.get("words", ())
    document["path"]["tokens"] = len(words) + 1 if words else 256
    return Manifest.model_validate(document | {"domain": {"kind": "text"} | domain}, strict=False)


def loaded(folder: Path, text: str | bytes, run: Manifest, **spec: Any) -> SiloData:
    path = folder / spec.pop("name", "texts.csv")
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return domains.of(run).load(run, TextData(format="text", path=path, **spec))


def texts(data: SiloData, run: Manifest) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for part in (data.train, data.holdout):
        said = domains.of(run).text(part.x)
        assert said is not None
        found |= dict(zip(said, map(tuple, part.c.tolist()), strict=True))
    return found


def test_a_table_of_texts_becomes_bytes_and_text_again(tmp_path: Path) -> None:
    data = loaded(tmp_path, TABLE, run())
    assert texts(data, run()) == {
        "wave, gull": (0, 0),
        "two\nlines, a, b, c": (0, 1),
        "öl": (1, 0),
    }
    assert not data.warnings


def test_a_plain_file_has_a_text_in_each_line(tmp_path: Path) -> None:
    same = {name: AttributeSource(constant="1") for name in ("topic", "style")}
    data = loaded(tmp_path, "first\r\n\nsecond\n", run(), name="a.txt", attributes=same)
    assert texts(data, run()) == {"first": (1, 1), "second": (1, 1)}


def test_long_texts_are_cut_where_the_site_says_so(tmp_path: Path) -> None:
    given = run(4)
    table = "text,topic,style\nabcdefghij,0,1\nxyz,1,1\n"
    data = loaded(tmp_path, table, given, cut=True)
    assert texts(data, given).keys() == {"abcd", "efgh", "ij", "xyz"}
    with pytest.raises(DataError, match="has 10 tokens, and a sample has 4") as error:
        loaded(tmp_path, table, given)
    assert error.value.where.endswith("texts.csv:2")
    assert "data.cut" in error.value.fix


def test_words_of_the_runs_list_are_tokens(tmp_path: Path) -> None:
    given = run(3, words=("sea", "wave", "gull"))
    table = "text,topic,style\nwave sea,0,0\ngull gull wave,1,0\n"
    data = loaded(tmp_path, table, given)
    assert texts(data, given).keys() == {"wave sea", "gull gull wave"}
    assert sorted(np.concatenate([data.train.x, data.holdout.x]).tolist()) == [
        [2.0, 1.0, 0.0],
        [3.0, 3.0, 2.0],
    ]
    with pytest.raises(DataError, match="'oak' is not in the run's") as error:
        loaded(tmp_path, table + "wave oak,0,0\n", given)
    assert error.value.where.endswith("texts.csv:4")


@pytest.mark.parametrize(
    ("text", "spec", "why", "line"),
    [
        ("text,topic\na,0\nb,1\n", {}, "no value of attribute 'style'", ":2"),
        ("text,topic,style\na,0,0\nb,,0\n", {}, "no value of attribute 'topic'", ":3"),
        ("words,topic,style\na,0,0\nb,1,0\n", {}, "no column 'text'", ""),
        (b"text,topic,style\na,0,0\n\xff\xff,1,0\n", {}, "not text in UTF-8", ":3"),
        ("a\nb\n", {"name": "a.txt"}, "gives no values of attribute 'style'", ""),
        ("text,topic,style\na,0,0\n", {}, "holds 1 samples", ""),
        ("text,topic,style\na,0,0\nb,7,0\n", {}, "7", ":3"),
    ],
)
def test_what_is_wrong_is_refused_by_its_line(
    tmp_path: Path, text: str | bytes, spec: dict[str, Any], why: str, line: str
) -> None:
    with pytest.raises(DataError, match=why) as error:
        loaded(tmp_path, text, run(), **spec)
    assert line in error.value.where
    assert error.value.fix


def test_a_text_too_large_for_the_memory_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw, "memory", lambda: 3 * len(TABLE))
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("it was read"))
    with pytest.raises(DataError, match="announces"):
        loaded(tmp_path, TABLE, run())


def test_of_a_million_columns_a_message_names_a_few(tmp_path: Path) -> None:
    head = ",".join(f"c{i}" for i in range(100_000))
    with pytest.raises(DataError, match="and 99960 more") as error:
        loaded(tmp_path, f"{head}\n", run())
    assert len(str(error.value)) < 2_000


def test_texts_need_the_domain_that_makes_tokens_of_them(tmp_path: Path) -> None:
    plain = manifest(shape=(16,), tokens=256)
    with pytest.raises(DataError, match="does not say how they become tokens"):
        loaded(tmp_path, TABLE, plain)
    with pytest.raises(ValueError, match='needs kind = "discrete" and tokens = 256'):
        Manifest.model_validate(manifest(shape=(16,)).model_dump() | {"domain": {"kind": "text"}})
    with pytest.raises(ValueError, match="a word twice"):
        TextSettings(words=("a", "a"))
    for call in (
        lambda domain: domain.split(domains.SplitSpec()),
        lambda domain: domain.evaluator(None, folder=Path(), seed=0, device="cpu"),
    ):
        with pytest.raises(UserError, match="domain 'text'"):
            call(Text(TextSettings()))


def test_a_student_of_texts_writes_texts(tmp_path: Path) -> None:
    changes = {name: run(12).model_dump()[name] for name in ("domain", "path", "network")}
    folder = make(tmp_path / "student", sample_shape=(12,), method={"solver": "euler"}, **changes)
    drawn = load_student(folder).sample(n=6)
    assert drawn.x.shape == (6, 12)
    drawn.save(tmp_path / "out.txt")
    lines = (tmp_path / "out.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == [
        ", ".join(pair) for pair in zip(drawn["n"], drawn["colour"], strict=True)
    ]
    drawn.save(tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["text", "n", "colour"]
    assert len(rows) == 7
    with pytest.raises(UserError, match="has tokens"):
        load_student(folder).inpainter()
    numbers = make(tmp_path / "numbers")
    with pytest.raises(UserError, match="cannot write"):
        load_student(numbers).sample(n=2).save(tmp_path / "no.txt")
