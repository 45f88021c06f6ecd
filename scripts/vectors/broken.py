"""Ways to break the readers, each one rule: from scripts/broken_rules.txt, and every bound by one.

This module imports nothing of the package: scripts/break_readers breaks it before it is imported.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BOUNDED = (
    "records/base.py",
    "records/entries.py",
    "records/manifest.py",
    "records/messages.py",
    "records/settings.py",
    "networks/settings.py",
    "methods/dcfm/schedule.py",
    "methods/fedflow/schedule.py",
    "methods/mixture/schedule.py",
)
BOUND = re.compile(r"\b(ge|le|gt|lt|min_length|max_length)=([\w.*-]+(?: [+*] [\w.]+)?)")
LOOSER = {"ge": "ge=({}) - 1", "le": "le=({}) + 1", "gt": "ge={}", "lt": "le={}"}
LOOSER |= {"min_length": "min_length=max(0, ({}) - 1)", "max_length": "max_length=({}) + 1"}
TIGHTER = {"ge": "ge=({}) + 1", "le": "le=({}) - 1", "min_length": "min_length=({}) + 1"}
TIGHTER |= {"max_length": "max_length=({}) - 1"}


@dataclass(frozen=True)
class Break:
    """One change of one file of the package."""

    file: str
    start: int
    old: str
    new: str

    @property
    def name(self) -> str:
        return f"{self.file}: {self.old} -> {self.new or '(nothing)'}"

    def applied(self, source: str) -> str:
        assert source.startswith(self.old, self.start)
        return source[: self.start] + self.new + source[self.start + len(self.old) :]


def broken_rules() -> Iterator[Break]:
    """Raises ValueError: a line of the table is not in its file exactly once."""
    file, source = "", ""
    for line in (ROOT / "scripts" / "broken_rules.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            file = line[2:]
            source = (ROOT / "dcfm_node" / file).read_text(encoding="utf-8")
        elif line.strip():
            old, _, new = line.partition(" ==> ")
            if source.count(old) != 1:
                raise ValueError(f"{file} has {source.count(old)} of {old!r}; mend the table")
            yield Break(file, source.index(old), old, new)
    yield from broken_bounds()


def broken_bounds() -> Iterator[Break]:
    """Every bound of every field, one less strict and one more."""
    for file in BOUNDED:
        source = (ROOT / "dcfm_node" / file).read_text(encoding="utf-8")
        for found in BOUND.finditer(source):
            for form in (LOOSER, TIGHTER):
                if found[1] in form:
                    yield Break(file, found.start(), found[0], form[found[1]].format(found[2]))
