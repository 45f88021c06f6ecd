"""Simulated workers: work takes time, and its result depends on the kind of its node."""

import random
from dataclasses import replace
from functools import partial
from typing import Protocol

from dcfm_node.records.entries import Snapshot
from dcfm_node.records.manifest import Manifest
from dcfm_node.simulation.clock import Clock
from dcfm_node.simulation.faults import Fault
from dcfm_node.simulation.history import History
from dcfm_node.simulation.host import Host, fits, made_up_snapshot
from dcfm_node.simulation.scenario import Scenario
from dcfm_node.swarm.effects import (
    AuditExperts,
    Checkpointed,
    Distil,
    Event,
    Score,
    Train,
    Work,
    Worked,
    WorkFailed,
    WorkProgressed,
)

ADOPT_S = (0.0, 2.0)
"""Seconds between a worker's last step and the event: nothing stops the hashing and moving of the
file."""
BUSY_S = 5.0
"""Seconds between two signs of progress of a member that never finishes anything."""


class Around(Protocol):
    """The part of the world that workers need."""

    clock: Clock
    history: History
    rng: random.Random
    scenario: Scenario
    manifest: Manifest
    hosts: dict[bytes, Host]
    traps: list[Fault]

    def deliver(self, key: bytes, event: Event) -> None: ...

    def stop(self, key: bytes, until: float) -> None: ...


class Labour:
    """The workers of all hosts."""

    def __init__(self, world: Around) -> None:
        self._world = world

    def start(self, key: bytes, host: Host, work: Work) -> None:
        """Start a piece of work. Earlier work has no result."""
        world = self._world
        host.work += 1
        if world.history.byzantine.get(key) == "is busy for ever":
            self._seem_busy(key, host.work, 1)
            return
        number, seconds = host.work, host.slowness * world.rng.uniform(*world.scenario.work_s)
        for share in range(1, 10):
            when = world.clock.now + seconds * share / 10
            world.clock.at(when, partial(self._progress, key, number, work, share))
        world.clock.at(world.clock.now + seconds, partial(self._finish, key, number, work))

    def _seem_busy(self, key: bytes, number: int, done: int) -> None:
        """Report one step, none, one, and so on: heartbeats differ, but nothing is published."""
        world = self._world
        if world.hosts[key].work == number and world.clock.now < world.scenario.limit_s:
            world.deliver(key, WorkProgressed(done, 10))
            again = partial(self._seem_busy, key, number, 1 - done)
            world.clock.at(world.clock.now + BUSY_S, again)

    def _progress(self, key: bytes, number: int, work: Work, share: int) -> None:
        world, host = self._world, self._world.hosts[key]
        if host.work != number:
            return
        world.deliver(key, WorkProgressed(share, 10))
        checkpoints = world.manifest.method.checkpoint_steps > 0 and share in (3, 6)
        if isinstance(work, Distil) and checkpoints and host.work == number:
            world.deliver(key, Checkpointed(work, self._made(key, work, share), share))

    def _finish(self, key: bytes, number: int, work: Work) -> None:
        world, host = self._world, self._world.hosts[key]
        if host.work != number or host.node is None:
            return
        ready = world.clock.now + world.rng.uniform(*ADOPT_S)
        if isinstance(work, Distil):
            world.history.published["distil"] += 1
            for trap in world.traps:
                if (trap.record, trap.nth) == ("distil", world.history.published["distil"]):
                    world.history.note(key, "fault", why=str(trap))
                    world.stop(key, world.clock.now + (trap.until or 0.0))
                    ready += trap.until or 0.0
        world.clock.at(ready, partial(self._adopt, key, host.boots, work))

    def _adopt(self, key: bytes, boot: int, work: Work) -> None:
        """Deliver the result of the work if the process is up. A cancel comes too late now."""
        world, host = self._world, self._world.hosts[key]
        if host.node is None or host.boots != boot:
            return
        joins = host.node.replica.view.joins
        if not all(author in joins and fits(joins[author], world.manifest) for author in _of(work)):
            world.deliver(key, WorkFailed(work, "the label counts of a silo fit no run"))
        elif isinstance(work, Score):
            bad = (work.snapshot in world.history.spoilt) is not (key in world.history.spoilers)
            loss = 2 * world.manifest.policy.endorse_ratio if bad else 1.0
            world.deliver(key, Worked(work, None, {"holdout_loss": loss, "reference_loss": 1.0}))
        elif isinstance(work, AuditExperts):
            peers = [author for author, _, _ in work.experts if author != key]
            scores = {author: {"joint": 0.0, "composed": 0.0} for author in peers}
            world.deliver(key, Worked(work, None, {}, scores))
        elif host.disk.full:
            world.deliver(key, WorkFailed(work, "no space left on device"))
        else:
            snapshot = self._made(key, work)
            round_ = work.round if isinstance(work, Train) else 0
            figures = {"ci_gap": 1.0 / (1 + round_), "holdout_loss": 1.0}
            told = self._told(key, work, snapshot)
            world.deliver(key, Worked(told, snapshot, figures))

    def _told(self, key: bytes, work: Work, snapshot: Snapshot) -> Work:
        """The work as the student's record will state it. A liar states one teacher, nobody
        missing, and the end, whatever the round."""
        world = self._world
        if world.history.byzantine.get(key) != "lies as a leader" or not isinstance(work, Distil):
            return work
        lie = replace(work, teachers=work.teachers[:1], missing=(), final=True)
        if lie != work:
            world.history.lies.add(snapshot.digest)
        return lie

    def _made(self, key: bytes, work: Work, share: int | None = None) -> Snapshot:
        world, host = self._world, self._world.hosts[key]
        snapshot = made_up_snapshot(f"{key.hex()}{host.boots}{work}{share or ''}")
        host.disk.held[snapshot.digest] = world.clock.now
        spoilt = isinstance(work, Distil) and work.resume in world.history.spoilt
        if isinstance(work, Distil) and (key in world.history.spoilers or spoilt):
            world.history.spoilt.add(snapshot.digest)
        return snapshot


def _of(work: Work) -> list[bytes]:
    """Silos whose label counts a worker reads."""
    match work:
        case Train(peers=peers):
            return [author for author, _ in peers]
        case Distil(teachers=teachers):
            return [author for author, _, _ in teachers]
        case AuditExperts(experts=experts):
            return [author for author, _, _ in experts]
    return []
