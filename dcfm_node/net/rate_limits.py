"""How much is taken of one peer: two token buckets, messages and bytes (SPEC 4.7)."""

from dataclasses import dataclass, field

from dcfm_node.swarm.rate_limiter import RateLimiter

MESSAGES_PER_S, MESSAGES_AT_ONCE = 50.0, 500.0
"""An honest peer sends some ten a second: it gossips once, answers, and tells what is new."""
BYTES_PER_S, BYTES_AT_ONCE = 512.0 * 2**10, 16.0 * 2**20
"""Enough to catch up with all journals at once, or slowly; verifying so much takes half a core."""


CHUNKS_PER_S, CHUNKS_AT_ONCE = 2_000.0, 10_000.0
"""Messages on the bulk plane: chunks of 1 MiB at 2 GB/s, and as many that ask for them."""
ASKS_PER_S, ASKS_AT_ONCE = 50.0, 4_000.0
"""Of these, such as ask who holds what: each may be answered with 256 KiB of hashes. At once a
node may ask for every silo's expert and the one before."""


@dataclass
class BulkLimiter:
    """What one peer may send on the bulk plane. What is over is dropped: it asks again."""

    now: float
    dropped: int = 0
    """Messages not taken, ever."""

    def __post_init__(self) -> None:
        self._all = RateLimiter(CHUNKS_PER_S, CHUNKS_AT_ONCE, self.now)
        self._asks = RateLimiter(ASKS_PER_S, ASKS_AT_ONCE, self.now)

    def take(self, asks: bool, now: float) -> bool:
        """Whether a message is taken."""
        if self._all.take(1.0, now) and (not asks or self._asks.take(1.0, now)):
            return True
        self.dropped += 1
        return False


@dataclass
class LinkLimiter:
    """What one peer may still send. What is over is dropped: gossip says it again."""

    now: float
    dropped: int = 0
    """Messages not taken, ever."""
    _messages: RateLimiter = field(init=False)
    _bytes: RateLimiter = field(init=False)

    def __post_init__(self) -> None:
        self._messages = RateLimiter(MESSAGES_PER_S, MESSAGES_AT_ONCE, self.now)
        self._bytes = RateLimiter(BYTES_PER_S, BYTES_AT_ONCE, self.now)

    def take(self, size: int, now: float) -> bool:
        """Whether a message of so many bytes is taken."""
        enough = self._messages.holds(1.0, now), self._bytes.holds(float(size), now)
        if not all(enough):
            self.dropped += 1
            return False
        self._messages.tokens -= 1.0
        self._bytes.tokens -= float(size)
        return True
