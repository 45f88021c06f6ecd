"""The simulated world: a clock, disks that survive, and nodes whose work takes time.

Everything random comes from one seeded source, so that a seed names a run exactly.
"""

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from dcfm_node.records.entries import Snapshot
from dcfm_node.simulation.faults import Fault
from dcfm_node.simulation.host import Host, done, made_up_snapshot
from dcfm_node.simulation.network import Network
from dcfm_node.simulation.scenario import Scenario, manifest
from dcfm_node.simulation.signing import HASHED, HashSigner, signers
from dcfm_node.simulation.trace import Happening
from dcfm_node.swarm.effects import (
    Cancel,
    Checkpointed,
    Distil,
    Drop,
    Durable,
    Effect,
    Event,
    Examine,
    Fetch,
    Held,
    LinkDown,
    LinkUp,
    Persist,
    PersistBeat,
    PersistFork,
    Progressed,
    Received,
    Report,
    Score,
    Send,
    Start,
    Tick,
    Train,
    Work,
    Worked,
    WorkFailed,
)
from dcfm_node.swarm.liveness import Pace
from dcfm_node.swarm.node import Node
from dcfm_node.wire.envelope import OPENER, Sealed

UNHEARD_S = 15.0
"""A link on which nothing is heard for so long is dead (SPEC 4.1.2)."""
ADOPT_S = (0.0, 2.0)
"""Between a worker's last step and the event: hashing and moving the file, which nothing stops."""


Check = Callable[["World", bytes, Sequence[Effect]], None]
"""Looks at the node of that key, which just carried these effects out."""


