"""Faults that a member's own signed records prove (SPEC 6.7).

No honest node signs such records, whatever happens to it. So no vote is needed: everyone who holds
the journals finds the same faults.
"""

from dataclasses import dataclass, field

from dcfm_node.records.entries import Body, Cause, Endorse, Expert, Refuse, Student, Vote
from dcfm_node.swarm.journal import Fork

MAX_TERM_GAP = 1_000
"""A term counts only if it is at most this far above the last one that counts. A member that votes
far ahead must not use up the terms."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What a member did, the digest of the entry that shows it, and a description."""

    cause: Cause
    entry: bytes
    why: str


def fault_of(fork: Fork) -> Fault:
    """The fault of a fork. Its second entry shows it."""
    if fork.takes_back:
        why = f"took back its entry {fork.first.entry.seq}, on which others had built"
        return Fault("fork", fork.second.digest, why)
    why = f"signed two different entries as number {fork.seq}"
    return Fault("fork", max(fork.first.digest, fork.second.digest), why)


@dataclass
class Faults:
    """Finds faults in journals. Each author's records must come in chain order."""

    proven: dict[bytes, dict[Cause, Fault]] = field(default_factory=dict)
    """By author, the first fault of each cause. Later ones add nothing."""
    _voted: set[tuple[bytes, int]] = field(default_factory=set)
    _published: dict[tuple[bytes, int], None] = field(default_factory=dict)
    _named: dict[tuple[bytes, bytes], int] = field(default_factory=dict)
    _judged: dict[tuple[bytes, bytes], str] = field(default_factory=dict)
    _led: set[tuple[bytes, bytes]] = field(default_factory=set)
    _news: bool = False

    def see(self, author: bytes, entry: bytes, body: Body) -> bool:
        """Compare an author's next record with the earlier ones. Returns True if it proves a new
        fault."""
        self._news = False
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
            case Student():
                if (author, body.lease) in self._led:
                    why = f"published two students of term {body.term}"
                    self._add(author, "replay", entry, why)
                self._led.add((author, body.lease))
        return self._news

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
        known = self.proven.setdefault(author, {})
        self._news |= cause not in known
        known.setdefault(cause, Fault(cause, entry, why))
