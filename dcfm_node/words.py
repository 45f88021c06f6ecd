"""Others' words and times, made fit for a terminal, a log and a page. Pure.

What a peer signed, what a file is named and what a folder holds may bear anything that Unicode has:
sequences that a terminal obeys, line breaks that forge a line, marks that turn text round or hide.
Whatever is shown goes through here (`cli.output`, `daemon.logs`, `demo.live`, the model card).
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

LAST_MS = 253_402_300_799_000
"""The last second that a calendar of four-digit years has, as Unix milliseconds."""


def plain(text: str) -> str:
    """Text on one line: each character that is not to be seen is written as its escape, `\\x1b`.

    Line breaks, control, format (bidi among them) and private characters, and halves of surrogates.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def clean(value: Any) -> Any:
    """A value with every string in it plain: of mappings (keys too), sequences, models, records."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, Mapping):
        return {clean(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if isinstance(value, BaseModel):
        # A copy is not validated again: escapes may make a string longer than its bound.
        return value.model_copy(update={name: clean(item) for name, item in value})
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: clean(getattr(value, f.name)) for f in fields(value)})
    return value


def utc(time_ms: float) -> str:
    """A wall clock's Unix milliseconds, to the second. What no calendar has is shown as its end."""
    seconds = min(max(time_ms, 0), LAST_MS) / 1_000
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
