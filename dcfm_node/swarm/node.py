"""One node of the swarm: events in, effects out (SPEC 4 to 7).

`handle` accepts every event that peers and the worker can cause. It reads no clock and no global
random source, so the daemon and the simulator run the same code.
"""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dcfm_node import __version__
from dcfm_node.errors import writable
from dcfm_node.records.base import MAX_REASON
from dcfm_node.records.entries import (
    Body,
    Expert,
    Join,
    Label,
    Snapshot,
    Withdraw,
)
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.moments import Moments
from dcfm_node.swarm.activity import WAITS_FOR_DISK, Activity, present
from dcfm_node.swarm.effects import (
    Cancel,
    Carried,
    Checkpointed,
    DiskRefuses,
    Distil,
    Downloading,
    Drain,
    Drop,
    Effect,
    Event,
    Foreign,
    Gone,
    Held,
    Leave,
    LinkDown,
    LinkUp,
    Misbehaved,
    Persist,
    Received,
    Report,
    Start,
    Unfit,
    Waiting,
    Work,
    Worked,
    WorkFailed,
    WorkProgressed,
)
from dcfm_node.swarm.election import Booth, Stand
from dcfm_node.swarm.exchange import Exchange
from dcfm_node.swarm.failing import Failing, failed, set_aside
from dcfm_node.swarm.holdings import Holdings
from dcfm_node.swarm.journal import Proofs
from dcfm_node.swarm.liveness import Duty, Liveness, Pace
from dcfm_node.swarm.needs import spent
from dcfm_node.swarm.outcome import in_vain, outcome_of, still_true
from dcfm_node.swarm.plan import Step, duties, next_step
from dcfm_node.swarm.plan_input import PlanInput
from dcfm_node.swarm.verdicts import given_up, on_claims, on_unfit, once, owed
from dcfm_node.swarm.wanted import sizes_within, wanted, within
from dcfm_node.swarm.writer import Writer
from dcfm_node.wire.envelope import OPENER, Opener, Sealed, SealedHeartbeat, Signs, run_id

MAX_MOVES_PER_EVENT = 8
"""Votes and leases that one event may trigger. An honest run never reaches this bound."""


