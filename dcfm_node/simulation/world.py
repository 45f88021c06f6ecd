"""The simulated world: nodes whose work takes time, and disks that survive.

Everything random comes from one seeded source, so that a seed names a run exactly.
"""

import itertools
import random
from collections.abc import Callable, Sequence
from functools import partial

from dcfm_node.simulation.clock import Clock
from dcfm_node.simulation.faults import Fault
from dcfm_node.simulation.history import History
from dcfm_node.simulation.host import Host, done
from dcfm_node.simulation.labour import Labour
from dcfm_node.simulation.ledger import Ledger
from dcfm_node.simulation.liars import LyingWriter
from dcfm_node.simulation.network import Network
from dcfm_node.simulation.reached import Reached
from dcfm_node.simulation.scenario import Scenario, manifest
from dcfm_node.simulation.signing import HASHED, HashSigner, signers
from dcfm_node.swarm.effects import (
    Cancel,
    Drop,
    Durable,
    Effect,
    Event,
    Fetch,
    Held,
    LinkDown,
    LinkUp,
    Persist,
    PersistFork,
    PersistHeartbeat,
    Received,
    Report,
    Send,
    Start,
    Tick,
)
from dcfm_node.swarm.liveness import Pace
from dcfm_node.swarm.node import Node
from dcfm_node.wire.envelope import OPENER

UNHEARD_S = 15.0
"""A link on which nothing is heard for so long is dead (SPEC 4.1.2)."""
QUOTA = 10_000
"""No snapshot of a simulated run is larger, in bytes."""

Check = Callable[["World", bytes, Sequence[Effect]], None]
"""Looks at the node of that key, which just carried these effects out."""


