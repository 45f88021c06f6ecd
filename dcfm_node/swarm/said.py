"""A record with its author."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from dcfm_node.records.entries import (
    Accept,
    Audit,
    Checkpoint,
    Endorse,
    Expert,
    Join,
    Lease,
    Propose,
    Refuse,
    Student,
    Verdict,
    Vote,
)

B = TypeVar(
    "B",
    Join,
    Audit,
    Expert,
    Vote,
    Lease,
    Propose,
    Accept,
    Checkpoint,
    Student,
    Endorse,
    Refuse,
    Verdict,
)


@dataclass(frozen=True, slots=True)
class Said(Generic[B]):
    """A record's body, with its author and the digest of its entry."""

    author: bytes
    digest: bytes
    body: B
    seq: int
    """Number of its entry in its author's journal; it orders the records of one author."""
