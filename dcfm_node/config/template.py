"""The text of a run.toml: the packaged one, and those that commands write. Pure but for reading the
packaged file."""

import re
import tomllib
from collections.abc import Sequence
from typing import Any

from dcfm_node.config.presets import settled
from dcfm_node.config.run import RunFile
from dcfm_node.config.toml import frozen, written
from dcfm_node.files import shipped_text

Attributes = Sequence[tuple[str, tuple[str, ...]]]
"""(name, values) of each attribute."""

_ATTRIBUTES = re.compile(r"(?m)(?:^\[\[attribute\]\] *\n(?:^[\w ].*\n)+\n*)+")
_TABLE = re.compile(r"\[([\w.]+)\]")
_SETTING = re.compile(r"#(\w+) = .*")


def run_template() -> str:
    """A commented run.toml; it fits the built-in domain `digits`."""
    return shipped_text("run.toml")


def run_text(name: str, sample_shape: tuple[int, ...], attributes: Attributes) -> str:
    """A commented run.toml for this data, with the values that `preset = "auto"` settles."""
    text = re.sub(r"(?m)^name = .*$", f"name = {written(name)}", run_template(), count=1)
    shape = f"sample_shape = {written(sample_shape)}"
    text = re.sub(r"(?m)^sample_shape = .*$", shape, text, count=1)
    return with_attributes(text, attributes)


def with_attributes(text: str, attributes: Attributes) -> str:
    """A run.toml with other attributes, and the comments' values as they then are settled.

    Raises:
        ValueError: its attributes are not tables in a row, without comments between.
    """
    tables = "".join(
        f"[[attribute]]\nname = {written(name)}\nvalues = {written(values)}\n\n"
        for name, values in attributes
    )
    text, found = _ATTRIBUTES.subn(lambda _: tables, text)
    if found != 1:
        raise ValueError("its [[attribute]] tables do not stand together")
    return _commented_anew(text)


def _commented_anew(text: str) -> str:
    values = _complete(frozen(tomllib.loads(text)))
    lines, table = [], values
    for line in text.splitlines():
        if header := _TABLE.fullmatch(line):
            table = _at(values, header[1])
        setting = _SETTING.fullmatch(line)
        value = table.get(setting[1]) if setting else None
        lines.append(line if value is None or not setting else f"#{setting[1]} = {written(value)}")
    return "\n".join([*lines, ""])


def _complete(said: dict[str, Any]) -> dict[str, Any]:
    """All settings. An attribute with one value, as one silo may have, counts as if with two."""
    padded = [
        {**one, "values": one["values"] if len(one["values"]) > 1 else (*one["values"], "\0")}
        for one in said["attribute"]
    ]
    return RunFile.model_validate(settled({**said, "attribute": tuple(padded)})).model_dump()


def _at(values: dict[str, Any], table: str) -> dict[str, Any]:
    for key in table.split("."):
        values = values.get(key) or {}
    return values
