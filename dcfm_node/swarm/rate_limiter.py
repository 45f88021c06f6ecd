"""A token bucket: it bounds a rate, and how much may come at once."""

from dataclasses import dataclass


@dataclass
class RateLimiter:
    """Gains tokens as time passes, up to the burst.

    Args:
        rate: tokens per second.
        burst: the most tokens there can be; it starts with so many.
        filled_at: when it starts, in seconds.
    """

    rate: float
    burst: float
    filled_at: float
    tokens: float = -1.0

    def __post_init__(self) -> None:
        self.tokens = self.burst

    def holds(self, amount: float, now: float) -> bool:
        """Whether there are so many tokens at `now`, in seconds."""
        self.tokens = min(self.burst, self.tokens + self.rate * max(0.0, now - self.filled_at))
        self.filled_at = now
        return self.tokens >= amount

    def take(self, amount: float, now: float) -> bool:
        """Take so many tokens, if they are there. Returns whether they were."""
        if not self.holds(amount, now):
            return False
        self.tokens -= amount
        return True
