"""Epochs on this node's disk (SPEC 4.6.4): for every author, the heartbeat with the highest epoch.

The node keeps the signed heartbeat, not just the epoch. So it can pass it on to peers that lost it,
and show it to an author that lost its own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dcfm_node.wire.envelope import SealedHeartbeat


@dataclass
class Epochs:
    """By author, the accepted heartbeat of the highest epoch."""

    kept: dict[bytes, SealedHeartbeat] = field(default_factory=dict)
    _risen: set[bytes] = field(default_factory=set)
    """Authors whose epoch rose since the last `breathe`."""

    def breathe(self) -> None:
        """Let every author's epoch rise once more. Each rise costs a write to the disk."""
        self._risen.clear()

    def of(self, author: bytes) -> int:
        """The highest known epoch of an author; 0 if none is known."""
        known = self.kept.get(author)
        return known.heartbeat.epoch if known is not None else 0

    def take(
        self, heartbeats: Iterable[SealedHeartbeat], me: bytes | None = None
    ) -> list[SealedHeartbeat]:
        """Add heartbeats. Returns those that must now go to disk, at most one for each author.

        Args:
            me: this node, whose epochs are all on its disk before it publishes them.
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
        """Heartbeats whose epochs are above those in a peer's `sync`."""
        kept = self.kept.items()
        return [s for author, s in kept if theirs.get(author, (0, 0))[1] < s.heartbeat.epoch]
