"""Reads TOML files into frozen models. Reports all problems of a file at once."""

import json
import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from dcfm_node.config.advice import Problem, closest, problem_of
from dcfm_node.config.lines import Place, line_index, line_of
from dcfm_node.config.text import text_of
from dcfm_node.errors import ConfigError
from dcfm_node.records.base import Model

AnyModel = TypeVar("AnyModel", bound=Model)


@dataclass(frozen=True)
class Document:
    """A parsed TOML file that knows the line of each setting."""

    path: Path
    text: str
    values: dict[str, Any]
    """Arrays are tuples."""

    @cached_property
    def _lines(self) -> dict[Place, int]:
        return line_index(self.text)

    def line(self, *place: str | int) -> int:
        """Line (from 1) of a setting, or of the innermost table around it."""
        return line_of(self._lines, place)

    def where(self, *place: str | int) -> str:
        """ "file.toml:LINE: table.field"."""
        at = f"{self.path}:{self.line(*place)}"
        return f"{at}: {dotted(place)}" if place else at

    def parse(self, kind: type[AnyModel]) -> AnyModel:
        """The document as a model.

        Raises:
            ConfigError: names every problem with its line and fix.
        """
        try:
            return kind.model_validate(self.values)
        except ValidationError as error:
            raise self.error(problems(error, kind, self.values)) from None

    def error(self, found: list[Problem]) -> ConfigError:
        """One error for all problems, in the order of their lines."""
        found = sorted(found, key=lambda problem: self.line(*problem.place))
        if len(found) == 1:
            (only,) = found
            return ConfigError(only.what, where=self.where(*only.place), fix=only.fix)
        told = [f"{self.where(*p.place)}: {p.what} (fix: {p.fix})" for p in found]
        return ConfigError(f"{len(found)} problems", where=str(self.path), more=told)


def shipped(name: str, folder: Path, what: str) -> Path:
    """The path of a packaged file, by its name. A name that ends in .toml is a path itself.

    Args:
        folder: the folder of the packaged files.
        what: one word for such a file, for messages.

    Raises:
        ConfigError: no packaged file has that name.
    """
    if name.endswith(".toml"):
        return Path(name)
    known = [path.stem for path in folder.glob("*.toml")]
    if name not in known:
        raise ConfigError(
            f"no {what} is named {name!r}; the path of your own file must end in .toml",
            fix=closest(name, known),
        )
    return folder / f"{name}.toml"


def read(path: Path, absent: str) -> Document:
    """Read and parse a TOML file.

    Args:
        absent: what to do if the file does not exist.

    Raises:
        ConfigError: the file does not exist, is not regular, or cannot be read; or a syntax error,
            with its line.
    """
    return parsed(path, text_of(path, absent))


def parsed(path: Path, text: str) -> Document:
    """A TOML document from its text.

    Args:
        path: the file that it comes from, for messages.

    Raises:
        ConfigError: a syntax error, with its line.
    """
    try:
        return Document(path, text, frozen(tomllib.loads(text)))
    except tomllib.TOMLDecodeError as error:
        what, _, at = str(error).rpartition(" (at ")
        number = re.match(r"line (\d+)", at)
        line = int(number[1]) if number else max(1, len(text.splitlines()))
        raise ConfigError(
            f"is not TOML: {what[:1].lower()}{what[1:]}",
            where=f"{path}:{line}",
            fix='write each setting as key = value, text in "quotes", each table and key once',
        ) from error
    except (ValueError, RecursionError) as error:  # thousands of digits in a number, deep nesting
        raise ConfigError(f"is not TOML: {error}", where=str(path)) from error


def problems(error: ValidationError, kind: type[Model], values: dict[str, Any]) -> list[Problem]:
    """Pydantic's errors as problems, in the operator's words.

    Args:
        values: the document. Union tags, which only the models have, are dropped from places.
    """
    details = error.errors(include_url=False)
    # An array whose elements are wrong is also called too short, for it counts only the right ones.
    faulty = {detail["loc"][:depth] for detail in details for depth in range(len(detail["loc"]))}
    return [
        problem_of(detail, kind, _written(detail["loc"], values))
        for detail in details
        if detail["type"] != "too_short" or detail["loc"] not in faulty
    ]


def dotted(place: Place) -> str:
    """`("peer", 1, "name")` as "peer[1].name"."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in place)
    return text.removeprefix(".")


def _written(place: Place, values: Any) -> Place:
    """A place as the file spells it: without union tags and the mark of a wrong key."""
    kept: Place = ()
    for position, key in enumerate(place):
        tag = isinstance(values, dict) and key not in values and key in values.values()
        if tag or key == "[key]":
            continue
        kept += (key,)
        try:
            values = values[key]
        except (KeyError, IndexError, TypeError):
            return kept + place[position + 1 :]
    return kept


def written(value: Any) -> str:
    """A scalar or an array of scalars, as TOML."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def frozen(value: Any) -> Any:
    """A parsed value with tuples for arrays."""
    if isinstance(value, dict):
        return {key: frozen(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return tuple(frozen(inner) for inner in value)
    return value
