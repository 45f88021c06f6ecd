"""Names of files, columns, attributes and values in one normal form."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path


def normal(name: str) -> str:
    """The name in NFC, without blanks around it. macOS stores names in NFD."""
    return unicodedata.normalize("NFC", name).strip()


def twice(names: Iterable[str]) -> str | None:
    """The first name that occurred before; None if all differ."""
    seen: set[str] = set()
    for name in names:
        if normal(name) in seen:
            return name
        seen.add(normal(name))
    return None


def integers(values: Iterable[str]) -> bool:
    """Whether all are integers written as text."""
    return all(re.fullmatch("-?[0-9]+", value) for value in values)


def ordered(values: Iterable[str]) -> tuple[str, ...]:
    """Different values in the order for people: integers by number, anything else by text."""
    different = sorted(set(values))
    return tuple(sorted(different, key=int) if integers(different) else different)


def at_home(path: Path) -> Path:
    """Expand `~` or `~user` at the start of a path, as a shell does.

    Raises:
        ValueError: the user does not exist.
    """
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(
            f"begins with {path.parts[0]!r}, but this user does not exist; write the full path"
        ) from None
