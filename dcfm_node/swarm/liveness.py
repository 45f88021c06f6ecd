"""Who is alive, and who still moves. Slow is never taken for dead (SPEC 6.3)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from dcfm_node.records.messages import Heartbeat
from dcfm_node.wire.envelope import SealedHeartbeat


@dataclass(frozen=True, slots=True)
class Pace:
    """A node's own timing, in seconds. None of it needs agreement.

    Attributes:
        gossip_s: between two rounds of gossip.
        term_s: how long a term may stay without a leader, at first.
        retry_s: pause after the worker failed.
    """

    gossip_s: float = 1.0
    term_s: float = 8.0
    retry_s: float = 10.0


class Duty(NamedTuple):
    """What the run may wait for: a silo's expert of a round or its audit of the others', or the
    student of a term's leader; and once one is published, its snapshot (`expert`, `student`)."""

    silo: bytes
    task: Literal["train", "lead", "audit", "expert", "student"]
    """The last two: to deliver what it published."""
    number: int
    """The round to train for, to audit or of the expert, or the term to lead or of the student."""


MAX_ACTIVITIES = 16


@dataclass(slots=True)
class Sign:
    """The newest heartbeat of one node, and when it came and last showed progress (seconds)."""

    heartbeat: SealedHeartbeat
    heard_at: float
    moved_at: float
    most: dict[tuple[str, int], int] = field(default_factory=dict)
    """By activity and round, the most that was done of it: to fall back and rise again is no
    progress. The newest `MAX_ACTIVITIES`."""

    def progressed(self, heartbeat: Heartbeat) -> bool:
        """Whether a heartbeat shows more done than any before it, or something new being done."""
        key = (heartbeat.activity, heartbeat.round)
        if heartbeat.done <= self.most.get(key, -1):
            return False
        self.most[key] = max(heartbeat.done, self.most.pop(key, -1))
        while len(self.most) > MAX_ACTIVITIES:
            del self.most[next(iter(self.most))]
        return True


@dataclass
class Liveness:
    """Signs of life of every other node, relayed or direct.

    Args:
        live_s: a node is live this long after its last heartbeat.
        stall_s: a node is suspected after this long without progress on a duty.
        duty_s: it is suspected after this long, whatever progress it shows.
    """

    live_s: float
    stall_s: float
    duty_s: float
    started_at: float | None = None
    signs: dict[bytes, Sign] = field(default_factory=dict)
    counters: dict[bytes, int] = field(default_factory=dict)
    """Counter of the newest heartbeat of every node."""
    waiting: dict[Duty, float] = field(default_factory=dict)
    """Since when this node waits for what, in seconds."""

    def start(self, now: float) -> None:
        """This node is up: silence before its first event does not count."""
        self.started_at = now if self.started_at is None else self.started_at

    def hear(self, sealed: SealedHeartbeat, now: float) -> bool:
        """Take a heartbeat in; False if it is not newer than the one held."""
        heartbeat = sealed.heartbeat
        if heartbeat.counter <= self.counters.get(heartbeat.author, -1):
            return False
        self.counters[heartbeat.author] = heartbeat.counter
        sign = self.signs.get(heartbeat.author)
        if sign is None:
            sign = self.signs[heartbeat.author] = Sign(sealed, now, now)
        if sign.progressed(heartbeat):
            sign.moved_at = now
        sign.heartbeat, sign.heard_at = sealed, now
        return True

    def moved(self, author: bytes, now: float) -> None:
        """A new record of a node is progress too."""
        if author in self.signs:
            self.signs[author].moved_at = now

    def wait_for(self, duty: Duty, now: float) -> None:
        """Start the clock of a duty, unless it runs already."""
        self.waiting.setdefault(duty, now)

    def waited(self, duty: Duty, now: float) -> float:
        """For how long, in seconds, this node waits for a duty; 0 where it does not."""
        return now - self.waiting.get(duty, now)

    def await_all(self, duties: Sequence[Duty], now: float) -> None:
        """Start the clocks of what is waited for now. Deliveries that are not, any more, are done:
        should the same be waited for again, it counts from then."""
        for duty in duties:
            self.wait_for(duty, now)
        done = [d for d in self.waiting if d.task in ("expert", "student") and d not in duties]
        for duty in done:
            del self.waiting[duty]

    def live(self, author: bytes, now: float) -> bool:
        """Whether a heartbeat came within `live_s`."""
        sign = self.signs.get(author)
        return sign is not None and now - sign.heard_at <= self.live_s

    def suspected(self, duty: Duty, now: float) -> bool:
        """Whether a silo made no progress for `stall_s` since this node began to wait for it."""
        since = self.waiting.get(duty)
        if since is None:
            return False
        if duty.task == "audit":
            # Short work on what is there already: seeming busy does not put it off.
            return now > since + self.stall_s
        if now > since + self.duty_s:
            return True  # there is no end to what a busy member can show
        if duty.task in ("expert", "student"):
            return False  # chunks tell whether it comes (`Holdings`), and not what its silo does
        sign = self.signs.get(duty.silo)
        return now > max(since, sign.moved_at if sign is not None else since) + self.stall_s

    def failed(self, author: bytes, now: float) -> bool:
        """No sign of life nor progress for `stall_s`: it will not deliver what it published."""
        sign = self.signs.get(author)
        last = (self.started_at or 0.0) if sign is None else max(sign.heard_at, sign.moved_at)
        return not self.live(author, now) and now > last + self.stall_s