@dataclass
class Node:
    """The whole state machine of one silo's node.

    Args:
        signer: this node's key.
        counts: how often its silo holds each combination, published in its `join`.
        moments: of its training samples, published there too; None keeps them to itself.
        distils: whether it may be elected.
        wall_ms: the wall clock in Unix milliseconds when `now` is 0; for information only.
        opener: verifies what others sign.
        quota: most bytes of a snapshot of this run; None if unknown.
        inherited: this silo's expert of the run that this one continues, published for round 0.
    """

    signer: Signs
    manifest: Manifest
    counts: tuple[tuple[Label, int], ...]
    distils: bool
    rng: random.Random
    wall_ms: int
    pace: Pace = field(default_factory=Pace)
    held: set[bytes] = field(default_factory=set)
    opener: Opener = OPENER
    quota: int | None = None
    inherited: Expert | None = None
    moments: Moments | None = None

    def __post_init__(self) -> None:
        self.me = self.signer.key
        self.run = run_id(self.manifest)
        policy = self.manifest.policy
        liveness = Liveness(self.pace.live_s, policy.stall_s, policy.duty_s)
        self.exchange = Exchange.create(self.manifest, self.me, liveness, self.opener)
        self.replica = self.exchange.replica
        self.writer = Writer(self.signer, self.exchange)
        self.holdings = Holdings(self.held, policy.stall_s, policy.duty_s)
        self.step: Step | None = None
        self.work: Work | None = None
        self.failing: Failing | None = None
        self.progress = (0, 0)
        self.draining = False
        self.disk_refuses = False
        self._not_before = 0
        self._stand: Stand | None = None
        self._retry_at = 0.0
        self._gossip_at = 0.0
        self._linked_at: float | None = None

    def set_pace(self, pace: Pace) -> None:
        """Use another timing from now on."""
        self.pace = pace
        self.exchange.liveness.live_s = pace.live_s

    def restore(
        self, entries: Iterable[Sealed], forks: Proofs, heartbeats: Iterable[SealedHeartbeat] = ()
    ) -> None:
        """Add what the store kept. Call it before the first event."""
        self.exchange.restore(entries, forks, heartbeats)

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Handle one event. Returns the effects in the order in which to carry them out."""
        self.exchange.liveness.start(now)
        effects = self._hear(event, now)
        if now >= self._gossip_at:
            self._gossip_at = now + self.pace.gossip_s * self.rng.uniform(0.8, 1.2)
            self._heartbeat()
            effects += self.exchange.round_of_gossip(self.rng)
        told = not isinstance(event, Received) or any(isinstance(e, Persist) for e in effects)
        if told or not self.exchange.recovery.writable:
            effects += self._write(now)
            effects += self._advance(now)
        return effects

    def while_disk_refuses(self) -> list[Effect]:
        """A sign of life of a node that waits for its disk: of no entry that is not on it."""
        if not self.exchange.recovery.writable:
            return []
        self._tell(WAITS_FOR_DISK)
        return self.exchange.show_life()

    @property
    def deadline(self) -> float:
        """When the next `Tick` is due, in seconds."""
        return self._gossip_at

    @property
    def fetching(self) -> Mapping[bytes, Snapshot]:
        """Snapshots that are requested and not yet held, by digest."""
        return self.holdings.fetching

    @property
    def unsaid(self) -> tuple[Body, ...]:
        """Records that wait to be published."""
        return tuple(self.writer.pending)

    def _hear(self, event: Event, now: float) -> list[Effect]:
        match event:
            case Received():
                return self.exchange.hear(event.peer, event.message, now)
            case Foreign():
                return self.exchange.hear_foreign(event)
            case LinkUp() | LinkDown() | Carried():
                return self._on_link(event, now)
            case Held() | Gone() | DiskRefuses():
                self._on_disk(event, now)
            case Unfit() | Misbehaved():
                self._on_offence(event)
            case WorkProgressed():
                self.progress = (event.done, event.total)
            case Downloading():
                self.holdings.moved(now)
                if self.work is None:
                    over = event.done == event.total  # the next one has nothing yet
                    self.progress = (0, 0) if over else (event.done, event.total)
            case Worked() | Checkpointed():
                return self._on_worked(event)
            case WorkFailed():
                return self._on_failed(event, now)
            case Leave():
                self.writer.later([Withdraw(reason=writable(event.reason)[:MAX_REASON])])
            case Drain():
                self.draining = True
        return []  # a Tick carries only the time

    def _on_link(self, event: LinkUp | LinkDown | Carried, now: float) -> list[Effect]:
        peer = self.exchange.peers.get(event.peer)
        if peer is None:
            return []
        if isinstance(event, Carried):
            self.exchange.recovery.hear_bundle(event.peer, event.head)
        else:
            peer.linked = isinstance(event, LinkUp)
        if isinstance(event, LinkDown):
            return []
        self._linked_at = now if self._linked_at is None else self._linked_at
        if isinstance(event, Carried):
            self._gossip_at = 0.0
            return []
        if self.exchange.own_heartbeat is None:
            self._heartbeat()
        return self.exchange.greet(event.peer, now)

    def _on_disk(self, event: Held | Gone | DiskRefuses, now: float) -> None:
        if isinstance(event, DiskRefuses):
            self.disk_refuses = event.refuses
        elif isinstance(event, Held):
            self.holdings.arrived(event.digest, now)
        else:
            self.holdings.gone(event.digest)

    def _on_offence(self, event: Unfit | Misbehaved) -> None:
        view = self.replica.view
        if isinstance(event, Misbehaved):
            if event.peer in self.exchange.peers:
                self.writer.later(once(view, self.me, event.peer, event.cause, event.reason))
            return
        if event.entry is None:
            self.holdings.refuse(event.digest)
        self.writer.later(on_unfit(view, event))

    def _on_worked(self, event: Worked | Checkpointed) -> list[Effect]:
        if isinstance(event, Worked) and event.work == self.work:
            # Else it was cancelled while its snapshot was stored.
            self.work, self.progress, self.failing = None, (0, 0), None
        bodies, snapshot = outcome_of(event, self.manifest), event.snapshot
        if snapshot is not None and snapshot.digest not in self.held:
            if not all(still_true(body, self.replica.view, self.me) for body in bodies):
                return [Drop(snapshot.digest)]
            self.held.add(snapshot.digest)
        self.writer.later(bodies)
        return []

    def _on_failed(self, event: WorkFailed, now: float) -> list[Effect]:
        self.failing = failed(self.failing, event.work, event.reason)
        self.work, self._retry_at = None, now + self.failing.pause(self.pace.retry_s)
        self.writer.later(set_aside(self.failing))
        if isinstance(event.work, Distil) and event.work.resume is not None:
            # Its author may have damaged it on purpose: the student starts anew without it.
            self.holdings.refuse(event.work.resume)
        work, times = type(event.work).__name__, self.failing.times
        return [Report("work_failed", {"work": work, "times": times, "why": event.reason}, "error")]

    def _write(self, now: float) -> list[Effect]:
        """Publish the waiting records, once this node may write."""
        exchange = self.exchange
        effects = [] if exchange.recovery.writable else self._recover(now)
        if not self._may_write():
            return effects
        if self.me not in self.replica.view.joins:
            name, counts, moments = self.manifest.silo_name(self.me), self.counts, self.moments
            join = Join(
                name=name, distils=self.distils, version=__version__, counts=counts, moments=moments
            )
            effects += self.writer.publish(join, self._wall(now))
        self.writer.later(owed(self.replica.view, self.me, self.quota, exchange.malformed))
        if self.manifest.policy.participation == "strict":
            live = self.exchange.liveness.live
            self.writer.later(
                given_up(
                    self.replica.view,
                    self.me,
                    lost=lambda digest: self.holdings.lost(digest, now),
                    live=lambda key: live(key, now),
                )
            )
        return effects + self.writer.flush(self._wall(now))

    def _wall(self, now: float) -> int:
        return self.wall_ms + int(now * 1_000)

    def _recover(self, now: float) -> list[Effect]:
        """Find where this node's journal ends, then let peers store its new epoch."""
        exchange, recovery, pause = self.exchange, self.exchange.recovery, self.pace.term_s
        waited = -1.0 if self._linked_at is None else now - self._linked_at
        if not exchange.own_journal_known(waited, pause):
            return []
        if begun := recovery.begin(self.replica.journals, exchange.own_count):
            self._heartbeat()
        if recovery.acknowledged(exchange.linked(), settled=waited >= pause):
            recovery.writable = True
            self.writer.later(on_claims(self.replica.view, self.me, exchange.ahead()))
            self._not_before = self.replica.view.last_term() + 1  # a lost disk may have held votes
        return exchange.recovered(begun=begun)

    def _advance(self, now: float) -> list[Effect]:
        """Decide the next step, and turn it into effects."""
        effects: list[Effect] = []
        for _ in range(MAX_MOVES_PER_EVENT):
            plan_input = self.plan_input(now)
            step = next_step(plan_input)
            self.exchange.liveness.await_all(duties(plan_input, step.phase), now)
            action = step.action
            may_say = self._may_write() and not self.writer.full
            if isinstance(action, Work | Waiting) or not may_say:
                break
            effects += self.writer.publish(action, self._wall(now))
        wants = within(self.quota, wanted(plan_input), plan_input.view)
        effects += self.holdings.seek(wants, now, sizes_within(self.quota, wants, plan_input.view))
        checkpoints = self.held & plan_input.view.checkpointed.keys()
        effects += self.holdings.drop(checkpoints - wants.keys())
        if self.step is None or step.phase != self.step.phase:
            fields = {"stage": step.phase.stage, "round": step.phase.round}
            effects.append(Report("phase", fields))
            effects += self.holdings.drop(spent(plan_input, step, self.work))
        self.step = step
        effects += self._work(step, now)
        return effects

    def _may_write(self) -> bool:
        return self.exchange.recovery.writable and not self.exchange.usurped

    def plan_input(self, now: float) -> PlanInput:
        """Everything that the next decision depends on."""
        view, liveness = self.replica.view, self.exchange.liveness

        def suspected(duty: Duty) -> bool:
            return duty.silo != self.me and liveness.suspected(duty, now)

        booth = Booth(
            run=self.run,
            me=self.me,
            candidates=lambda: [key for key in view.active() if self._can_lead(key, now)],
            quorate=lambda: self._quorate(now),
            suspected=suspected,
            stand=self._standing,
            timeout=self.pace.term_s,
            not_before=self._not_before,
            now=now,
        )
        return PlanInput(
            view=view,
            me=self.me,
            held=self.held,
            suspected=suspected,
            failed=lambda key: key != self.me and liveness.failed(key, now),
            lost=lambda digest: self.holdings.lost(digest, now),
            undelivered=lambda d: self.holdings.undelivered(liveness.waited(d, now), now),
            booth=booth,
            work=self.work,
            led_for=lambda term: liveness.waited(Duty(self.me, "lead", term), now),
            inherited=self.inherited,
        )

    def _standing(self, round_: int, ruled: int) -> Stand:
        if self._stand is None or (self._stand.round, self._stand.ruled) != (round_, ruled):
            self._stand = Stand(round_, ruled)
        return self._stand

    def _quorate(self, now: float) -> bool:
        live = sum(self.exchange.liveness.live(key, now) for key in self.exchange.peers)
        return live + 1 >= self.manifest.quorum

    def _can_lead(self, key: bytes, now: float) -> bool:
        if key == self.me:
            return self._ready()
        liveness = self.exchange.liveness
        sign = liveness.signs.get(key)
        return sign is not None and sign.heartbeat.heartbeat.ready and liveness.live(key, now)

    def _ready(self) -> bool:
        able = self.distils and not self.draining and not self.writer.full
        return able and not self._gave_up(Distil) and self._may_write()

    def _gave_up(self, kind: type) -> bool:
        return self.failing is not None and self.failing.hopeless(kind)

    def _work(self, step: Step, now: float) -> list[Effect]:
        """Keep the worker on the step's work, as long as it is useful."""
        asked = step.action if isinstance(step.action, Work) else None
        effects: list[Effect] = []
        if self.work is not None and in_vain(self.work, asked, self.replica.view, self.me):
            self.work, self.progress = None, (0, 0)
            effects.append(Cancel())
        idle = self.work is None and not self.writer.pending and not self.draining
        if asked is not None and idle and now >= self._retry_at:
            self.work, self.progress = asked, (0, 0)
            effects.append(Start(asked))
        return effects

    def _heartbeat(self) -> None:
        fetching = bool(self.fetching)
        self._tell(
            present(self.work, self.progress, disk_refuses=self.disk_refuses, fetching=fetching)
        )

    def _tell(self, activity: Activity) -> None:
        self.exchange.heartbeat(self.signer, activity, ready=self._ready())
