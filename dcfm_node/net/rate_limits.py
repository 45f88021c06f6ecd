"""Limits on the input from one peer: token buckets for messages and bytes (SPEC 4.7)."""

from dataclasses import dataclass, field

from dcfm_node.swarm.rate_limiter import RateLimiter

MESSAGES_PER_S, MESSAGES_AT_ONCE = 50.0, 500.0
"""Control messages. An honest peer sends about ten a second: gossip, answers and news."""
BYTES_PER_S, BYTES_AT_ONCE = 512.0 * 2**10, 16.0 * 2**20
"""Bytes of control messages. This is enough to catch up with all journals; verifying that many
takes half a core."""


CHUNKS_PER_S, CHUNKS_AT_ONCE = 2_000.0, 10_000.0
"""Messages on the bulk plane: chunks of 1 MiB at 2 GB/s, and as many requests for them."""
ASKS_PER_S, ASKS_AT_ONCE = 50.0, 4_000.0
"""Messages on the bulk plane that ask who holds what. An answer may hold 256 KiB of hashes. A node
may ask at once for two experts of every silo."""


@dataclass
class BulkLimiter:
    """Limits one peer on the bulk plane. The excess is dropped; the peer asks again."""

    now: float
    dropped: int = 0
    """Messages not taken, ever."""

    def __post_init__(self) -> None:
        self._all = RateLimiter(CHUNKS_PER_S, CHUNKS_AT_ONCE, self.now)
        self._asks = RateLimiter(ASKS_PER_S, ASKS_AT_ONCE, self.now)

    def take(self, asks: bool, now: float) -> bool:
        """Whether to accept a message."""
        if self._all.take(1.0, now) and (not asks or self._asks.take(1.0, now)):
            return True
        self.dropped += 1
        return False


@dataclass
class LinkLimiter:
    """Limits one peer on the control plane. The excess is dropped; gossip repeats it."""

    now: float
    dropped: int = 0
    """Messages not taken, ever."""
    _messages: RateLimiter = field(init=False)
    _bytes: RateLimiter = field(init=False)

    def __post_init__(self) -> None:
        self._messages = RateLimiter(MESSAGES_PER_S, MESSAGES_AT_ONCE, self.now)
        self._bytes = RateLimiter(BYTES_PER_S, BYTES_AT_ONCE, self.now)

    def take(self, size: int, now: float) -> bool:
        """Whether to accept a message of `size` bytes."""
        enough = self._messages.holds(1.0, now), self._bytes.holds(float(size), now)
        if not all(enough):
            self.dropped += 1
            return False
        self._messages.tokens -= 1.0
        self._bytes.tokens -= float(size)
        return True