class World:
    """Runs a scenario. Call `run`; `hosts`, `said` and `now` are there to be inspected.

    Args:
        real: sign with Ed25519, as a real node does, instead of cheaply.
        traced: keep what happens in `trace`.
    """

    def __init__(
        self, scenario: Scenario, seed: int, *, real: bool = False, traced: bool = False
    ) -> None:
        self.scenario, self.seed = scenario, seed
        self.rng = random.Random(seed)
        self.now = 0.0
        members = signers(scenario.nodes)
        self.manifest = manifest(scenario, members)
        self.hosts = {s.key: Host(s if real else HashSigner(s.key)) for s in members}
        self.keys = tuple(self.hosts)
        self._opener = OPENER if real else HASHED
        skew_ms = 1_000 * scenario.clock_skew_s
        for host in self.hosts.values():
            host.wall_ms += int(self.rng.uniform(-skew_ms, skew_ms))
        self.network = Network(scenario, self.keys, self.rng)
        self.said: dict[bytes, Sealed] = {}
        """Every entry any honest node ever signed and persisted, by digest."""
        self.excused: set[bytes] = set()
        """Those that too few others held when their author's disk was harmed (SPEC 8.6)."""
        self.forgers: set[bytes] = set()
        """Silos whose key signed two histories."""
        self.spoilers: set[bytes] = set()
        """Silos whose students are bad."""
        self.spoilt: set[bytes] = set()
        """Digests of those, and of all that went on from one of their checkpoints."""
        self.unchecked: list[Sealed] = []
        """Those that no invariant has seen."""
        self.leaders: dict[int, bytes] = {}
        """Term, then who was ever seen to lead it."""
        self.published: Counter[str] = Counter()
        self.traps: list[Fault] = []
        """Crashes that wait for somebody to publish, and stops for somebody to finish."""
        self.spring: Callable[[bytes, Fault], None] = lambda key, trap: None
        """What a trap does to who walks into it."""
        self.late_until: dict[bytes, float] = {}
        self.trace: list[Happening] | None = [] if traced else None
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._check: Check = lambda world, key, effects: None

    # Time

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Do something at a time; ties keep their order."""
        heapq.heappush(self._queue, (when, next(self._order), what))

    def run(self, check: Check) -> None:
        """Run until everyone is done or the limit is reached, checking invariants as it goes."""
        self._check = check
        for key in self.keys:
            self.at(self.late_until.get(key, 0.0) + self.rng.uniform(0, 5), partial(self.boot, key))
        for count in itertools.count():
            if not self._queue or self._queue[0][0] > self.scenario.limit_s:
                break
            self.now, _, what = heapq.heappop(self._queue)
            what()
            if count % 64 == 0 and self.now > self.scenario.quiet_s and self.over():
                break

    def faulty(self) -> bool:
        """Whether faults may still happen."""
        return self.now < self.scenario.quiet_s

    def living(self) -> list[Host]:
        """Hosts that are up or will be again."""
        return [host for host in self.hosts.values() if not host.dead]

    def unfinished(self) -> list[bytes]:
        """Who is not up, done, and in possession of what it says is released."""
        return [key for key, host in self.hosts.items() if not host.dead and not done(host)]

    def over(self) -> bool:
        """Everyone who will ever be is done, and all hold the same journals."""
        if self.unfinished():
            return False
        nodes = [host.node for host in self.living() if host.node is not None]
        heads = [
            {key: (h.digest, h.forked) for key, h in node.exchange.journals.heads().items()}
            for node in nodes
        ]
        return all(head == heads[0] for head in heads)

    def note(self, key: bytes | None, what: str, **fields: object) -> None:
        """Keep what happened, if somebody wants to read it."""
        if self.trace is not None:
            self.trace.append(Happening(self.now, key, what, fields))

    # Hosts

    def boot(self, key: bytes) -> None:
        """Start a node from whatever its disk holds."""
        host = self.hosts[key]
        if host.node is not None or host.dead:
            return
        host.boots += 1
        host.counts = {}
        index = self.keys.index(key)
        node = Node(
            signer=host.signer,
            manifest=self.manifest,
            counts=(((index % 2, index // 2 % 2), 10),),
            distils=True,
            rng=random.Random(self.rng.getrandbits(32)),
            wall_ms=host.wall_ms,
            pace=Pace(gossip_s=self.scenario.gossip_s, term_s=8 * self.scenario.gossip_s),
            held=set(host.disk.held),
            opener=self._opener,
        )
        node.restore(host.disk.entries(), host.disk.proofs(), host.disk.epochs())
        host.node = node
        self.note(key, "boots", entries=len(host.disk.entries()))
        for other in self.network.links[key]:
            if self.hosts[other].node is not None and self.network.together(key, other):
                self.deliver(key, LinkUp(other))
                self.deliver(other, LinkUp(key))
        self._tick(key, host.boots)

    def crash(self, key: bytes, back_at: float | None) -> None:
        """Lose power: memory and work are gone; the disk is as it was."""
        host = self.hosts[key]
        if host.node is None:
            return
        self.note(key, "loses power")
        host.node, host.waiting, host.refused = None, None, []
        host.work += 1
        self.unlink(key, self.now + 1.0)
        if back_at is not None:
            self.at(back_at, partial(self.boot, key))

    def unlink(self, key: bytes, when: float) -> None:
        """Its peers will notice that it is silent."""
        for other in self.network.links[key]:
            self.at(when, partial(self._unlink, other, key))

    def _unlink(self, key: bytes, other: bytes) -> None:
        silent = self.hosts[other]
        if silent.node is None or silent.waiting is not None:
            self.deliver(key, LinkDown(other))

    def deliver(self, key: bytes, event: Event) -> None:
        """Hand an event to a node, and carry out what it answers, in order."""
        host = self.hosts[key]
        if host.node is None:
            return
        if host.waiting is not None:
            if not (host.refused and isinstance(event, Received)):  # gossip says it again
                host.waiting.append(event)
            return
        effects = host.node.handle(event, self.now)
        trap = self._sprung(key, effects)
        last = None if trap is None else round(trap.share * len(effects))
        for index, effect in enumerate(effects[:last]):
            if host.disk.full and isinstance(effect, Durable):
                self.note(key, "waits for room on its disk")
                host.refused, host.waiting = effects[index:], []
                return
            self._carry_out(key, host, effect)
        if trap is not None:
            self.spring(key, trap)
        elif effects:
            self._check(self, key, effects)

    def _sprung(self, key: bytes, effects: Sequence[Effect]) -> Fault | None:
        """The crash that waited for what is published here."""
        for effect in effects:
            if isinstance(effect, Persist) and effect.sealed.entry.author == key:
                kind = effect.sealed.entry.body.kind
                self.published[kind] += 1
                for trap in self.traps:
                    if (trap.record, trap.nth) == (kind, self.published[kind]) and self.faulty():
                        return trap
        return None

    def stop(self, key: bytes, until: float) -> None:
        """A machine stands still; its peers notice after a while."""
        host = self.hosts[key]
        if host.node is not None and host.waiting is None:
            host.waiting = []
            self.unlink(key, self.now + UNHEARD_S)
            self.at(until, partial(self._resume, key))

    def _tick(self, key: bytes, boot: int) -> None:
        host = self.hosts[key]
        if host.node is None or host.boots != boot or host.waiting is not None:
            return
        if self.now >= host.node.deadline:
            self.deliver(key, Tick())
        if host.node is not None:
            when = max(host.node.deadline, self.now + 0.05)
            self.at(when, partial(self._tick, key, boot))

    def room(self, key: bytes) -> None:
        """The disk takes what it refused."""
        host = self.hosts[key]
        host.disk.full = False
        effects, host.refused = host.refused, []
        for effect in effects:
            self._carry_out(key, host, effect)
        if effects:
            self._check(self, key, effects)
            self._resume(key)

    def _resume(self, key: bytes) -> None:
        """A machine that stood still goes on: it finds everything that came at once."""
        host = self.hosts[key]
        missed, host.waiting = host.waiting, None
        if host.node is None or missed is None:
            return
        for event in missed:
            self.deliver(key, event)
        for other in self.network.links[key]:
            if self.hosts[other].node is not None and self.network.together(key, other):
                self.deliver(key, LinkUp(other))
                self.deliver(other, LinkUp(key))
        self._tick(key, host.boots)

    # Effects

    def _carry_out(self, key: bytes, host: Host, effect: Effect) -> None:
        match effect:
            case Send():
                slowness = host.slowness * self.hosts[effect.peer].slowness
                for delay in self.network.delays(self.faulty()):
                    self.at(self.now + slowness * delay, partial(self._arrive, key, effect))
            case Persist() | PersistFork() | PersistBeat():
                host.disk.persist(effect, self.now)
                if isinstance(effect, Persist):
                    self._say(key, effect.sealed)
            case Start(work):
                self._start(key, host, work)
            case Cancel():
                host.work += 1
            case Drop(digest):
                host.disk.held.pop(digest, None)
            case Fetch(snapshot):
                self.at(self.now, partial(self._fetch, key, snapshot.digest))
            case Report(event, fields, _):
                self.note(key, event, **fields)

    def _say(self, key: bytes, sealed: Sealed) -> None:
        if sealed.entry.author == key and sealed.digest not in self.said:
            self.said[sealed.digest] = sealed
            self.unchecked.append(sealed)

    def _arrive(self, sender: bytes, send: Send) -> None:
        if self.network.passes(sender, send.peer):
            self.deliver(send.peer, Received(sender, send.message))

    def _fetch(self, key: bytes, digest: bytes) -> None:
        """A download: some linked, reachable, running host must hold it; else ask again."""
        host = self.hosts[key]
        if host.node is None or digest not in host.node.fetching:
            return
        if host.waiting is None and not host.disk.full and self._served(key, digest):
            host.disk.held[digest] = self.now
            self.deliver(key, Held(digest))
        else:
            self.at(self.now + 3.0, partial(self._fetch, key, digest))

    def _served(self, key: bytes, digest: bytes) -> bool:
        others = ((other, self.hosts[other]) for other in self.network.links[key])
        return any(
            host.node is not None
            and host.waiting is None
            and digest in host.disk.held
            and self.network.reaches(key, other)
            for other, host in others
        )

    def _start(self, key: bytes, host: Host, work: Work) -> None:
        host.work += 1
        number, seconds = host.work, host.slowness * self.rng.uniform(*self.scenario.work_s)
        for share in range(1, 10):
            when = self.now + seconds * share / 10
            self.at(when, partial(self._progress, key, number, work, share))
        self.at(self.now + seconds, partial(self._finish, key, number, work))

    def _progress(self, key: bytes, number: int, work: Work, share: int) -> None:
        host = self.hosts[key]
        if host.work != number:
            return
        self.deliver(key, Progressed(share, 10))
        checkpoints = self.manifest.method.name == "dcfm" and share in (3, 6)
        if isinstance(work, Distil) and checkpoints and host.work == number:
            self.deliver(key, Checkpointed(work, self._made(key, work, share), share))

    def _finish(self, key: bytes, number: int, work: Work) -> None:
        host = self.hosts[key]
        if host.work != number or host.node is None:
            return
        ready = self.now + self.rng.uniform(*ADOPT_S)
        if isinstance(work, Distil):
            self.published["distil"] += 1
            for trap in self.traps:
                if (trap.record, trap.nth) == ("distil", self.published["distil"]):
                    self.note(key, "fault", why=str(trap))
                    self.stop(key, self.now + (trap.until or 0.0))
                    ready += trap.until or 0.0
        self.at(ready, partial(self._adopt, key, host.boots, work))

    def _adopt(self, key: bytes, boot: int, work: Work) -> None:
        """The work's outcome, if the process lives: a cancel comes too late now."""
        host = self.hosts[key]
        if host.node is None or host.boots != boot:
            return
        if isinstance(work, Score):
            bad = (work.snapshot in self.spoilt) is not (key in self.spoilers)
            loss = 2 * self.manifest.policy.endorse_ratio if bad else 1.0
            self.deliver(key, Worked(work, None, {"holdout_loss": loss, "reference_loss": 1.0}))
        elif isinstance(work, Examine):
            peers = [author for author, _, _ in work.experts if author != key]
            scores = {author: {"joint": 0.0, "composed": 0.0} for author in peers}
            self.deliver(key, Worked(work, None, {}, scores))
        elif host.disk.full:
            self.deliver(key, WorkFailed(work, "no space left on device"))
        else:
            snapshot = self._made(key, work)
            round_ = work.round if isinstance(work, Train) else 0
            figures = {"ci_gap": 1.0 / (1 + round_), "holdout_loss": 1.0}
            self.deliver(key, Worked(work, snapshot, figures))

    def _made(self, key: bytes, work: Work, share: int | None = None) -> Snapshot:
        host = self.hosts[key]
        snapshot = made_up_snapshot(f"{key.hex()}{host.boots}{work}{share or ''}")
        host.disk.held[snapshot.digest] = self.now
        if isinstance(work, Distil) and (key in self.spoilers or work.resume in self.spoilt):
            self.spoilt.add(snapshot.digest)
        return snapshot
