"""Which silos are alive, and which make progress. A slow silo is never taken for a dead one (SPEC
6.3)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from dcfm_node.records.messages import Heartbeat
from dcfm_node.swarm.effects import DISK_FULL
from dcfm_node.wire.envelope import SealedHeartbeat


@dataclass(frozen=True, slots=True)
class Pace:
    """A node's own timing, in seconds. Nodes need not agree on it.

    Attributes:
        gossip_s: between two rounds of gossip (default 1).
        term_s: how long the first term may stay without a leader (default 8).
        retry_s: first pause after the worker failed (default 10).
    """

    gossip_s: float = 1.0
    term_s: float = 8.0
    retry_s: float = 10.0

    @property
    def live_s(self) -> float:
        """A node counts as live for so long after its last heartbeat: twelve rounds of gossip."""
        return 12 * self.gossip_s


class Duty(NamedTuple):
    """A task that the run may wait for: to train an expert, to audit those of others, to distil or
    to prepare as the leader of a term, to join, to show what it accepted a preparation for, or to
    deliver the published snapshot (`expert`, `student`)."""

    silo: bytes
    task: Literal["train", "lead", "prepare", "audit", "join", "accept", "expert", "student"]
    """The last two mean to deliver what the silo published."""
    number: int
    """The round to train for, to audit or of the expert; or the term to lead, of the student or of
    what was accepted; 0 for a join."""


MAX_ACTIVITIES = 16


@dataclass(slots=True)
class Sign:
    """The newest heartbeat of one node, when it came, and when the node last showed progress
    (seconds)."""

    heartbeat: SealedHeartbeat
    heard_at: float
    moved_at: float
    full_at: float | None = None
    """When it last said that its disk is full. Each try to go on hides that for a while."""
    most: dict[tuple[str, int], int] = field(default_factory=dict)
    """By (activity, round), the most that was done. Only more than that is progress, not a fall and
    a new rise. It keeps the newest `MAX_ACTIVITIES`."""

    def progressed(self, heartbeat: Heartbeat) -> bool:
        """Whether a heartbeat shows more done than any before it, or a new activity."""
        key = (heartbeat.activity, heartbeat.round)
        if heartbeat.done <= self.most.get(key, -1):
            return False
        self.most[key] = max(heartbeat.done, self.most.pop(key, -1))
        while len(self.most) > MAX_ACTIVITIES:
            del self.most[next(iter(self.most))]
        return True


@dataclass
class Liveness:
    """Signs of life of all other nodes, relayed or direct.

    Args:
        live_s: seconds for which a node counts as live after its last heartbeat.
        stall_s: seconds without progress on a duty after which a node is suspected.
        duty_s: seconds after which a node is suspected, whatever progress it shows.
    """

    live_s: float
    stall_s: float
    duty_s: float
    started_at: float | None = None
    signs: dict[bytes, Sign] = field(default_factory=dict)
    counters: dict[bytes, int] = field(default_factory=dict)
    """Counter of each node's newest heartbeat."""
    waiting: dict[Duty, float] = field(default_factory=dict)
    """By duty, since when this node waits for it, in seconds."""

    def start(self, now: float) -> None:
        """Note the start. Silence before this node's first event does not count."""
        self.started_at = now if self.started_at is None else self.started_at

    def hear(self, sealed: SealedHeartbeat, now: float) -> bool:
        """Add a heartbeat. Returns False if it is not newer than the one held."""
        heartbeat = sealed.heartbeat
        if heartbeat.counter <= self.counters.get(heartbeat.author, -1):
            return False
        self.counters[heartbeat.author] = heartbeat.counter
        sign = self.signs.get(heartbeat.author)
        if sign is None:
            sign = self.signs[heartbeat.author] = Sign(sealed, now, now)
        if sign.progressed(heartbeat):
            sign.moved_at = now
        if heartbeat.activity == DISK_FULL:
            sign.full_at = now
        sign.heartbeat, sign.heard_at = sealed, now
        return True

    def moved(self, author: bytes, now: float) -> None:
        """Note a new record of a node: it is progress too."""
        if author in self.signs:
            self.signs[author].moved_at = now

    def wait_for(self, duty: Duty, now: float) -> None:
        """Start the clock of a duty, if it does not run yet."""
        self.waiting.setdefault(duty, now)

    def waited(self, duty: Duty, now: float) -> float:
        """Seconds for which this node has waited for a duty; 0 if it does not wait."""
        return now - self.waiting.get(duty, now)

    def await_all(self, duties: Sequence[Duty], now: float) -> None:
        """Start the clocks of all present duties. A delivery that is no longer among them is done;
        if this node waits for it again, its clock starts anew."""
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
        if duty.task == "accept":
            # A leader waits for it too, and must not be suspected itself before that is over.
            return now > since + self.stall_s / 2.0
        if duty.task in ("audit", "prepare", "join"):
            # It is short and needs nothing more, so progress elsewhere does not extend it.
            return now > since + self.stall_s
        if now > since + self.duty_s:
            return True  # a member could show progress for ever
        if duty.task in ("expert", "student"):
            return False  # chunks show whether it comes (`Holdings`)
        sign = self.signs.get(duty.silo)
        return now > max(since, sign.moved_at if sign is not None else since) + self.stall_s

    def failed(self, author: bytes, now: float) -> bool:
        """Whether a silo showed no sign of life and no progress for `stall_s`. It will not deliver
        what it published."""
        sign = self.signs.get(author)
        last = (self.started_at or 0.0) if sign is None else max(sign.heard_at, sign.moved_at)
        return not self.live(author, now) and now > last + self.stall_s
