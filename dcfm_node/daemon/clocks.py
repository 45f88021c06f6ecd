"""How far peers' wall clocks are from this node's. It only informs the operator. Pure."""

from collections import deque

KEPT = 8
"""Newest messages of a peer that its offset is taken from."""


class Clocks:
    """The offsets of peers' clocks, from the times in their `sync` messages (SPEC 4.3.4)."""

    def __init__(self) -> None:
        self._told: dict[bytes, deque[int]] = {}

    def heard(self, peer: bytes, told_ms: int, now_ms: int) -> None:
        """A peer sent a message.

        Args:
            told_ms: its wall clock as it sent, in Unix milliseconds; 0 if it does not tell.
            now_ms: this node's wall clock.
        """
        if told_ms > 0:
            self._told.setdefault(peer, deque(maxlen=KEPT)).append(told_ms - now_ms)

    def offsets(self) -> dict[bytes, float]:
        """Seconds by which each peer's clock is ahead of this node's. A message's way makes the
        peer look late, so the message that was fastest counts."""
        return {peer: max(told) / 1_000 for peer, told in self._told.items()}
