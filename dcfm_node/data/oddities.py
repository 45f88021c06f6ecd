"""Warnings about private data that is usable but looks wrong."""

from dataclasses import dataclass
from typing import Literal

from dcfm_node.errors import writable


@dataclass(frozen=True, slots=True)
class DataWarning:
    """Something that an operator should look at.

    Attributes:
        code: the kind of warning (`docs/problems.md`).
        what: what is odd, and in which file.
        fix: what to do; empty for the usual fix of this code.
        unscaled: it holds only if the run does not standardise after all: no silo states moments.
    """

    code: Literal["data-scale", "data-features", "data-alike", "data-labels", "data-changed"]
    what: str
    fix: str = ""
    unscaled: bool = False

    def __post_init__(self) -> None:
        # A message may contain a file name that is not valid text.
        object.__setattr__(self, "what", writable(self.what))

    def __str__(self) -> str:
        return f"{self.what}; {self.fix}" if self.fix else self.what
