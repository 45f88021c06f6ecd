"""`init --data` on tables of categories, and `run merge` of what it wrote."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

from dcfm_node.data.category_survey import survey_categories
from dcfm_node.errors import DataError
from tests.unit.cli.running import run
from tests.unit.cli.test_init_texts import loaded

Capsys = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch
SKY = ("clear", "cloudy", "fog")


def table(file: Path, wind: str = "calm", skies: tuple[str, ...] = SKY) -> Path:
    """Forty rows; each has a name of its own."""
    lines = ["Site,name,season,sky,wind"]
    for row in range(40):
        site, season = ("coast", "hill")[row % 2], ("dry", "wet")[row // 2 % 2]
        lines.append(f"{site},row-{row},{season},{skies[row % len(skies)]},{wind}")
    file.write_text("\n".join(lines))
    return file


def test_tables_of_categories_make_nodes_that_read_them(
    monkeypatch: Patch, capsys: Capsys, tmp_path: Path
) -> None:
    north = table(tmp_path / "north.csv")
    south = table(tmp_path / "south.csv", "gale", ("clear", "hail", "rain", "snow"))
    options = ("--attributes", "Site,season")
    assert run(monkeypatch, "init", tmp_path / "n", "--data", north, *options) == 0
    told = capsys.readouterr().out
    assert "a sample is a row of categories: sky (3 values), wind (1 values)" in told
    assert "'name' is not used" in told
    assert "'wind' is the same in every row" in told
    assert run(monkeypatch, "init", tmp_path / "s", "--data", south, *options) == 0
    made = tomllib.loads((tmp_path / "n" / "run.toml").read_text())
    assert made["sample_shape"] == [2]
    assert made["path"] == {"kind": "discrete", "tokens": 3}
    files = [tmp_path / site / "run.toml" for site in "ns"]
    assert run(monkeypatch, "run", "merge", tmp_path / "run.toml", *files) == 0
    made = tomllib.loads((tmp_path / "run.toml").read_text())
    assert made["path"] == {"kind": "discrete", "tokens": 6}
    assert made["domain"]["column"] == [
        {"name": "sky", "values": ["clear", "cloudy", "fog", "hail", "rain", "snow"]},
        {"name": "wind", "values": ["calm", "gale"]},
    ]
    data = loaded(tmp_path / "s", tmp_path / "run.toml")
    x = np.concatenate([data.train.x, data.holdout.x])
    assert x.shape == (40, 2)
    assert set(x[:, 0].tolist()) == {0.0, 3.0, 4.0, 5.0}


def test_columns_that_differ_are_not_merged(
    monkeypatch: Patch, capsys: Capsys, tmp_path: Path
) -> None:
    one, other = table(tmp_path / "one.csv"), table(tmp_path / "other.csv")
    other.write_text(other.read_text().replace("wind", "rain"))
    for name, file in (("n", one), ("s", other)):
        options = ("--attributes", "Site,season")
        assert run(monkeypatch, "init", tmp_path / name, "--data", file, *options) == 0
    files = [tmp_path / site / "run.toml" for site in "ns"]
    capsys.readouterr()
    assert run(monkeypatch, "run", "merge", tmp_path / "run.toml", *files) == 2
    assert "domain" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "chosen"),
    [
        (("calm", "3.5"), ("Site", "season")),  # a column of numbers
        (("calm", "calm"), ()),  # any column may be an attribute
        (("calm", "calm"), ("nothing",)),
        (("sky", "file"), ("Site", "season")),  # a list of pictures
    ],
)
def test_only_what_holds_words_alone_is_taken_for_categories(
    tmp_path: Path, change: tuple[str, str], chosen: tuple[str, ...]
) -> None:
    file = table(tmp_path / "table.csv")
    file.write_text(file.read_text().replace(*change))
    assert survey_categories(file, chosen) is None


@pytest.mark.parametrize(
    ("change", "chosen", "why", "line"),
    [
        (("row-3,wet,clear", "row-3,wet,"), ("Site", "season"), "column 'sky' is empty", ":5"),
        (("", ""), ("Site", "name"), "'name' cannot be an attribute", ""),
    ],
)
def test_a_table_that_lacks_words_is_refused(
    tmp_path: Path, change: tuple[str, str], chosen: tuple[str, ...], why: str, line: str
) -> None:
    file = table(tmp_path / "table.csv")
    file.write_text(file.read_text().replace(*change, 1))
    with pytest.raises(DataError, match=why) as error:
        survey_categories(tmp_path, chosen)
    assert error.value.where == f"{file.resolve()}{line}"
