"""Journals: every author's hash-chained entries, as one node holds them (SPEC 3).

Trust rules, in the order they are applied to an entry that `wire.open_entry` already verified:

1. It belongs to this run, and its author is on the roster.
2. Nothing at or beyond a proven fork of its author is accepted.
3. It extends the chain: its `prev` is the digest of the entry before it, its epoch no lower.
4. An entry of a higher epoch replaces a tail of a lower one: its author lost that tail.
5. Two entries of one author, epoch and seq prove a fork: the chain ends before them, for everyone.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from dcfm_node.records.messages import Head
from dcfm_node.wire.envelope import Sealed


class Offered(Enum):
    """What became of an entry offered to the journals."""

    NEW = "new"
    KNOWN = "known"
    REPLACED = "replaced"
    """Accepted, in place of a tail that its author lost."""
    STALE = "stale"
    """Part of a tail that a higher epoch replaced; whoever sent it should hear the newer one."""
    GAP = "gap"
    """Cannot be chained yet: entries before it are missing here."""
    FORK = "fork"
    """Proves that its author signed two histories."""
    FOREIGN = "foreign"
    """Of another run, or of an author who is not on the roster."""


@dataclass(frozen=True, slots=True)
class Fork:
    """Two entries of one author, epoch and seq: proof that anyone can check."""

    seq: int
    first: Sealed
    second: Sealed


class Journals:
    """All journals of one run, in memory."""

    def __init__(self, run: bytes, roster: Iterable[bytes]) -> None:
        self.run = run
        self.chains: dict[bytes, list[Sealed]] = {author: [] for author in roster}
        self.forks: dict[bytes, Fork] = {}

    def offer(self, sealed: Sealed) -> Offered:
        """Apply the trust rules to one verified entry."""
        entry = sealed.entry
        chain = self.chains.get(entry.author)
        if chain is None or entry.run != self.run:
            return Offered.FOREIGN
        fork = self.forks.get(entry.author)
        if fork is not None and entry.seq >= fork.seq:
            return Offered.KNOWN
        if entry.seq > len(chain):
            return Offered.GAP
        chained = entry.prev == self._digest_before(chain, entry.seq) and (
            entry.seq == 0 or entry.epoch >= chain[entry.seq - 1].entry.epoch
        )
        if entry.seq == len(chain):
            if not chained:
                return Offered.GAP
            chain.append(sealed)
            return Offered.NEW
        held = chain[entry.seq]
        if held.digest == sealed.digest:
            return Offered.KNOWN
        if entry.epoch < held.entry.epoch:
            return Offered.STALE
        if entry.epoch > held.entry.epoch:
            if not chained:
                return Offered.GAP
            del chain[entry.seq :]
            chain.append(sealed)
            return Offered.REPLACED
        self.mark_fork(held, sealed)
        return Offered.FORK

    def mark_fork(self, first: Sealed, second: Sealed) -> None:
        """End an author's chain before two conflicting entries."""
        entry = first.entry
        self.forks[entry.author] = Fork(entry.seq, first, second)
        del self.chains[entry.author][entry.seq :]

    def head(self, author: bytes) -> Head:
        """How far this node holds an author's journal."""
        chain = self.chains[author]
        fork = self.forks.get(author)
        epoch = chain[-1].entry.epoch if chain else 0
        digest = self._digest_before(chain, len(chain))
        return Head(epoch=epoch, seq=len(chain) - 1, digest=digest, forked=fork.seq if fork else -1)

    def missing_from(self, author: bytes, theirs: Head | None) -> list[Sealed]:
        """Entries of an author that a peer with head `theirs` lacks, in chain order.

        A peer that does not know of a fork gets both halves of its proof.
        """
        chain = self.chains[author]
        fork = self.forks.get(author)
        if fork is not None and (theirs is None or not 0 <= theirs.forked <= fork.seq):
            return [*chain[: fork.seq], fork.first, fork.second]
        if fork is not None or not chain:
            return []
        if theirs is None or theirs.seq < 0:
            return list(chain)
        ours = chain[-1].entry
        if theirs.seq < len(chain) and chain[theirs.seq].digest == theirs.digest:
            return chain[theirs.seq + 1 :]
        if (ours.epoch, ours.seq) < (theirs.epoch, theirs.seq):
            return []
        return list(chain)

    def _digest_before(self, chain: list[Sealed], seq: int) -> bytes:
        return chain[seq - 1].digest if seq else self.run
