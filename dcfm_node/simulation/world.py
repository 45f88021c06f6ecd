"""The simulated world: a clock, a lossy network, disks, and nodes whose work takes time.

Everything random comes from one seeded source, so that a seed names a run exactly.
"""

import hashlib
import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from dcfm_node.records.entries import Snapshot
from dcfm_node.records.manifest import (
    Attribute,
    Manifest,
    Method,
    Policy,
    Silo,
    Training,
)
from dcfm_node.swarm.effects import (
    Cancel,
    Effect,
    Event,
    Fetch,
    Held,
    LinkDown,
    LinkUp,
    Persist,
    PersistFork,
    Progressed,
    Received,
    Score,
    Send,
    Start,
    Tick,
    Train,
    Unfetch,
    Work,
    Worked,
)
from dcfm_node.swarm.node import Node, Pace
from dcfm_node.wire.envelope import Sealed, Signer


@dataclass(frozen=True)
class Scenario:
    """What befalls a simulated run. Times in seconds of the fake clock.

    Attributes:
        loss: share of messages lost.
        delay_s: shortest and longest delay of a message; unequal delays reorder.
        duplicate: share of messages delivered twice.
        degree: peers a node has links with; None for all.
        partition_s: when the network splits in two, and when it heals.
        crashes: how many times some node loses power, at random instants before `quiet_s`.
        down_s: how long it then stays away.
        quiet_s: faults stop; what is true afterwards must become known to everyone.
        limit_s: the run must be over by then.
    """

    nodes: int = 7
    schedule: str = "alternating"
    participation: str = "strict"
    rounds: int = 2
    loss: float = 0.0
    delay_s: tuple[float, float] = (0.01, 0.2)
    duplicate: float = 0.0
    degree: int | None = None
    partition_s: tuple[float, float] | None = None
    crashes: int = 0
    down_s: tuple[float, float] = (5.0, 60.0)
    work_s: tuple[float, float] = (10.0, 60.0)
    stall_s: float = 90.0
    gossip_s: float = 2.0
    quiet_s: float = 600.0
    limit_s: float = 7_200.0


@dataclass
class Disk:
    """What survives a crash: journal entries, proofs of forks, snapshots."""

    chains: dict[bytes, list[Sealed]] = field(default_factory=dict)
    forks: list[tuple[bytes, bytes]] = field(default_factory=list)
    held: set[bytes] = field(default_factory=set)

    def persist(self, sealed: Sealed) -> None:
        chain = self.chains.setdefault(sealed.entry.author, [])
        del chain[sealed.entry.seq :]
        chain.append(sealed)

    def entries(self) -> list[bytes]:
        return [sealed.envelope for chain in self.chains.values() for sealed in chain]


@dataclass
class Host:
    """One machine: a disk, and a node process while it is up."""

    signer: Signer
    disk: Disk = field(default_factory=Disk)
    node: Node | None = None
    boots: int = 0
    work: int = 0
    """Number of the present work; timers of earlier ones find it changed."""


Check = Callable[["World"], None]


