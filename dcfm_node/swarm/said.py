"""A record with who said it."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from dcfm_node.records.entries import (
    Audit,
    Checkpoint,
    Endorse,
    Expert,
    Lease,
    Refuse,
    Student,
    Verdict,
    Vote,
)

B = TypeVar("B", Audit, Expert, Vote, Lease, Checkpoint, Student, Endorse, Refuse, Verdict)


@dataclass(frozen=True, slots=True)
class Said(Generic[B]):
    """A record's body, with who said it and the digest of its entry."""

    author: bytes
    digest: bytes
    body: B
    seq: int
    """Its place in its author's journal: of one author, what came before what."""
