"""What looks wrong with private data that can be trained on."""

from dataclasses import dataclass
from typing import Literal

from dcfm_node.errors import writable


@dataclass(frozen=True, slots=True)
class DataWarning:
    """Something that an operator should look at.

    Attributes:
        code: what kind it is of (`docs/problems.md`).
        what: what is odd, and in which file.
        fix: what to do; empty for the usual of its kind.
    """

    code: Literal["data-scale", "data-alike", "data-labels", "data-changed"]
    what: str
    fix: str = ""

    def __post_init__(self) -> None:
        # They may name files, whose names may not be text.
        object.__setattr__(self, "what", writable(self.what))

    def __str__(self) -> str:
        return f"{self.what}; {self.fix}" if self.fix else self.what
