"""The simulated world: a clock, disks that survive, and nodes whose work takes time.

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
from dcfm_node.simulation.network import Network
from dcfm_node.simulation.scenario import Scenario, manifest, signers
from dcfm_node.swarm.effects import (
    Cancel,
    Checkpointed,
    Distil,
    Drop,
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
    Work,
    Worked,
)
from dcfm_node.swarm.node import Node, Pace
from dcfm_node.wire.envelope import Sealed, Signer


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
    dead: bool = False
    """It will not come back."""
    boots: int = 0
    work: int = 0
    """Number of the present work; timers of earlier ones find it changed."""


Check = Callable[["World", bytes], None]
"""Looks at the node of that key, whose journals have just changed."""


class World:
    """Runs a scenario. Call `run`; `hosts`, `said` and `now` are there to be inspected."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario, self.seed = scenario, seed
        self.rng = random.Random(seed)
        self.now = 0.0
        members = signers(scenario.nodes)
        self.manifest = manifest(scenario, members)
        self.hosts = {signer.key: Host(signer) for signer in members}
        self.network = Network(scenario, list(self.hosts), self.rng)
        self.said: dict[bytes, Sealed] = {}
        """Every entry any honest node ever signed and persisted, by digest."""
        self.unchecked: list[Sealed] = []
        """Those that no invariant has seen."""
        self.leaders: dict[int, bytes] = {}
        """Term, then who was ever seen to lead it."""
        self.crash_on_left = scenario.crash_on_limit
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._check: Check = lambda world, key: None

    # Time

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Do something at a time; ties keep their order."""
        heapq.heappush(self._queue, (when, next(self._order), what))

    def run(self, check: Check) -> None:
        """Run until everyone is done or the limit is reached, checking invariants as it goes."""
        self._check = check
        for key in self.hosts:
            late = self.scenario.late_s if key == list(self.hosts)[-1] else 0.0
            self.at(late + self.rng.uniform(0, 5), partial(self.boot, key))
        for count in itertools.count():
            if not self._queue or self._queue[0][0] > self.scenario.limit_s:
                break
            self.now, _, what = heapq.heappop(self._queue)
            what()
            if count % 64 == 0 and self.now > self.scenario.quiet_s and self.over():
                break

    def living(self) -> list[Host]:
        """Hosts that are up or will be again."""
        return [host for host in self.hosts.values() if not host.dead]

    def over(self) -> bool:
        """Every node that will ever be is up, says so, and holds what it says is released."""
        nodes = [host.node for host in self.living() if host.node is not None]
        if len(nodes) < len(self.living()):
            return False
        for node in nodes:
            latest = node.exchange.view.latest()
            if node.step is None or node.step.phase.stage != "done" or latest is None:
                return False
            if latest.body.snapshot.digest not in node.held or node.work is not None:
                return False
        heads = [
            {key: head.digest for key, head in node.exchange.journals.heads().items()}
            for node in nodes
        ]
        return all(head == heads[0] for head in heads)

    # Hosts

    def boot(self, key: bytes) -> None:
        """Start a node from whatever its disk holds."""
        host = self.hosts[key]
        if host.node is not None or host.dead:
            return
        host.boots += 1
        if not host.disk.chains:
            self._forget_unheard(key)
        index = list(self.hosts).index(key)
        node = Node(
            signer=host.signer,
            manifest=self.manifest,
            counts=(((index % 2, index // 2 % 2), 10),),
            distils=True,
            rng=random.Random(self.rng.getrandbits(32)),
            wall_ms=0,
            pace=Pace(gossip_s=self.scenario.gossip_s, term_s=8 * self.scenario.gossip_s),
            held=set(host.disk.held),
        )
        node.restore(host.disk.entries(), host.disk.forks)
        host.node = node
        for other in self.network.links[key]:
            if self.hosts[other].node is not None and self.network.together(key, other):
                self.deliver(key, LinkUp(other))
                self.deliver(other, LinkUp(key))
        self._tick(key, host.boots)

    def _forget_unheard(self, key: bytes) -> None:
        """What only a lost disk held was never said to anyone."""
        disks = [other.disk.chains.get(key, []) for other in self.hosts.values()]
        heard = {sealed.digest for chain in disks for sealed in chain}
        for sealed in [e for e in self.said.values() if e.entry.author == key]:
            if sealed.digest not in heard:
                del self.said[sealed.digest]

    def crash(self, key: bytes, *, disk_too: bool = False, for_good: bool = False) -> None:
        """Lose power: memory and work are gone; the disk stays unless it is lost as well."""
        host = self.hosts[key]
        if host.node is None:
            return
        host.node = None
        host.work += 1
        host.disk = Disk() if disk_too else host.disk
        host.dead = for_good
        for other in self.network.links[key]:
            self.at(self.now + 1.0, partial(self._unlink, other, key))
        self.at(self.now + self.rng.uniform(*self.scenario.down_s), partial(self.boot, key))

    def _unlink(self, key: bytes, other: bytes) -> None:
        if self.hosts[other].node is None:
            self.deliver(key, LinkDown(other))

    def deliver(self, key: bytes, event: Event) -> None:
        """Hand an event to a node, and carry out what it answers, in order."""
        host = self.hosts[key]
        if host.node is None:
            return
        effects = host.node.handle(event, self.now)
        last = self._last_effect(effects)
        changed = False
        for effect in effects[:last]:
            self._carry_out(key, host, effect)
            changed = changed or isinstance(effect, Persist | PersistFork)
        if last is not None:
            self.crash(key)
        elif changed:
            self._check(self, key)

    def _last_effect(self, effects: list[Effect]) -> int | None:
        """Where power fails among these effects; None where it holds."""
        kinds = {e.sealed.entry.body.kind for e in effects if isinstance(e, Persist)}
        feared = kinds.intersection(self.scenario.crash_on)
        if not feared or not self.crash_on_left or not self.faulty() or self.rng.random() < 0.5:
            return None
        self.crash_on_left -= 1
        return self.rng.randint(0, len(effects))

    def _tick(self, key: bytes, boot: int) -> None:
        host = self.hosts[key]
        if host.node is None or host.boots != boot:
            return
        if self.now >= host.node.deadline:
            self.deliver(key, Tick())
        if host.node is not None:
            when = max(host.node.deadline, self.now + 0.05)
            self.at(when, partial(self._tick, key, boot))

    def _carry_out(self, key: bytes, host: Host, effect: Effect) -> None:
        match effect:
            case Send():
                for delay in self.network.delays(self.faulty()):
                    self.at(self.now + delay, partial(self._arrive, key, effect))
            case Persist(sealed):
                host.disk.persist(sealed)
                if sealed.entry.author == key and sealed.digest not in self.said:
                    self.said[sealed.digest] = sealed
                    self.unchecked.append(sealed)
            case PersistFork(first, second):
                host.disk.forks.append((first.envelope, second.envelope))
            case Start(work):
                self._start(key, host, work)
            case Cancel():
                host.work += 1
            case Drop(digest):
                host.disk.held.discard(digest)
            case Fetch(snapshot):
                self.at(self.now, partial(self._fetch, key, snapshot.digest))

    # Network

    def faulty(self) -> bool:
        """Whether faults may still happen."""
        return self.now < self.scenario.quiet_s

    def _arrive(self, sender: bytes, send: Send) -> None:
        if self.network.passes(sender, send.peer):
            self.deliver(send.peer, Received(sender, send.message))

    def _fetch(self, key: bytes, digest: bytes) -> None:
        """A download: some linked, reachable, living host must hold it; else ask again."""
        host = self.hosts[key]
        if host.node is None or digest not in host.node.fetching:
            return
        holders = [
            other
            for other in self.network.links[key]
            if self.hosts[other].node is not None
            and digest in self.hosts[other].disk.held
            and self.network.together(key, other)
        ]
        if holders:
            host.disk.held.add(digest)
            self.deliver(key, Held(digest))
        else:
            self.at(self.now + 3.0, partial(self._fetch, key, digest))

    def cut(self, *, one_way: bool = False) -> None:
        """Split the network; links between the halves go down, or pass messages one way only."""
        self.network.split(one_way=one_way)
        if not one_way:
            for key, other in self.network.severed():
                self.deliver(key, LinkDown(other))

    def heal(self) -> None:
        """Make the network whole; the links that were cut come up again."""
        severed = self.network.severed()
        self.network.heal()
        for key, other in severed:
            if self.hosts[other].node is not None:
                self.deliver(key, LinkUp(other))

    # Work

    def _start(self, key: bytes, host: Host, work: Work) -> None:
        host.work += 1
        number, seconds = host.work, self.rng.uniform(*self.scenario.work_s)
        for share in range(1, 10):
            when = self.now + seconds * share / 10
            self.at(when, partial(self._progress, key, number, work, share))
        self.at(self.now + seconds, partial(self._finish, key, number, work))

    def _progress(self, key: bytes, number: int, work: Work, share: int) -> None:
        host = self.hosts[key]
        if host.work != number:
            return
        self.deliver(key, Progressed(share, 10))
        if isinstance(work, Distil) and share in (3, 6) and host.work == number:
            snapshot = made_up_snapshot(f"{key.hex()}{host.boots}{work}{share}")
            host.disk.held.add(snapshot.digest)
            self.deliver(key, Checkpointed(work, snapshot, share))

    def _finish(self, key: bytes, number: int, work: Work) -> None:
        host = self.hosts[key]
        if host.work != number or host.node is None:
            return
        if isinstance(work, Score):
            self.deliver(key, Worked(work, None, {"holdout_loss": 1.0, "reference_loss": 1.0}))
            return
        snapshot = made_up_snapshot(f"{key.hex()}{host.boots}{work}")
        host.disk.held.add(snapshot.digest)
        round_ = work.round if isinstance(work, Train) else 0
        gap = {"ci_gap": 1.0 / (1 + round_), "holdout_loss": 1.0}
        self.deliver(key, Worked(work, snapshot, gap))


def made_up_snapshot(name: str) -> Snapshot:
    """A snapshot that exists in name only."""
    digest = hashlib.sha256(name.encode()).digest()
    return Snapshot(digest=digest, size=1_000)