class World:
    """Runs a scenario. Call `run`; `hosts`, `said` and `now` are there to be inspected."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario, self.seed = scenario, seed
        self.rng = random.Random(seed)
        self.now = 0.0
        signers = [Signer.from_seed(_seed_bytes(index)) for index in range(scenario.nodes)]
        self.manifest = manifest(scenario, signers)
        self.hosts = {signer.key: Host(signer) for signer in signers}
        self.said: list[Sealed] = []
        """Every entry any honest node ever signed and persisted, in the order of signing."""
        self.links = self._links()
        self.groups: tuple[frozenset[bytes], ...] = (frozenset(self.hosts),)
        self.messages = 0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._schedule_faults()

    # Time

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Do something at a time; ties keep their order."""
        heapq.heappush(self._queue, (when, next(self._order), what))

    def run(self, check: Check, *, every: int = 1) -> None:
        """Run until everyone is done or the limit is reached, checking invariants as it goes."""
        for key in self.hosts:
            self.at(self.rng.uniform(0, 5), partial(self.boot, key))
        for count in itertools.count():
            if not self._queue or self._queue[0][0] > self.scenario.limit_s:
                break
            self.now, _, what = heapq.heappop(self._queue)
            what()
            if count % every == 0:
                check(self)
            if self.now > self.scenario.quiet_s and count % 64 == 0 and self.over():
                break

    def over(self) -> bool:
        """Every node is up, says so, and holds what it says is released."""
        for host in self.hosts.values():
            if host.node is None or host.node.step is None:
                return False
            latest = host.node.exchange.view.latest()
            if host.node.step.phase.stage != "done" or latest is None:
                return False
            if latest.body.snapshot.digest not in host.node.held or host.node.work is not None:
                return False
        heads = {
            tuple(host.node.exchange.journals.head(key).seq for key in self.hosts)
            for host in self.hosts.values()
            if host.node is not None
        }
        return len(heads) == 1

    # Hosts

    def boot(self, key: bytes) -> None:
        """Start a node from whatever its disk holds."""
        host = self.hosts[key]
        if host.node is not None:
            return
        host.boots += 1
        index = list(self.hosts).index(key)
        node = Node(
            signer=host.signer,
            manifest=self.manifest,
            counts=(((index % 2, index // 2 % 2), 10),),
            distils=True,
            rng=random.Random(self.rng.getrandbits(32)),
            wall_ms=0,
            pace=Pace(gossip_s=self.scenario.gossip_s, term_s=6 * self.scenario.gossip_s),
            held=set(host.disk.held),
        )
        node.restore(host.disk.entries(), host.disk.forks)
        host.node = node
        for other in self.links[key]:
            if self.hosts[other].node is not None and self._together(key, other):
                self.deliver(key, LinkUp(other))
                self.deliver(other, LinkUp(key))
        self._tick(key, host.boots)

    def crash(self, key: bytes) -> None:
        """Lose power: memory and work are gone, the disk stays."""
        host = self.hosts[key]
        if host.node is None:
            return
        host.node = None
        host.work += 1
        for other in self.links[key]:
            self.at(self.now + 1.0, partial(self.deliver, other, LinkDown(key)))
        self.at(self.now + self.rng.uniform(*self.scenario.down_s), lambda: self.boot(key))

    def deliver(self, key: bytes, event: Event) -> None:
        """Hand an event to a node, and carry out what it answers, in order."""
        host = self.hosts[key]
        if host.node is None:
            return
        for effect in host.node.handle(event, self.now):
            self._carry_out(key, host, effect)

    def _tick(self, key: bytes, boot: int) -> None:
        host = self.hosts[key]
        if host.node is None or host.boots != boot:
            return
        if self.now >= host.node.deadline:
            self.deliver(key, Tick())
        self.at(max(host.node.deadline, self.now + 0.05), lambda: self._tick(key, boot))

    def _carry_out(self, key: bytes, host: Host, effect: Effect) -> None:
        match effect:
            case Persist(sealed):
                host.disk.persist(sealed)
                if sealed.entry.author == key:
                    self.said.append(sealed)
            case PersistFork(first, second):
                host.disk.forks.append((first.envelope, second.envelope))
            case Send():
                self._send(key, effect)
            case Start(work):
                self._start(key, host, work)
            case Cancel():
                host.work += 1
            case Fetch(snapshot):
                self._fetch(key, snapshot.digest)
            case Unfetch():
                pass

    # Network

    def _send(self, sender: bytes, send: Send) -> None:
        self.messages += 1
        copies = 1 + (self.rng.random() < self.scenario.duplicate)
        for _ in range(copies):
            if self._faulty() and self.rng.random() < self.scenario.loss:
                continue
            delay = self.rng.uniform(*self.scenario.delay_s)
            self.at(self.now + delay, lambda: self._arrive(sender, send))

    def _arrive(self, sender: bytes, send: Send) -> None:
        if self._together(sender, send.peer):
            self.deliver(send.peer, Received(sender, send.message))

    def _together(self, a: bytes, b: bytes) -> bool:
        return any(a in group and b in group for group in self.groups)

    def _faulty(self) -> bool:
        return self.now < self.scenario.quiet_s

    def _fetch(self, key: bytes, digest: bytes) -> None:
        """A download: some linked, reachable, living host must hold it; else ask again."""
        host = self.hosts[key]
        if host.node is None or digest not in host.node.fetching:
            return
        holders = [
            other
            for other in self.links[key]
            if self.hosts[other].node is not None
            and digest in self.hosts[other].disk.held
            and self._together(key, other)
        ]
        if holders:
            host.disk.held.add(digest)
            self.deliver(key, Held(digest))
        else:
            self.at(self.now + 3.0, lambda: self._fetch(key, digest))

    # Work

    def _start(self, key: bytes, host: Host, work: Work) -> None:
        host.work += 1
        number, seconds = host.work, self.rng.uniform(*self.scenario.work_s)
        for share in range(1, 10):
            when = self.now + seconds * share / 10
            self.at(when, partial(self._progress, key, number, share))
        self.at(self.now + seconds, lambda: self._finish(key, number, work))

    def _progress(self, key: bytes, number: int, share: int) -> None:
        if self.hosts[key].work == number:
            self.deliver(key, Progressed(share, 10))

    def _finish(self, key: bytes, number: int, work: Work) -> None:
        host = self.hosts[key]
        if host.work != number or host.node is None:
            return
        if isinstance(work, Score):
            self.deliver(key, Worked(work, None, {"holdout_loss": 1.0, "reference_loss": 1.0}))
            return
        snapshot = made_up_snapshot(f"{key.hex()}{work}")
        host.disk.held.add(snapshot.digest)
        round_ = work.round if isinstance(work, Train) else 0
        gap = {"ci_gap": 1.0 / (1 + round_), "holdout_loss": 1.0}
        self.deliver(key, Worked(work, snapshot, gap))

    # Faults

    def _links(self) -> dict[bytes, list[bytes]]:
        """Who may talk to whom: everyone, or a ring with random chords, always connected."""
        keys = list(self.hosts)
        degree = self.scenario.degree
        if degree is None or degree >= len(keys) - 1:
            return {key: [other for other in keys if other != key] for key in keys}
        pairs = {frozenset((keys[i], keys[i - 1])) for i in range(len(keys))}
        while len(pairs) * 2 < degree * len(keys):
            pairs.add(frozenset(self.rng.sample(keys, 2)))
        return {key: [o for o in keys if o != key and frozenset((key, o)) in pairs] for key in keys}

    def _schedule_faults(self) -> None:
        for _ in range(self.scenario.crashes):
            key = self.rng.choice(list(self.hosts))
            when = self.rng.uniform(1, self.scenario.quiet_s)
            self.at(when, partial(self.crash, key))
        if self.scenario.partition_s is not None:
            start, end = self.scenario.partition_s
            self.at(start, self._split)
            self.at(end, self._heal)

    def _split(self) -> None:
        keys = self.rng.sample(list(self.hosts), len(self.hosts))
        cut = self.rng.randint(1, len(keys) - 1)
        self.groups = (frozenset(keys[:cut]), frozenset(keys[cut:]))
        self._relink(up=False)

    def _heal(self) -> None:
        before, self.groups = self.groups, (frozenset(self.hosts),)
        self._relink(up=True, across=before)

    def _relink(self, *, up: bool, across: tuple[frozenset[bytes], ...] | None = None) -> None:
        groups = across or self.groups
        for key in self.hosts:
            for other in self.links[key]:
                if not any(key in group and other in group for group in groups):
                    self.deliver(key, LinkUp(other) if up else LinkDown(other))


def manifest(scenario: Scenario, signers: list[Signer]) -> Manifest:
    """A small run for as many silos as there are signers."""
    stage = Training(steps=10)
    roster = sorted(
        (Silo(name=f"silo-{index:04d}", key=signer.key) for index, signer in enumerate(signers)),
        key=lambda silo: silo.name,
    )
    method = Method.model_validate(
        {"schedule": scenario.schedule, "max_rounds": scenario.rounds}
        | {"local": stage, "refine": stage, "distil": stage}
    )
    policy = Policy.model_validate(
        {"participation": scenario.participation, "stall_s": scenario.stall_s}
    )
    return Manifest(
        name="simulated",
        sample_shape=(2,),
        attributes=(
            Attribute(name="horizontal", values=("left", "right")),
            Attribute(name="vertical", values=("bottom", "top")),
        ),
        method=method,
        policy=policy,
        roster=tuple(roster),
    )


def made_up_snapshot(name: str) -> Snapshot:
    """A snapshot that exists in name only."""
    digest = hashlib.sha256(name.encode()).digest()
    return Snapshot(digest=digest, size=1_000, chunks=hashlib.sha256(digest).digest())


def _seed_bytes(index: int) -> bytes:
    return hashlib.sha256(f"simulated node {index}".encode()).digest()
