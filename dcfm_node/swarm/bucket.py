"""A token bucket: so much at once, and so much a second."""

from dataclasses import dataclass


@dataclass
class Bucket:
    """Fills with time, at most to the brim.

    Args:
        rate: tokens per second.
        brim: the most there can be; full at first.
    """

    rate: float
    brim: float
    filled_at: float
    tokens: float = -1.0

    def __post_init__(self) -> None:
        self.tokens = self.brim

    def holds(self, amount: float, now: float) -> bool:
        """Whether so much is there, at `now` in seconds."""
        self.tokens = min(self.brim, self.tokens + self.rate * max(0.0, now - self.filled_at))
        self.filled_at = now
        return self.tokens >= amount

    def take(self, amount: float, now: float) -> bool:
        """Take so much out, if it is there."""
        if not self.holds(amount, now):
            return False
        self.tokens -= amount
        return True
