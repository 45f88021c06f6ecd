"""Who is alive, and who still moves. Slow is never taken for dead (SPEC 6.3)."""

from collections.abc import Hashable
from dataclasses import dataclass, field

from dcfm_node.records.messages import Beat
from dcfm_node.wire.envelope import SealedBeat


@dataclass(slots=True)
class Sign:
    """The newest beat of one node, and when it came and last showed progress (seconds)."""

    beat: SealedBeat
    heard_at: float
    moved_at: float


@dataclass
class Liveness:
    """Signs of life of every other node, relayed or direct.

    Args:
        live_s: a node is live this long after its last beat.
        stall_s: a node is late after this long without progress.
    """

    live_s: float
    stall_s: float
    signs: dict[bytes, Sign] = field(default_factory=dict)
    _waiting_for: Hashable = None
    _waiting_since: float = 0.0

    def hear(self, sealed: SealedBeat, now: float) -> bool:
        """Take a beat in; False if it is not newer than the one held."""
        beat = sealed.beat
        sign = self.signs.get(beat.author)
        if sign is None:
            self.signs[beat.author] = Sign(sealed, now, now)
            return True
        held = sign.beat.beat
        if beat.counter <= held.counter:
            return False
        if _progress(beat) != _progress(held):
            sign.moved_at = now
        sign.beat, sign.heard_at = sealed, now
        return True

    def moved(self, author: bytes, now: float) -> None:
        """A new record of a node is progress too."""
        if author in self.signs:
            self.signs[author].moved_at = now

    def wait_for(self, what: Hashable, now: float) -> None:
        """Start the clock of lateness anew whenever what the run waits for changes."""
        if what != self._waiting_for:
            self._waiting_for, self._waiting_since = what, now

    def live(self, author: bytes, now: float) -> bool:
        """Whether a beat came within `live_s`."""
        sign = self.signs.get(author)
        return sign is not None and now - sign.heard_at <= self.live_s

    def late(self, author: bytes, now: float) -> bool:
        """Whether a node made no progress for `stall_s` since we began to wait for it."""
        return now > self.late_at(author)

    def gone(self, author: bytes, now: float) -> bool:
        """Late, and without a sign of life either: it will not deliver what it published."""
        return self.late(author, now) and not self.live(author, now)

    def late_at(self, author: bytes) -> float:
        """When a node will be late unless it moves."""
        sign = self.signs.get(author)
        moved = sign.moved_at if sign is not None else self._waiting_since
        return max(moved, self._waiting_since) + self.stall_s


def _progress(beat: Beat) -> tuple[str, int, int]:
    return beat.activity, beat.round, beat.done