class World:
    """Runs a scenario. Call `run`; `hosts`, `history` and `clock` are there to be inspected.

    Args:
        real: sign with Ed25519, as a real node does, instead of cheaply.
        traced: keep what happens in `history.trace`.
    """

    def __init__(
        self, scenario: Scenario, seed: int, *, real: bool = False, traced: bool = False
    ) -> None:
        self.scenario, self.seed = scenario, seed
        self.rng = random.Random(seed)
        self.clock = Clock()
        self.history = History(self.clock, traced=traced)
        members = signers(scenario.nodes)
        self.manifest = manifest(scenario, members)
        self.hosts = {s.key: Host(s if real else HashSigner(s.key)) for s in members}
        self.keys = tuple(self.hosts)
        self._opener = OPENER if real else HASHED
        skew_ms = 1_000 * scenario.clock_skew_s
        for host in self.hosts.values():
            host.wall_ms += int(self.rng.uniform(-skew_ms, skew_ms))
        self.network = Network(scenario, self.keys, self.rng)
        self.ledger = Ledger()
        self.reached = Reached()
        self.cause: Event | None = None
        """What the node that is checked just handled."""
        self.labour = Labour(self)
        self.traps: list[Fault] = []
        """Crashes that wait for somebody to publish, and stops for somebody to finish."""
        self.spring: Callable[[bytes, Fault], None] = lambda key, trap: None
        """What a trap does to who walks into it."""
        self.late_until: dict[bytes, float] = {}
        self._check: Check = lambda world, key, effects: None

    def run(self, check: Check, watch: Callable[["World"], None] = lambda world: None) -> None:
        """Run until everyone is done or the limit is reached, checking invariants as it goes.

        Args:
            watch: looks at all of it now and then, once faults have stopped.
        """
        self._check = check
        for key in self.keys:
            self.clock.at(
                self.late_until.get(key, 0.0) + self.rng.uniform(0, 5), partial(self.boot, key)
            )
        for count in itertools.count():
            if not self.clock.step(self.scenario.limit_s):
                break
            if count % 64 == 0 and self.clock.now > self.scenario.quiet_s:
                if self.over():
                    break
                watch(self)

    def faulty(self) -> bool:
        """Whether faults may still happen."""
        return self.clock.now < self.scenario.quiet_s

    def core(self) -> dict[bytes, Host]:
        """Hosts that are up or will be again, and honest and sound: those must come to an end."""
        out = self.history.outside
        return {k: host for k, host in self.hosts.items() if not host.dead and k not in out}

    def living(self) -> list[Host]:
        """The same, without their keys."""
        return list(self.core().values())

    def unfinished(self) -> list[bytes]:
        """Who is not up, done, and in possession of what it says is released."""
        return [key for key, host in self.core().items() if not done(host)]

    def over(self) -> bool:
        """Everyone who will ever be is done, and all hold the same journals."""
        if self.unfinished():
            return False
        nodes = [host.node for host in self.living() if host.node is not None]
        heads = [
            {key: (h.digest, h.forked) for key, h in node.replica.journals.heads().items()}
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
            quota=QUOTA,
            opener=self._opener,
        )
        if self.history.byzantine.get(key) == "lies as a leader":
            node.writer = LyingWriter(host.signer, node.exchange)
        node.restore(host.disk.entries(), host.disk.proofs(), host.disk.epochs())
        host.node = node
        self.history.note(key, "boots", entries=len(host.disk.entries()))
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
        self.history.note(key, "loses power")
        host.node, host.waiting, host.refused = None, None, []
        host.work += 1
        self.unlink(key, self.clock.now + 1.0)
        if back_at is not None:
            self.clock.at(back_at, partial(self.boot, key))

    def unlink(self, key: bytes, when: float) -> None:
        """Its peers will notice that it is silent."""
        for other in self.network.links[key]:
            self.clock.at(when, partial(self._unlink, other, key))

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
        effects = host.node.handle(event, self.clock.now)
        self.cause = event
        trap = self._sprung(key, effects)
        last = None if trap is None else round(trap.share * len(effects))
        for index, effect in enumerate(effects[:last]):
            if host.disk.full and isinstance(effect, Durable):
                self.history.note(key, "waits for room on its disk")
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
                self.history.published[kind] += 1
                for trap in self.traps:
                    if (trap.record, trap.nth) == (
                        kind,
                        self.history.published[kind],
                    ) and self.faulty():
                        return trap
        return None

    def stop(self, key: bytes, until: float) -> None:
        """A machine stands still; its peers notice after a while."""
        host = self.hosts[key]
        if host.node is not None and host.waiting is None:
            host.waiting = []
            self.unlink(key, self.clock.now + UNHEARD_S)
            self.clock.at(until, partial(self._resume, key))

    def _tick(self, key: bytes, boot: int) -> None:
        host = self.hosts[key]
        if host.node is None or host.boots != boot or host.waiting is not None:
            return
        if self.clock.now >= host.node.deadline:
            self.deliver(key, Tick())
        if host.node is not None:
            when = max(host.node.deadline, self.clock.now + 0.05)
            self.clock.at(when, partial(self._tick, key, boot))

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
                    self.clock.at(
                        self.clock.now + slowness * delay, partial(self._arrive, key, effect)
                    )
            case Persist() | PersistFork() | PersistHeartbeat():
                host.disk.persist(effect, self.clock.now)
                if isinstance(effect, Persist):
                    self.history.say(key, effect.sealed)
            case Start(work):
                self.labour.start(key, host, work)
            case Cancel():
                host.work += 1
            case Drop(digest):
                host.disk.held.pop(digest, None)
            case Fetch(snapshot):
                self.clock.at(self.clock.now, partial(self._fetch, key, snapshot.digest))
            case Report(event, fields, _):
                self.history.note(key, event, **fields)

    def _arrive(self, sender: bytes, send: Send) -> None:
        if self.network.passes(sender, send.peer):
            self.deliver(send.peer, Received(sender, send.message))

    def _fetch(self, key: bytes, digest: bytes) -> None:
        """A download: some linked, reachable, running host must hold it; else ask again."""
        host = self.hosts[key]
        if host.node is None or digest not in host.node.fetching:
            return
        if host.waiting is None and not host.disk.full and self._served(key, digest):
            host.disk.held[digest] = self.clock.now
            self.deliver(key, Held(digest))
        else:
            self.clock.at(self.clock.now + 3.0, partial(self._fetch, key, digest))

    def _served(self, key: bytes, digest: bytes) -> bool:
        others = ((other, self.hosts[other]) for other in self.network.links[key])
        return digest in self.history.offered or any(
            host.node is not None
            and host.waiting is None
            and digest in host.disk.held
            and self.network.reaches(key, other)
            for other, host in others
        )
