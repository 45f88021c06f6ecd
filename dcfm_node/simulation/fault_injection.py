"""Carries out faults in a world. A new kind of fault needs a case here and a line in `faults`."""

from collections.abc import Iterable
from functools import partial

from dcfm_node.records.entries import Entry, Vote
from dcfm_node.records.messages import Entries
from dcfm_node.simulation.byzantine import fatten, misjoin
from dcfm_node.simulation.faults import BYZANTINE, Fault
from dcfm_node.simulation.world import World
from dcfm_node.swarm.effects import Leave, LinkDown, LinkUp, Received
from dcfm_node.wire.envelope import run_id, seal_entry

ALL_UP_S = 10.0
"""Seconds after which every node that is not late has started."""
AT_ONCE = ("slow", "comes late", "spoils students", "lies as a leader", "is busy for ever")
"""Faults that exist from the beginning."""


def schedule(world: World, faults: Iterable[Fault]) -> None:
    """Schedule faults in a world before it runs."""
    world.spring = partial(_spring, world)
    for fault in faults:
        match fault.kind:
            case "crash amid publishing" | "disk lost amid publishing" | "stopped amid finishing":
                world.traps.append(fault)
            case "comes late":
                world.late_until[world.keys[fault.silos[0]]] = fault.until or 0.0
            case "slow":
                world.hosts[world.keys[fault.silos[0]]].slowness = fault.amount
            case "spoils students":
                world.history.spoilers.add(world.keys[fault.silos[0]])
            case "lies as a leader" | "is busy for ever":
                world.history.byzantine[world.keys[fault.silos[0]]] = fault.kind
            case _:
                world.clock.at(fault.at, partial(_befall, world, fault))
        if fault.kind in BYZANTINE:
            world.history.outside.add(world.keys[fault.silos[0]])
            world.ledger.open(world.keys[fault.silos[0]])
        if fault.kind in AT_ONCE:
            world.history.note(None, "fault", why=str(fault))


def _befall(world: World, fault: Fault) -> None:
    world.history.note(None, "fault", why=str(fault))
    until = fault.until if fault.until is not None else world.clock.now
    if fault.kind in ("split", "one way"):
        _cut(world, fault)
        world.clock.at(until, partial(_heal, world))
        return
    key = world.keys[fault.silos[0]]
    host = world.hosts[key]
    match fault.kind:
        case "crash":
            world.crash(key, until)
        case "disk lost" | "disk put back from a backup" | "journals damaged" | "snapshots damaged":
            world.crash(key, until)
            _harm(world, key, fault)
        case "disk full":
            host.disk.full = True
            world.clock.at(until, partial(world.room, key))
        case "stopped":
            world.stop(key, until)
        case "clock stepped":
            host.wall_ms = max(0, host.wall_ms + int(1_000 * fault.amount))
            if host.node is not None:
                host.node.wall_ms = host.wall_ms
        case "withdraws":
            _leave(world, key)
        case "breaks for good":
            _break(world, key, fault.record)
        case _:
            _end(world, key, fault)


def _end(world: World, key: bytes, fault: Fault) -> None:
    """End a silo's node. From now on a byzantine program uses its key."""
    world.hosts[key].dead = True
    if fault.kind == "key signs two histories":
        _equivocate(world, key)
    world.crash(key, None)
    if fault.kind == "writes a fat journal":
        fatten(world, key, fault.record)
    elif fault.kind == "joins with counts of no run":
        world.clock.at(world.clock.now + ALL_UP_S, partial(misjoin, world, key, fault.record))


def _spring(world: World, key: bytes, trap: Fault) -> None:
    world.history.note(key, "fault", why=str(trap))
    world.crash(key, world.clock.now + (trap.until or 0.0))
    if trap.kind == "disk lost amid publishing":
        _harm(world, key, trap)


def _harm(world: World, key: bytes, fault: Fault) -> None:
    """Harm a disk. Records that too few others hold may be lost for good (SPEC 8.6)."""
    host = world.hosts[key]
    full = host.disk.full
    match fault.kind:
        case "disk lost" | "disk lost amid publishing":
            host.disk = type(host.disk)()
        case "disk put back from a backup":
            host.disk = host.disk.as_of(world.clock.now - fault.amount)
        case "journals damaged":
            host.disk = host.disk.without_journals()
        case _:
            host.disk = host.disk.without_some_snapshots(world.rng)
    host.disk.full = full
    others = [other.disk for other in world.living() if other is not host]
    enough = len(world.hosts) - world.manifest.quorum
    for digest, sealed in world.history.said.items():
        lost = sealed.entry.author == key and digest not in host.disk.stored
        if lost and sum(digest in disk.stored for disk in others) < enough:
            world.history.excused.add(digest)


def _leave(world: World, key: bytes) -> None:
    if world.hosts[key].node is None:  # its machine is down: the operator tries again later
        world.clock.at(world.clock.now + 5.0, partial(_leave, world, key))
    else:
        world.deliver(key, Leave("leaves the simulation"))


def _break(world: World, key: bytes, how: str) -> None:
    """Break a silo for good. Nothing depends on it any more."""
    host = world.hosts[key]
    world.history.outside.add(key)
    match how:
        case "has lost power":
            host.dead = True
            world.crash(key, None)
        case "stands still":
            world.stop(key, world.scenario.limit_s + 1.0)
        case _:
            world.network.lose(key, hears=how == "only hears")
            for other in world.network.links[key]:
                world.deliver(other, LinkDown(key))
                if how == "is cut off":
                    world.deliver(key, LinkDown(other))


def _cut(world: World, fault: Fault) -> None:
    world.network.split([world.keys[i] for i in fault.silos], one_way=fault.kind == "one way")
    for key, other in world.network.severed():
        world.deliver(key, LinkDown(other))


def _heal(world: World) -> None:
    severed = world.network.severed()
    world.network.heal()
    for key, other in severed:
        if world.hosts[other].node is not None:
            world.deliver(key, LinkUp(other))


def _equivocate(world: World, key: bytes) -> None:
    """Sign two votes under one number, and send one to each half of the silos."""
    host = world.hosts[key]
    chain = host.disk.chains.get(key, [])
    run = run_id(world.manifest)
    world.history.equivocators.add(key)
    others = [other for other in world.keys if other != key]
    sealed = [
        seal_entry(
            Entry(
                run=run,
                author=key,
                epoch=chain[-1].entry.epoch if chain else 0,
                seq=len(chain),
                prev=chain[-1].digest if chain else run,
                time_ms=0,
                body=Vote(term=1, round=0, candidate=candidate),
            ),
            host.signer,
        )
        for candidate in (others[0], others[-1])
    ]
    for index, other in enumerate(others):
        told = tuple(s.envelope for s in (*chain, sealed[index % 2]))
        message = Entries(run=run, entries=told, beats=())
        world.clock.at(world.clock.now + 0.1, partial(world.deliver, other, Received(key, message)))
