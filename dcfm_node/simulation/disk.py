"""What survives a crash: journal entries, proofs of forks, snapshots. And what may befall it."""

import random
from dataclasses import dataclass, field

from dcfm_node.wire.envelope import Sealed


@dataclass
class Disk:
    """Keeps when each thing was written, so that it can be put back as it was.

    Attributes:
        chains: what the store would restore, by author.
        stored: digests of every entry that was ever written and not lost.
        held: snapshots, and since when.
        full: nothing can be written now.
    """

    chains: dict[bytes, list[Sealed]] = field(default_factory=dict)
    forks: dict[bytes, tuple[Sealed, Sealed]] = field(default_factory=dict)
    stored: set[bytes] = field(default_factory=set)
    held: dict[bytes, float] = field(default_factory=dict)
    full: bool = False
    _log: list[tuple[float, Sealed | tuple[Sealed, Sealed]]] = field(default_factory=list)

    def persist(self, sealed: Sealed, now: float) -> None:
        """Put an entry at its place, instead of the author's tail from there on."""
        self._log.append((now, sealed))
        self._put(sealed)

    def persist_fork(self, first: Sealed, second: Sealed, now: float) -> None:
        """Keep a proof, and drop the author's entries from there on."""
        self._log.append((now, (first, second)))
        self._prove(first, second)

    def entries(self) -> list[bytes]:
        """Envelopes, every author's in chain order."""
        return [sealed.envelope for chain in self.chains.values() for sealed in chain]

    def proofs(self) -> list[tuple[bytes, bytes]]:
        """Pairs of envelopes that prove forks."""
        return [(first.envelope, second.envelope) for first, second in self.forks.values()]

    def as_of(self, time: float) -> "Disk":
        """The disk as a backup of that time has it."""
        old = Disk(held={digest: since for digest, since in self.held.items() if since <= time})
        for when, what in self._log:
            if when <= time:
                old._log.append((when, what))
                if isinstance(what, Sealed):
                    old._put(what)
                else:
                    old._prove(*what)
        return old

    def without_journals(self) -> "Disk":
        """What is left when the journals were damaged and moved aside."""
        return Disk(held=self.held)

    def without_some_snapshots(self, rng: random.Random) -> "Disk":
        """What is left when a check at boot drops the damaged ones."""
        self.held = {digest: since for digest, since in self.held.items() if rng.random() < 0.5}
        return self

    def _put(self, sealed: Sealed) -> None:
        chain = self.chains.setdefault(sealed.entry.author, [])
        del chain[sealed.entry.seq :]
        chain.append(sealed)
        self.stored.add(sealed.digest)

    def _prove(self, first: Sealed, second: Sealed) -> None:
        author, seq = first.entry.author, first.entry.seq
        self.forks[author] = (first, second)
        self.stored |= {first.digest, second.digest}
        del self.chains.setdefault(author, [])[seq:]
