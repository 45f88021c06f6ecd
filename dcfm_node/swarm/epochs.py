"""Epochs that this node's disk knows (SPEC 4.6.4): of every author, the heartbeat with the highest.

The signed heartbeat is kept and not its epoch alone, so that it can be passed on to peers that lost
theirs, and shown to an author that lost its own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dcfm_node.wire.envelope import SealedHeartbeat


@dataclass
class Epochs:
    """By author, the heartbeat of the highest epoch that was taken in."""

    kept: dict[bytes, SealedHeartbeat] = field(default_factory=dict)
    _risen: set[bytes] = field(default_factory=set)
    """Authors whose epoch rose since the last `breathe`."""

    def breathe(self) -> None:
        """Time passed: every author's epoch may rise once more. Each costs a write to the disk."""
        self._risen.clear()

    def of(self, author: bytes) -> int:
        """The highest epoch of an author; 0 where none is known."""
        known = self.kept.get(author)
        return known.heartbeat.epoch if known is not None else 0

    def take(
        self, heartbeats: Iterable[SealedHeartbeat], me: bytes | None = None
    ) -> list[SealedHeartbeat]:
        """Take heartbeats in; those that must now reach the disk, one an author at most.

        Args:
            me: this node itself, whose every epoch is on its disk before it is told.
        """
        risen: dict[bytes, SealedHeartbeat] = {}
        for sealed in heartbeats:
            author = sealed.heartbeat.author
            if sealed.heartbeat.epoch <= self.of(author):
                continue
            if author == me or author in risen or author not in self._risen:
                self.kept[author] = risen[author] = sealed
        self._risen |= risen.keys()
        return list(risen.values())

    def unknown_to(self, theirs: Mapping[bytes, tuple[int, int]]) -> list[SealedHeartbeat]:
        """Those whose epochs are above what a peer's `sync` names."""
        kept = self.kept.items()
        return [s for author, s in kept if theirs.get(author, (0, 0))[1] < s.heartbeat.epoch]
