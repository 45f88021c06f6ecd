"""What survives a crash (journal entries, proofs of forks, snapshots), and what can harm it."""

import random
from dataclasses import dataclass, field

from dcfm_node.swarm.effects import Durable, Persist, PersistFork, PersistHeartbeat
from dcfm_node.wire.envelope import Sealed, SealedHeartbeat


@dataclass
class Disk:
    """A disk that records when each thing was written, so that an earlier state can be restored.

    Attributes:
        chains: by author, the entries that the store would restore.
        heartbeats: by author, the heartbeat of the highest epoch.
        stored: digests of every entry that was ever written and not lost.
        held: by digest of a snapshot, the time since when it is held.
        full: whether writes are refused now.
    """

    chains: dict[bytes, list[Sealed]] = field(default_factory=dict)
    forks: dict[bytes, tuple[Sealed, Sealed]] = field(default_factory=dict)
    heartbeats: dict[bytes, SealedHeartbeat] = field(default_factory=dict)
    stored: set[bytes] = field(default_factory=set)
    held: dict[bytes, float] = field(default_factory=dict)
    full: bool = False
    _log: list[tuple[float, Durable]] = field(default_factory=list)

    def persist(self, effect: Durable, now: float) -> None:
        """Write an entry in place of its author's tail from there on; or a proof, and drop the
        author's entries from the fork on; or a heartbeat in place of its author's earlier one."""
        self._log.append((now, effect))
        match effect:
            case Persist(sealed):
                self._put(sealed)
            case PersistFork():
                self._prove(effect)
            case PersistHeartbeat(heartbeat):
                self.heartbeats[heartbeat.heartbeat.author] = heartbeat

    def entries(self) -> list[Sealed]:
        """All entries, each author's in chain order."""
        return [sealed for chain in self.chains.values() for sealed in chain]

    def proofs(self) -> list[tuple[Sealed, Sealed]]:
        """Pairs of entries that prove forks."""
        return list(self.forks.values())

    def epochs(self) -> list[SealedHeartbeat]:
        """The heartbeats kept."""
        return list(self.heartbeats.values())

    def as_of(self, time: float) -> "Disk":
        """The disk as in a backup of that time."""
        old = Disk(held={digest: since for digest, since in self.held.items() if since <= time})
        for when, effect in self._log:
            if when <= time:
                old.persist(effect, when)
        return old

    def without_journals(self) -> "Disk":
        """The rest of the disk after the journals were damaged and moved aside."""
        return Disk(held=self.held)

    def without_some_snapshots(self, rng: random.Random) -> "Disk":
        """The disk after a check at boot drops about half of its snapshots as damaged."""
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
