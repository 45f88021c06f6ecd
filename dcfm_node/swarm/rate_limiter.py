"""A token bucket: it bounds a rate and the size of a burst."""

from dataclasses import dataclass


@dataclass
class RateLimiter:
    """A bucket that gains tokens as time passes, up to the burst.

    Args:
        rate: tokens per second.
        burst: the most tokens that it holds; it starts full.
        filled_at: start time in seconds.
    """

    rate: float
    burst: float
    filled_at: float
    tokens: float = -1.0

    def __post_init__(self) -> None:
        self.tokens = self.burst

    def holds(self, amount: float, now: float) -> bool:
        """Whether the bucket holds `amount` tokens at `now`, in seconds."""
        self.tokens = min(self.burst, self.tokens + self.rate * max(0.0, now - self.filled_at))
        self.filled_at = now
        return self.tokens >= amount

    def take(self, amount: float, now: float) -> bool:
        """Take `amount` tokens if the bucket holds them. Returns whether it did."""
        if not self.holds(amount, now):
            return False
        self.tokens -= amount
        return True
