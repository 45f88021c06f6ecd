"""Documents, and what is said of their mistakes."""

import os
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from dcfm_node.config import toml
from dcfm_node.config.text import MAX_BYTES
from dcfm_node.errors import ConfigError
from dcfm_node.records.base import Model


class Apple(Model):
    kind: Literal["apple"]
    colour: Literal["red", "green"] = "red"


class Pear(Model):
    kind: Literal["pear"]
    length_mm: Annotated[int, Field(ge=1, le=300)]


class Basket(Model):
    owner: str
    weights: tuple[float, ...] = ()
    lid: bool = False
    fruit: Annotated[Apple | Pear, Field(discriminator="kind")]
    spare: tuple[Pear, ...] = ()


def parse(folder: Path, text: str) -> Basket:
    file = folder / "basket.toml"
    file.write_text(text, encoding="utf-8")
    return toml.read(file, "pick some").parse(Basket)


def refusal(folder: Path, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse(folder, text)
    return caught.value


def test_a_good_file_becomes_a_model_with_tuples(tmp_path: Path) -> None:
    basket = parse(
        tmp_path, 'owner = "eve"\nweights = [1, 2.5]\nfruit = { kind = "pear", length_mm = 80 }\n'
    )
    assert basket == Basket(owner="eve", weights=(1.0, 2.5), fruit=Pear(kind="pear", length_mm=80))


OK = 'owner = "eve"\n[fruit]\nkind = "apple"\n'


@pytest.mark.parametrize(
    ("text", "where", "what", "fix"),
    [
        (OK + 'color = "red"\n', "4: fruit.color", "unknown setting", "did you mean 'colour'?"),
        (OK + "zzz = 1\n", "4: fruit.zzz", "unknown setting", "this table has colour, kind"),
        (OK + 'colour = "blue"\n', "4: fruit.colour", "is 'blue'", "'red' or 'green'"),
        ("owner = 3\n" + OK[14:], "1: owner", "is 3", "quotes"),
        ("lid = 1\n" + OK, "1: lid", "is 1", "true or false"),
        ('weights = ["a"]\n' + OK, "1: weights[0]", "is 'a'", "a number"),
        ("weights = [nan]\n" + OK, "1: weights[0]", "is nan", "finite"),
        ("weights = 1.0\n" + OK, "1: weights", "is 1.0", "array"),
        ('owner = "eve"\n', "1: fruit", "is missing", "add a table [fruit]"),
        ("[fruit]\nkind = 'apple'\n", "1: owner", "is missing", "add owner = …"),
        ('owner = "eve"\n[fruit]\n', "2: fruit.kind", "is missing", "one of 'apple', 'pear'"),
        ('owner = "eve"\n[fruit]\nkind="fig"\n', "3: fruit.kind", "is 'fig'", "'apple', 'pear'"),
        (
            'owner = "eve"\n[fruit]\nkind="pear"\n',
            "2: fruit.length_mm",
            "is missing",
            "length_mm =",
        ),
        (
            OK
            + '[[spare]]\nkind = "pear"\nlength_mm = 5\n[[spare]]\nkind = "pear"\nlength_mm = 0\n',
            "9: spare[1].length_mm",
            "is 0",
            "write a number, at least 1 and at most 300",
        ),
        (OK + "spare = 2024-01-01\n", "4: fruit.spare", "unknown setting", "remove it"),
    ],
)
def test_a_mistake_is_named_by_line_field_and_fix(
    tmp_path: Path, text: str, where: str, what: str, fix: str
) -> None:
    error = refusal(tmp_path, text)
    assert error.where == f"{tmp_path / 'basket.toml'}:{where}"
    assert error.what == what
    assert fix in error.fix


def test_all_mistakes_are_told_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    error = refusal(tmp_path, "owner = 3\nlid = 1\n[fruit]\nkind = 'apple'\ncolor = 'red'\n")
    head, *lines = str(error).splitlines()
    file = tmp_path / "basket.toml"
    assert head == f"{file}: 3 problems"
    assert [line.strip().split(" ")[0] for line in lines] == [f"{file}:{n}:" for n in (1, 2, 5)]
    assert all("(fix: " in line for line in lines)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = \n", 1),
        ("a = 1\na = 2\n", 2),
        ("a = 1\n\n[t\n", 3),
        ('a = 1\nb = """open\n', 2),
        ("[t]\nx = 1\n[t]\n", 3),
    ],
)
def test_a_mistake_of_syntax_is_named_by_its_line(tmp_path: Path, text: str, line: int) -> None:
    error = refusal(tmp_path, text)
    assert error.where == f"{tmp_path / 'basket.toml'}:{line}"
    assert error.what.startswith("is not TOML: ")
    assert error.fix


def test_a_file_that_is_not_there_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        toml.read(tmp_path / "none.toml", "pick some")
    assert caught.value.where.endswith("none.toml")
    assert caught.value.fix == "pick some"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        toml.read(tmp_path, "pick some")


def test_bytes_that_are_no_text_are_named_by_their_line(tmp_path: Path) -> None:
    file = tmp_path / "latin.toml"
    file.write_bytes(b'a = 1\nb = "\xe9"\n')
    with pytest.raises(ConfigError, match="UTF-8") as caught:
        toml.read(file, "pick some")
    assert caught.value.where == f"{file}:2"


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    assert parse(tmp_path, "\ufeff" + OK).owner == "eve"
    error = refusal(tmp_path, "\ufeff" + OK + "zzz = 1\n")
    assert error.where == f"{tmp_path / 'basket.toml'}:4: fruit.zzz"


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_text_in_another_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "basket.toml").write_text('# é\nowner = "eve"\n', encoding=encoding)
    with pytest.raises(ConfigError, match="is not UTF-8 text") as caught:
        toml.read(tmp_path / "basket.toml", "pick some")
    assert caught.value.where == f"{tmp_path / 'basket.toml'}:1"


@pytest.mark.parametrize("text", ["a = " + "9" * 5_000, "a = " + "[" * 5_000 + "]" * 5_000])
def test_a_number_or_nesting_beyond_all_bounds_is_a_mistake_like_another(
    tmp_path: Path, text: str
) -> None:
    error = refusal(tmp_path, text)
    assert "is not TOML" in error.what
    assert error.where.startswith(str(tmp_path / "basket.toml"))


def test_what_is_no_file_of_settings_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", MAX_BYTES + 1)
    for name, what in [("fifo", "not a regular file"), ("large", "too large"), (".", "a folder")]:
        with pytest.raises(ConfigError, match=what) as told:
            toml.read(tmp_path / name, "")
        assert told.value.where == str(tmp_path / name)
