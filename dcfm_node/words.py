"""Makes text and times from others safe for a terminal, a log and a page. Pure.

Text that a peer signed, file names and folder contents may hold any Unicode: sequences that control
a terminal, line breaks that forge a line, marks that reverse or hide text. All text that is shown
passes through here (`cli.output`, `daemon.logs`, `demo.live`, the model card).
"""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

LAST_MS = 253_402_300_799_000
"""The last second of the year 9999, in Unix milliseconds."""

FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""How cells begin that a spreadsheet runs; the last four are the same signs in full width."""


def plain(text: str) -> str:
    """The text on one line, with each invisible character as its escape, such as `\\x1b`.

    These are line breaks, control, format (also bidi) and private characters, and lone surrogates.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


_LATER = re.compile(rf"(;[\s\"']*)(?=[{''.join(map(re.escape, FORMULA))}])")
"""Where a spreadsheet that splits at semicolons sees a formula begin inside a cell."""


def cell(text: str) -> str:
    """The text as a cell of a table: plain, and with a quote before it if a spreadsheet would run
    it as a formula, also one that splits cells at semicolons. Numbers stay as they are."""
    text = _LATER.sub(r"\1'", plain(text))
    if not text.lstrip().startswith(FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def clean(value: Any) -> Any:
    """The value with every string in it plain: in mappings (also keys), sequences and models."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, Mapping):
        return {clean(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if isinstance(value, BaseModel):
        # The copy is not validated: escapes may make a string longer than its bound.
        return value.model_copy(update={name: clean(item) for name, item in value})
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: clean(getattr(value, f.name)) for f in fields(value)})
    return value


def utc(time_ms: float) -> str:
    """Unix milliseconds as UTC text, to the second; later times are shown as the end of 9999."""
    seconds = min(max(time_ms, 0), LAST_MS) / 1_000
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def times(count: int) -> str:
    """How often something happened: "once", "2 times"."""
    return "once" if count == 1 else f"{count} times"
