"""How answers look: plain aligned text for people, one JSON document for programs.

Every command prints through here alone. Whoever wrote a line, no terminal obeys what is in it
(`words.plain`).
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import typer

from dcfm_node.api.document import Document
from dcfm_node.words import clean, plain

UNITS = ("B", "kB", "MB", "GB", "TB")
CLEAR = "\x1b[2J\x1b[H"
Shown = TypeVar("Shown", bound=Document)


def say(*lines: str, err: bool = False) -> None:
    """Print lines. A line break within one is not ours and is shown as `\\n`."""
    for line in lines:
        _write(f"{plain(line)}\n", err=err)


def answer(document: Shown, as_json: bool, text: Callable[[Shown], str]) -> None:
    """Print what a command found: the document for programs, text for people.

    Args:
        text: puts a document into lines. It gets one in which every string is plain, so that all
            line breaks in its result are its own.
    """
    if as_json:
        print_json(document.plain())
    else:
        say(*text(clean(document)).split("\n"))


def print_json(document: Mapping[str, Any]) -> None:
    """Print one document in plain values, in ASCII."""
    _write(f"{json.dumps(document, indent=2)}\n")


def rewrite(line: str, *, last: bool) -> None:
    """Replace the last line on stderr, which is a terminal."""
    _write(f"\r{plain(line)}" + "\n" * last, err=True)


def clear() -> None:
    """Empty the terminal's screen."""
    if sys.stdout.isatty():
        _write(CLEAR)


def ask(question: str) -> None:
    """Ask on the terminal; stdout stays free for the answer.

    Raises:
        Abort: the operator said no.
    """
    typer.confirm(plain(question), abort=True, err=True)


def _write(text: str, *, err: bool = False) -> None:
    encoding = (sys.stderr if err else sys.stdout).encoding or "utf-8"
    # A terminal whose encoding lacks a letter shows its escape.
    typer.echo(text.encode(encoding, "backslashreplace").decode(encoding), err=err, nl=False)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as their widest cell."""
    cells = [[plain(str(cell)) if cell is not None else "-" for cell in row] for row in rows]
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
    return f"{100 * min(done, total) / total:.1f} %" if total else "begun"
