"""Names of files, columns, attributes and values in one normal form."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

MAX_VALUE = 64
"""Most characters of an attribute's value."""
SHOWN = 12
"""Most names of a list that a message shows."""


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


def alike(values: Iterable[str]) -> list[tuple[str, ...]]:
    """Values that differ only in case or in the blanks, _ and - in them; each group in order."""
    groups: dict[str, list[str]] = {}
    for value in values:
        groups.setdefault(re.sub(r"[\s_-]+", "", normal(value).casefold()), []).append(value)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def unlike(names: Sequence[str], others: Sequence[str]) -> tuple[str, str]:
    """Two lists of names that differ, for a message; of long ones, only the names that differ."""
    if max(len(names), len(others)) <= SHOWN:
        return ", ".join(names), ", ".join(others)
    first, second = (
        [name for name in mine if name not in theirs]
        for mine, theirs in ((names, {*others}), (others, {*names}))
    )
    if not first and not second:  # in another order
        pairs = [pair for pair in zip(names, others, strict=True) if pair[0] != pair[1]]
        first, second = [a for a, _ in pairs], [b for _, b in pairs]
    return _some(first, names), _some(second, others)


def _some(differing: Sequence[str], names: Sequence[str]) -> str:
    told, shared = ", ".join(differing[:SHOWN]), len(names) - len(differing[:SHOWN])
    return f"{told}, … ({shared} more)" if told else f"{len(names)} names that both have"


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
