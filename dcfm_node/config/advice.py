"""Turns pydantic's errors into problems with a fix. Pure."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from dcfm_node.config.lines import Place

_TYPES = {
    "string_type": 'write text, in "quotes"',
    "path_type": 'write a path, in "quotes"',
    "int_type": "write a whole number, without quotes",
    "int_from_float": "write a whole number",
    "float_type": "write a number, without quotes",
    "finite_number": "write a finite number",
    "bool_type": "write true or false, without quotes",
    "tuple_type": "write an array: [first, second]",
    "dict_type": "write a table: [name] with a line for each key below it",
    "model_type": "write a table: [name] with a line for each key below it",
    "model_attributes_type": "write a table: [name] with a line for each key below it",
}
_WORDS = (
    ("Input", "it"),
    ("Tuple", "the array"),
    ("String", "the text"),
    ("should", "must"),
    (" after validation", ""),
)
_PATTERNS = {
    r"^[a-z0-9][a-z0-9_-]{0,31}$": "write 1 to 32 characters of a-z, 0-9, _ and -, "
    "starting with a letter or digit",
}
NEAR = 3
"""The most names that a fix suggests for a wrong one."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a file."""

    place: Place
    what: str
    fix: str


def problem_of(detail: ErrorDetails, kind: type[BaseModel], place: Place) -> Problem:
    """The problem that one of pydantic's error details describes.

    Args:
        kind: the document's model.
        place: where it is in the document; `detail["loc"]` is where it is in the models.
    """
    context = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            return Problem(place, "unknown setting", _known(kind, detail["loc"]))
        case "missing":
            return Problem(place, "is missing", _added(kind, detail["loc"], place))
        case "union_tag_not_found":
            tag = str(context["discriminator"]).strip("'")
            options = ", ".join(_tags(_models_at(kind, detail["loc"]), tag))
            return Problem((*place, tag), "is missing", f"add {tag} = one of {options}")
        case "union_tag_invalid":
            tag = str(context["discriminator"]).strip("'")
            expected = str(context["expected_tags"])
            return Problem((*place, tag), f"is {context['tag']!r}", f"choose one of {expected}")
        case "literal_error":
            return Problem(place, f"is {detail['input']!r}", f"choose {context['expected']}")
        case "string_pattern_mismatch":
            pattern = str(context["pattern"])
            fix = _PATTERNS.get(pattern, f"match {pattern}")
            return Problem(place, f"is {detail['input']!r}", fix)
        case "value_error":
            what, _, fix = str(context["error"]).partition("; ")
            return Problem((*place, *_named(what, place)), what, fix or "correct it")
        case "too_short" if detail["loc"][-1] == "values":
            shown = f"is {_shown(detail['input'])}"
            fix = "name at least two; 'dcfm-node run merge' joins the values of all sites"
            return Problem(place, shown, fix)
        case kind_of_error if kind_of_error in _TYPES:
            return Problem(place, f"is {_shown(detail['input'])}", _TYPES[kind_of_error])
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            shown = f"is {_shown(detail['input'])}"
            return Problem(place, shown, _range(kind, detail["loc"]) or _reworded(detail["msg"]))
        case _:
            return Problem(place, f"is {_shown(detail['input'])}", _reworded(detail["msg"]))


def _named(what: str, place: Place) -> Place:
    """The setting that a message about a section begins with, relative to the section's place:
    ("min_rounds",) for "method.min_rounds exceeds …"."""
    named = what.partition(" ")[0].split(".")
    return tuple(named[1:]) if len(named) > 1 and place[-1:] == tuple(named[:1]) else ()


def _reworded(bound: str) -> str:
    for theirs, ours in _WORDS:
        bound = bound.replace(theirs, ours)
    return bound


def _range(kind: type[BaseModel], loc: Place) -> str:
    """A number's range as a fix; empty unless the range has both ends."""
    name = loc[-1]
    fields = [m.model_fields[name] for m in _models_at(kind, loc[:-1]) if name in m.model_fields]
    said = {type(limit).__name__: limit for field in fields for limit in field.metadata}
    low, high = said.get("Ge") or said.get("Gt"), said.get("Le") or said.get("Lt")
    if low is None or high is None:
        return ""
    least = f"at least {low.ge:g}" if "Ge" in said else f"above {low.gt:g}"
    most = f"at most {high.le:g}" if "Le" in said else f"below {high.lt:g}"
    return f"write a number, {least} and {most}"


def closest(wrong: str, known: Iterable[str]) -> str:
    """A fix: "did you mean …?" with near names, else all names to choose from."""
    options = sorted(known)
    if near := difflib.get_close_matches(wrong, options, NEAR):
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"choose one of {', '.join(options)}" if options else "there is nothing to choose from"


def _known(kind: type[BaseModel], loc: Place) -> str:
    fields = sorted({name for model in _models_at(kind, loc[:-1]) for name in model.model_fields})
    near = difflib.get_close_matches(str(loc[-1]), fields, 1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"remove it; this table has {', '.join(fields)}"


def _added(kind: type[BaseModel], loc: Place, place: Place) -> str:
    if not _models_at(kind, loc):
        return f"add {place[-1]} = …"
    name = ".".join(key for key in place if isinstance(key, str))
    return f"add a table [{name}]"


def _models_at(kind: type[BaseModel], loc: Place) -> list[type[BaseModel]]:
    """The models that a place may hold; union tags in `loc` select among them."""
    found = [kind]
    for key in loc:
        if isinstance(key, int):
            continue
        fields = [model.model_fields[key] for model in found if key in model.model_fields]
        if fields:
            found = [model for field in fields for model in _models_in(field.annotation)]
        elif tagged := [model for model in found if key in _literals(model)]:
            found = tagged
    return found


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _literals(model: type[BaseModel]) -> list[object]:
    return [value for field in model.model_fields.values() for value in get_args(field.annotation)]


def _tags(models: list[type[BaseModel]], tag: str) -> list[str]:
    return sorted(repr(v) for model in models for v in get_args(model.model_fields[tag].annotation))


def _shown(value: object) -> str:
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= 60 else f"{text[:57]}…"
