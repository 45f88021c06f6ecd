"""What the swarm fails on half-way: the node goes on without it, and never tells of what it did not
keep (SPEC 3.5.6). Defects are made for the purpose; see `broken`."""

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from dcfm_node.api.problems import Code
from dcfm_node.daemon.aside import Aside
from dcfm_node.daemon.handling import Handling
from dcfm_node.records.entries import Body, Endorse, Join, Lease, Verdict, Withdraw
from dcfm_node.records.messages import Entries, Sync
from dcfm_node.swarm.effects import (
    Checkpointed,
    Distil,
    Downloading,
    Event,
    Foreign,
    LinkUp,
    Received,
    Tick,
    Train,
    Worked,
    WorkProgressed,
)
from dcfm_node.swarm.exchange import Exchange
from dcfm_node.swarm.node import Node
from dcfm_node.swarm.recovery import Recovery
from dcfm_node.swarm.view import View
from tests.unit.daemon.rig import RUN, Rig, rigged
from tests.unit.swarm.builders import Author, Run, expert, join, snapshot, vote
from tests.unit.swarm.nodes import empty, told


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with rigged(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def silos() -> list[Author]:
    return [Author(author.signer, RUN.id, author.name) for author in RUN.authors]


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect: a record is in its journal when what is made of it raises."""
    on_folded = Exchange._on_folded

    def defect(self, peer, sealed, outcome, now):
        if sealed.entry.body == POISON:
            raise KeyError("no such thing")
        return on_folded(self, peer, sealed, outcome, now)

    monkeypatch.setattr(Exchange, "_on_folded", defect)


POISON = Withdraw(reason="poison")


def heard(peer: Author, *said: bytes) -> Received:
    return Received(peer.key, Entries(run=RUN.id, entries=said, beats=()))


async def begin(rig: Rig) -> None:
    """Links stand, and the node may write."""
    await rig.take(*(LinkUp(key) for key in RUN.keys[1:]))
    await recover(rig)


async def recover(rig: Rig) -> None:
    for _ in range(2):
        node = rig.node
        head, epoch = node.replica.journals.head(node.me), max(0, node.exchange.recovery.epoch)
        await rig.take(*(told(RUN, peer, head, epoch=epoch) for peer in (1, 2)), seconds=4.0)
    assert rig.node.exchange.recovery.writable


def kept(rig: Rig) -> list[tuple[bytes, str]]:
    entries = rig.journals.load(RUN.id)[0]
    return sorted((e.author, e.body.kind) for e in (sealed.entry for sealed in entries))


@pytest.mark.usefixtures("broken")
def test_who_wrote_what_the_node_fails_on_is_set_aside_and_nobody_else(
    rig: Rig, silos: list[Author]
) -> None:
    first = silos[1].say(join("silo-0001")).envelope
    bad, worse = silos[1].say(POISON).envelope, silos[1].say(POISON).envelope
    good = silos[2].say(join("silo-0002")).envelope

    async def story() -> None:
        await begin(rig)
        await rig.take(heard(silos[2], first, bad, good))  # an honest peer passes all of it on
        await recover(rig)
        await rig.take(heard(silos[2], good, first, bad, worse))
        await rig.take(heard(silos[2], worse), heard(silos[1], bad), seconds=8.0)

    boots = counted(rig)
    asyncio.run(story())
    node = rig.node
    assert kept(rig) == sorted(
        [(RUN.keys[0], "join"), (RUN.keys[1], "join"), (RUN.keys[2], "join")]
    )
    held = {key: len(chain) for key, chain in node.replica.journals.chains.items()}
    assert held == dict.fromkeys(RUN.keys, 1)
    assert next(boots) == 2  # found out once, and never met again
    assert any("handling Received of silo-0002" in told_ for told_ in rig.told)
    (dropped,) = (p for p in rig.status().problems if p.code is Code.EVENT_DROPPED)
    assert dropped.subject == "silo-0001"


def counted(rig: Rig) -> "itertools.count[int]":
    """Gives, when asked, how often the node was begun anew."""
    times = itertools.count()
    restored: Callable = rig.daemon.restoring.restored

    def again(said):
        next(times)
        return restored(said)

    rig.daemon.restoring.restored = again  # type: ignore[method-assign]
    return times


@pytest.mark.usefixtures("broken")
def test_what_was_folded_in_and_not_kept_is_told_to_nobody(rig: Rig, silos: list[Author]) -> None:
    first, bad = silos[1].join(), silos[1].say(POISON)
    both = heard(silos[1], first.envelope, bad.envelope)
    asked = Sync(run=RUN.id, version="", heads={}, beats={}, reply=True)

    async def story() -> None:
        await begin(rig)
        await rig.take(both, Received(silos[2].key, asked), seconds=4.0)

    asyncio.run(story())
    messages = [message for _, message in rig.network.sent]
    heads = [m.heads[silos[1].key] for m in messages if isinstance(m, Sync)]
    assert {head.seq for head in heads} == {-1, 0}
    assert not any(bad.envelope in m.entries for m in messages if isinstance(m, Entries))


def test_a_message_that_is_no_record_sets_its_sender_aside(
    rig: Rig, silos: list[Author], monkeypatch: pytest.MonkeyPatch
) -> None:
    hear = Recovery.hear

    def defect(self, peer, sync):
        if sync.version == "poison":
            raise IndexError
        hear(self, peer, sync)

    monkeypatch.setattr(Recovery, "hear", defect)
    bad = Sync(run=RUN.id, version="poison", heads={}, beats={}, reply=True)

    async def story() -> None:
        await begin(rig)
        for _ in range(5):
            await rig.take(Received(silos[1].key, bad), seconds=1.0)
        await rig.take(heard(silos[2], silos[1].say(join("silo-0001")).envelope))
        await rig.take(heard(silos[2], silos[2].say(join("silo-0002")).envelope))

    boots = counted(rig)
    asyncio.run(story())
    assert next(boots) == 2
    assert (RUN.keys[2], "join") in kept(rig)


def test_what_the_machine_lacks_is_blamed_on_nobody(
    rig: Rig, silos: list[Author], monkeypatch: pytest.MonkeyPatch
) -> None:
    add, short = View.add, iter([True, True])

    def defect(self, sealed):
        if sealed.entry.author == silos[1].key and next(short, False):
            raise MemoryError
        add(self, sealed)

    monkeypatch.setattr(View, "add", defect)
    said = silos[1].say(join("silo-0001")).envelope

    async def story() -> None:
        await begin(rig)
        for _ in range(3):
            await rig.take(heard(silos[1], said))
        await recover(rig)

    asyncio.run(story())
    assert (RUN.keys[1], "join") in kept(rig)
    assert any("MemoryError" in told_ for told_ in rig.told)


def test_a_defect_that_no_message_brings_is_waited_out(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance, defects = Node._advance, iter(range(4))

    def defect(self, now):
        if next(defects, None) is not None:
            raise ZeroDivisionError
        return advance(self, now)

    async def story() -> None:
        monkeypatch.setattr(Node, "_advance", defect)
        await rig.take(Tick(), seconds=20.0)
        await begin(rig)

    asyncio.run(story())
    assert rig.node.step is not None
    assert any("handling Tick failed" in told_ for told_ in rig.told)


MOST: dict[str, int] = {"2^53": 2**53, "2^63": 2**63, "2^64-1": 2**64 - 1, "0": 0, "-1": -1}


@pytest.mark.parametrize("number", MOST.values(), ids=MOST)
def test_no_number_of_the_worker_or_the_network_ends_a_node_later(rig: Rig, number: int) -> None:
    """What no record or heartbeat can bear is told; what one can is borne."""
    lease = b"l" * 32
    taught = (RUN.keys[1], lease, lease)
    distil = Distil(round=0, term=1, lease=lease, teachers=(taught,), missing=(), final=False)
    events: list[Event] = [
        WorkProgressed(number, number),
        Downloading(number, number),
        Checkpointed(distil, snapshot("checkpoint"), number),
        Worked(Train("local", 0), snapshot("mine"), {"holdout_loss": float(number)}),
        Foreign(RUN.keys[1], number, ""),
    ]

    async def story() -> None:
        await begin(rig)
        for event in events:
            await rig.take(event, seconds=8.0)
        await recover(rig)

    asyncio.run(story())
    failed = [told_ for told_ in rig.told if "failed" in told_]
    assert bool(failed) == (not 0 <= number <= 2**53)
    assert all("ValidationError" in told_ for told_ in failed)


def bodies(run: Run) -> list[Body]:
    """Records whose numbers are the greatest that SPEC 3.6 lets through."""
    made = expert(10_000, "last").model_copy(
        update={"snapshot": snapshot("vast").model_copy(update={"size": 2**33})}
    )
    counts = (((1_000, 1_000), 2**53), ((0, 0), 0))
    return [
        Join(name="x", distils=True, version="", counts=counts),
        made,
        vote(2**40, 10_000, run.keys[1]),
        Lease(term=2**40, round=10_000, votes=(bytes(32),)),
        Endorse(student=bytes(32), metrics={"holdout_loss": -1e12}),
        Verdict(subject=run.keys[0], cause="score", entry=bytes(32), reason=""),
    ]


def test_no_number_of_a_member_ends_a_node_later(rig: Rig, silos: list[Author]) -> None:
    said = [silos[1].say(body, epoch=2**53).envelope for body in bodies(RUN)]
    heartbeats = [silo.heartbeat(2**53, epoch=2**53, done=2**53).envelope for silo in silos]
    told_of = Entries(run=RUN.id, entries=tuple(said), beats=tuple(heartbeats[1:]))
    most = dict.fromkeys(RUN.keys, (2**53, 2**53))
    head = empty(RUN).model_copy(update={"epoch": 2**53, "seq": 100_000, "forked": 100_000})
    claim = Sync(
        run=RUN.id, version="", heads=dict.fromkeys(RUN.keys, head), beats=most, reply=True
    )

    async def story() -> None:
        await begin(rig)
        await rig.take(Received(silos[1].key, told_of), Received(silos[2].key, claim), seconds=80.0)

    asyncio.run(story())
    assert rig.node.exchange.recovery.writable
    assert not [told_ for told_ in rig.told if "failed" in told_]


# Would these notice? Each takes one guard away.


def test_a_node_that_is_not_begun_anew_is_noticed(
    rig: Rig, silos: list[Author], broken: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(self) -> None:
        return

    monkeypatch.setattr(Handling, "_anew", never)
    with pytest.raises(AssertionError):
        test_what_was_folded_in_and_not_kept_is_told_to_nobody(rig, silos)


def test_that_nobody_is_set_aside_is_noticed(
    rig: Rig, silos: list[Author], broken: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Aside, "blame", lambda self, part: None)
    with pytest.raises(AssertionError):
        test_who_wrote_what_the_node_fails_on_is_set_aside_and_nobody_else(rig, silos)
