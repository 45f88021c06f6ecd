"""What a member's own signed records prove against it (SPEC 6.7).

No honest node says any of this, whatever befell it, so that it needs no vote: whoever holds the
journals finds the same.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dcfm_node.records.entries import Body, Cause, Endorse, Expert, Refuse, Vote
from dcfm_node.swarm.journal import Fork

MAX_TERM_GAP = 1_000
"""A term counts only so near above the one before it that does: whoever votes far ahead must not
use the terms up."""
JUDGED: frozenset[Cause] = frozenset({"snapshot", "quota", "score"})
"""Causes whose verdicts are counted: what a quorum refused for them is used by nobody."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What a member did, which entry of it shows so, and words for it."""

    cause: Cause
    entry: bytes
    why: str


def fault_of(fork: Fork) -> Fault:
    """A fork among other faults; its second entry shows it."""
    why = f"signed two different entries as number {fork.seq}"
    return Fault("fork", max(fork.first.digest, fork.second.digest), why)


@dataclass
class Faults:
    """Watches one journal after the other; within one author in chain order."""

    proven: dict[bytes, list[Fault]] = field(default_factory=dict)
    """By author, in chain order."""
    _voted: set[tuple[bytes, int]] = field(default_factory=set)
    _published: dict[tuple[bytes, int], None] = field(default_factory=dict)
    _named: dict[tuple[bytes, bytes], int] = field(default_factory=dict)
    _judged: dict[tuple[bytes, bytes], str] = field(default_factory=dict)

    def see(self, author: bytes, entry: bytes, body: Body) -> None:
        """Compare an author's next record with those before it."""
        match body:
            case Vote():
                if (author, body.term) in self._voted:
                    self._add(author, "double_vote", entry, f"voted twice in term {body.term}")
                self._voted.add((author, body.term))
            case Expert():
                self._see_expert(author, entry, body)
            case Endorse() | Refuse():
                first = self._judged.setdefault((author, body.student), body.kind)
                if first != body.kind:
                    why = "both endorsed and refused one student"
                    self._add(author, "contradiction", entry, why)

    def _see_expert(self, author: bytes, entry: bytes, body: Expert) -> None:
        digest, round_ = body.snapshot.digest, body.round
        if (author, round_) in self._published:
            self._add(author, "replay", entry, f"published two experts of round {round_}")
        elif (author, digest) in self._named:
            before = self._named[author, digest]
            why = f"published its expert of round {before} as that of round {round_}"
            self._add(author, "replay", entry, why)
        self._published[author, round_] = None
        self._named.setdefault((author, digest), round_)

    def _add(self, author: bytes, cause: Cause, entry: bytes, why: str) -> None:
        self.proven.setdefault(author, []).append(Fault(cause, entry, why))


def within_reach(terms: Iterable[int]) -> int:
    """The highest term that counts, of all in which anyone voted; 0 where none does."""
    last = 0
    for term in sorted(terms):
        if term > last + MAX_TERM_GAP:
            break
        last = term
    return last


def first_beyond(votes: Mapping[int, Mapping[bytes, bytes]], last: int) -> dict[bytes, Fault]:
    """By author, its vote of the lowest term that does not count.

    Args:
        votes: term, then voter, then digest of the vote.
        last: the highest term that counts.
    """
    found: dict[bytes, Fault] = {}
    for term in sorted(term for term in votes if term > last):
        for author, entry in votes[term].items():
            why = f"voted in term {term}, far above the last, {last}"
            found.setdefault(author, Fault("term", entry, why))
    return found
