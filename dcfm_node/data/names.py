"""Names as people mean them: of files, columns, attributes and their values."""

import unicodedata
from collections.abc import Iterable
from pathlib import Path


def normal(name: str) -> str:
    """Composed (NFC) and without blanks around it: macOS stores names decomposed (NFD)."""
    return unicodedata.normalize("NFC", name).strip()


def twice(names: Iterable[str]) -> str | None:
    """The first name that is the same as one before it."""
    seen: set[str] = set()
    for name in names:
        if normal(name) in seen:
            return name
        seen.add(normal(name))
    return None


def at_home(path: Path) -> Path:
    """The path that a shell would make of one that begins with `~` or `~user`.

    Raises:
        ValueError: there is no such user.
    """
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(
            f"begins with {path.parts[0]!r}, and there is no such user; write the path out in full"
        ) from None
