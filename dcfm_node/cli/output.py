"""How answers look: plain aligned text for people, one JSON document for programs."""

import json
from collections.abc import Sequence
from typing import Any

import typer

UNITS = ("B", "kB", "MB", "GB", "TB")


def print_json(document: dict[str, Any]) -> None:
    """One document on stdout; its `schema` names form and version."""
    typer.echo(json.dumps(document, indent=2, sort_keys=False))


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as their widest cell."""
    cells = [[str(cell) if cell is not None else "-" for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (header, *cells)
    ]
    return "\n".join(lines)


def size(count: float) -> str:
    """Bytes in a unit a person reads: 1.2 MB."""
    for unit in UNITS:
        if count < 1000 or unit == UNITS[-1]:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("the last unit takes everything")


def ago(seconds: float | None) -> str:
    """An age: 3 s, 12 min, 5 h, or "never"."""
    if seconds is None:
        return "never"
    for limit, divisor, unit in ((90, 1, "s"), (5_400, 60, "min"), (172_800, 3_600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"


def share(done: int, total: int) -> str:
    """How far a piece of work is: 12.5 %, or "begun" until something is known of it."""
    return f"{100 * done / total:.1f} %" if total else "begun"
