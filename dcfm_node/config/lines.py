"""Finds the line of each setting in a TOML text. Pure."""

import tomllib
from collections.abc import Iterator
from typing import Any

MAX_WORK = 2 << 20
"""The most characters to parse in search of the ends of statements. A statement of thousands of
lines exceeds this: its line and all later lines are then not found."""

Place = tuple[str | int, ...]
"""A path into a document: keys, and indices of arrays from 0."""


def line_index(text: str) -> dict[Place, int]:
    """Line (from 1) of every table, key and value of a valid TOML text; `()` is line 1. Places
    beyond MAX_WORK are absent."""
    lines: dict[Place, int] = {(): 1}
    table: Place = ()
    newest: dict[Place, int] = {}
    for line, header, fragment in _statements(text):
        if header:
            table = _enter(fragment, newest)
            for depth in range(1, len(table) + 1):
                lines.setdefault(table[:depth], line)
        else:
            for place in _places(fragment):
                lines.setdefault(table + place, line)
    return lines


def line_of(index: dict[Place, int], place: Place) -> int:
    """The line of a place, or of the innermost table or key around it."""
    while place not in index:
        place = place[:-1]
    return index[place]


def _statements(text: str) -> Iterator[tuple[int, bool, dict[str, Any]]]:
    """(first line, is a table header, parsed alone) of each shortest run of lines that parses."""
    start, pending, left = 1, "", MAX_WORK
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        pending += line
        left -= len(pending)
        if left < 0:
            return
        try:
            fragment = tomllib.loads(pending)
        except ValueError:
            continue
        if fragment:
            yield start, pending.lstrip().startswith("["), fragment
        start, pending = number + 1, ""


def _enter(header: dict[str, Any], newest: dict[Place, int]) -> Place:
    """The place that `[a.b]` or `[[a.b]]` opens; counts the elements of arrays of tables."""
    place: Place = ()
    value: Any = header
    while isinstance(value, dict) and value:
        ((key, value),) = value.items()
        place += (key,)
        if isinstance(value, list):
            newest[place] = newest.get(place, -1) + 1
        if place in newest:
            place += (newest[place],)
    return place


def _places(value: Any) -> Iterator[Place]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (key,)
        if isinstance(inner, dict | list):
            yield from ((key, *place) for place in _places(inner))
