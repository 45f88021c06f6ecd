"""What survives a crash: journal entries, proofs of forks, snapshots. And what may befall it."""

import random
from dataclasses import dataclass, field

from dcfm_node.swarm.effects import Durable, Persist, PersistFork, PersistHeartbeat
from dcfm_node.wire.envelope import Sealed, SealedHeartbeat


@dataclass
class Disk:
    """Keeps when each thing was written, so that it can be put back as it was.

    Attributes:
        chains: what the store would restore, by author.
        heartbeats: of the highest epoch of each author.
        stored: digests of every entry that was ever written and not lost.
        held: snapshots, and since when.
        full: nothing can be written now.
    """

    chains: dict[bytes, list[Sealed]] = field(default_factory=dict)
    forks: dict[bytes, tuple[Sealed, Sealed]] = field(default_factory=dict)
    heartbeats: dict[bytes, SealedHeartbeat] = field(default_factory=dict)
    stored: set[bytes] = field(default_factory=set)
    held: dict[bytes, float] = field(default_factory=dict)
    full: bool = False
    _log: list[tuple[float, Durable]] = field(default_factory=list)

    def persist(self, effect: Durable, now: float) -> None:
        """Put an entry at its place, instead of the author's tail from there on; a proof, and drop
        the author's entries from there on; or a heartbeat, instead of the author's one before."""
        self._log.append((now, effect))
        match effect:
            case Persist(sealed):
                self._put(sealed)
            case PersistFork():
                self._prove(effect)
            case PersistHeartbeat(heartbeat):
                self.heartbeats[heartbeat.heartbeat.author] = heartbeat

    def entries(self) -> list[Sealed]:
        """Every author's in chain order."""
        return [sealed for chain in self.chains.values() for sealed in chain]

    def proofs(self) -> list[tuple[Sealed, Sealed]]:
        """Pairs of entries that prove forks."""
        return list(self.forks.values())

    def epochs(self) -> list[SealedHeartbeat]:
        """The heartbeats kept."""
        return list(self.heartbeats.values())

    def as_of(self, time: float) -> "Disk":
        """The disk as a backup of that time has it."""
        old = Disk(held={digest: since for digest, since in self.held.items() if since <= time})
        for when, effect in self._log:
            if when <= time:
                old.persist(effect, when)
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

    def _prove(self, fork: PersistFork) -> None:
        author, (first, second) = fork.first.entry.author, (fork.first, fork.second)
        self.forks[author] = (first, second)
        self.stored |= {first.digest, second.digest}
        del self.chains.setdefault(author, [])[fork.seq :]
