"""Others' words and times, made fit for a terminal, a log and a page. Pure.

What a peer signed, what a file is named and what a folder holds may bear anything that Unicode has:
sequences that a terminal obeys, line breaks that forge a line, marks that turn text round or hide.
Whatever is shown goes through here (`cli.output`, `daemon.logs`, `demo.live`, the model card).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

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
    """Plain data with every text in it plain, keys among them."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, Mapping):
        return {clean(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value


def utc(time_ms: float) -> str:
    """A wall clock's Unix milliseconds, to the second. What no calendar has is shown as its end."""
    seconds = min(max(time_ms, 0), LAST_MS) / 1_000
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
