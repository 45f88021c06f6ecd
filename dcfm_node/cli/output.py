"""Prints answers: aligned text for people, or one JSON document for programs.

Every command prints only through this module. It escapes control characters (`words.plain`), so
that text from peers cannot control the terminal.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from shutil import get_terminal_size
from typing import Any, TypeVar

import typer

from dcfm_node.api.document import Document
from dcfm_node.words import clean, plain

UNITS = ("B", "kB", "MB", "GB", "TB")
CLEAR = "\x1b[2J\x1b[H"
HOME, TO_LINE_END, TO_SCREEN_END = "\x1b[H", "\x1b[K", "\x1b[J"
STYLES = {"bad": "\x1b[31m", "good": "\x1b[32m", "strong": "\x1b[1m"}
PLAIN = "\x1b[0m"
Shown = TypeVar("Shown", bound=Document)


Style = Callable[[str], str]
"""Names the style of a line (a key of STYLES), or is empty for plain text."""


def say(*lines: str, err: bool = False, style: Style | None = None) -> None:
    """Print lines. A line break inside a line is shown as `\\n`.

    Args:
        style: styles whole lines, where the terminal shows colours.
    """
    for line in lines:
        _write(f"{_styled(plain(line), style)}\n", err=err)


def screen_width() -> int | None:
    """The width of the terminal that is written to, in characters; None if it is not a terminal."""
    return get_terminal_size().columns if sys.stdout.isatty() else None


def redraw(lines: Sequence[str], style: Style | None = None) -> None:
    """Show lines in place of those that the screen shows. What does not fit is left out. Where the
    screen cannot be redrawn, print the lines after a blank one."""
    if not _is_smart():
        say(*lines, "")
        return
    fitting = lines[: max(1, get_terminal_size().lines - 1)]
    drawn = "".join(f"{_styled(plain(line), style)}{TO_LINE_END}\n" for line in fitting)
    _write(f"{HOME}{drawn}{TO_SCREEN_END}")


def _styled(line: str, style: Style | None) -> str:
    """A plain line in its style, if colours are wanted (https://no-color.org)."""
    if style is None or not _is_smart() or os.environ.get("NO_COLOR"):
        return line
    begin = STYLES.get(style(line), "")
    return f"{begin}{line}{PLAIN}" if begin else line


def _is_smart() -> bool:
    """Whether stdout is a terminal that understands control sequences."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def answer(
    document: Shown,
    as_json: bool,
    text: Callable[[Shown], str],
    *,
    style: Style | None = None,
) -> None:
    """Print a command's result: as JSON for programs, or as text for people.

    Args:
        style: styles whole lines of the text.
        text: turns a document into lines. Every string of the document that it gets is escaped, so
            that only `text` adds line breaks.
    """
    if as_json:
        print_json(document.plain())
    else:
        say(*text(clean(document)).split("\n"), style=style)


def print_json(document: Mapping[str, Any]) -> None:
    """Print one document of plain values as JSON in ASCII."""
    _write(f"{json.dumps(document, indent=2)}\n")


def rewrite(line: str, *, last: bool) -> None:
    """Replace the last line on stderr, which must be a terminal."""
    _write(f"\r{plain(line)}" + "\n" * last, err=True)


def clear() -> None:
    """Empty the terminal's screen."""
    if _is_smart():
        _write(CLEAR)


def ask(question: str) -> None:
    """Ask a yes-or-no question on stderr; stdout carries only results.

    Raises:
        Abort: the operator said no.
    """
    typer.confirm(plain(question), abort=True, err=True)


def secret(question: str, *, twice: bool) -> str:
    """Ask for a secret on the terminal, without showing it.

    Args:
        twice: asks again, and compares.
    """
    found: str = typer.prompt(plain(question), hide_input=True, confirmation_prompt=twice, err=True)
    return found


def _write(text: str, *, err: bool = False) -> None:
    encoding = (sys.stderr if err else sys.stdout).encoding or "utf-8"
    # A letter that the terminal's encoding lacks is shown as an escape.
    typer.echo(text.encode(encoding, "backslashreplace").decode(encoding), err=err, nl=False)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table as text. Each column is as wide as its widest cell."""
    cells = [[plain(str(cell)) if cell is not None else "-" for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (header, *cells)
    ]
    return "\n".join(lines)


def shortened(text: str, width: int) -> str:
    """The text, cut to a width with a mark where it is cut."""
    return text if len(text) <= width else f"{text[: max(0, width - 1)]}…"


def size(count: float) -> str:
    """A number of bytes for people: "1.2 MB"."""
    for unit in UNITS:
        if count < 1000 or unit == UNITS[-1]:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("the last unit takes everything")


def ago(seconds: float | None) -> str:
    """An age for people: "3 s", "12 min", "5 h", "3 days", or "never" for None."""
    if seconds is None:
        return "never"
    for limit, divisor, unit in ((90, 1, "s"), (5_400, 60, "min"), (172_800, 3_600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"


def share(done: int, total: int) -> str:
    """The progress of a piece of work: "12.5 %", or "begun" while the total is unknown."""
    return f"{100 * min(done, total) / total:.1f} %" if total else "begun"
