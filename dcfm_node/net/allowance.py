"""How much is taken of one peer: two token buckets, messages and bytes (SPEC 4.7)."""

from dataclasses import dataclass, field

from dcfm_node.swarm.bucket import Bucket

MESSAGES_PER_S, MESSAGES_AT_ONCE = 50.0, 500.0
"""An honest peer sends some ten a second: it gossips once, answers, and tells what is new."""
BYTES_PER_S, BYTES_AT_ONCE = 512.0 * 2**10, 16.0 * 2**20
"""Enough to catch up with all journals at once, or slowly; verifying so much takes half a core."""


@dataclass
class Allowance:
    """What one peer may still send. What is over is dropped: gossip says it again."""

    now: float
    dropped: int = 0
    """Messages not taken, ever."""
    _messages: Bucket = field(init=False)
    _bytes: Bucket = field(init=False)

    def __post_init__(self) -> None:
        self._messages = Bucket(MESSAGES_PER_S, MESSAGES_AT_ONCE, self.now)
        self._bytes = Bucket(BYTES_PER_S, BYTES_AT_ONCE, self.now)

    def take(self, size: int, now: float) -> bool:
        """Whether a message of so many bytes is taken."""
        enough = self._messages.holds(1.0, now), self._bytes.holds(float(size), now)
        if not all(enough):
            self.dropped += 1
            return False
        self._messages.tokens -= 1.0
        self._bytes.tokens -= float(size)
        return True
