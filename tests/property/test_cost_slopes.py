"""What a node does for one message must not grow with what it holds, nor all it does faster than
what came in (SPEC 1.3): work is counted in lines of the package that run, never in seconds."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pytest
from hypothesis import given, settings, target
from hypothesis import strategies as st

from dcfm_node.records.entries import (
    Audit,
    Body,
    Checkpoint,
    Endorse,
    Entry,
    Expert,
    Lease,
    Refuse,
    Snapshot,
    Student,
    Verdict,
    Vote,
    Withdraw,
)
from dcfm_node.records.messages import Entries, Sync
from dcfm_node.simulation.signing import HashSigner, hashed
from dcfm_node.swarm.effects import Effect, Event, Held, LinkUp, Received, Send, Tick, Train, Unfit
from dcfm_node.swarm.effects import Worked as Finished
from dcfm_node.swarm.node import Node
from dcfm_node.swarm.view import View
from dcfm_node.wire.envelope import Sealed, encode_message, opener, seal_entry
from tests.property.lines import work
from tests.unit.swarm.builders import Author, Run, snapshot
from tests.unit.swarm.nodes import empty, remembered, told

SIZES = (100, 200, 400, 800, 1_600)
PER_MESSAGE = 0.2
"""Log-log slope of the work for one message of a fixed size against what is held."""
TOTAL = 1.2
"""Of all work against how much came in."""
QUOTA = 10_000
ROUNDS = 100


def slope(costs: Sequence[int]) -> float:
    """Least squares of log cost over log size."""
    xs, ys = [math.log(n) for n in SIZES], [math.log(cost) for cost in costs]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    above = sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True))
    return above / sum((a - x) ** 2 for a in xs)


def _digest(number: int) -> bytes:
    return number.to_bytes(32, "big")


def _made(number: int, size: int = 1_000) -> Snapshot:
    return Snapshot(digest=_digest(number), size=size)


def _votes(number: int) -> tuple[bytes, ...]:
    """As many as a lease must cite."""
    return tuple(_digest(number + more) for more in range(3))


def _student(number: int, size: int = 1_000) -> Student:
    return Student(
        term=number + 1,
        round=0,
        lease=_digest(number),
        snapshot=_made(number, size),
        teachers=(_digest(number),),
        missing=(),
        resumed=None,
        final=False,
        seed=0,
        version="",
        metrics={},
    )


KINDS: dict[str, Callable[[int, Sequence[bytes]], Body]] = {
    "expert": lambda i, _: Expert(round=i % ROUNDS, snapshot=_made(i), parents=(), metrics={}),
    "large expert": lambda i, _: Expert(
        round=i % ROUNDS, snapshot=_made(i, 2**33), parents=(), metrics={}
    ),
    "audit": lambda i, _: Audit(round=i % ROUNDS, scores=()),
    "vote": lambda i, keys: Vote(term=i + 1, round=0, candidate=keys[1]),
    "far vote": lambda i, keys: Vote(term=2**39 + i, round=0, candidate=keys[1]),
    "lease": lambda i, _: Lease(term=i + 1, round=0, votes=_votes(i)),
    "checkpoint": lambda i, _: Checkpoint(
        term=i + 1, round=0, lease=_digest(i), snapshot=_made(i), teachers=(_digest(i),), step=0
    ),
    "student": lambda i, _: _student(i),
    "large student": lambda i, _: _student(i, 2**33),
    "endorse": lambda i, _: Endorse(student=_digest(i), metrics={}),
    "refuse": lambda i, _: Refuse(student=_digest(i), reason="", metrics={}),
    "verdict": lambda i, keys: Verdict(
        subject=keys[2], cause="snapshot", entry=_digest(i), reason=""
    ),
    "withdraw": lambda i, _: Withdraw(reason=str(i)),
}
"""Records of a member that fit its run, each pointing at nothing that exists: number, roster, then
the body."""


class Case:
    """A node that writes, and a member that fills its journal with records of some kinds."""

    def __init__(self, *kinds: str) -> None:
        self.run = Run(4, participation="tolerant", rounds=ROUNDS)
        self.kinds = [KINDS[kind] for kind in kinds]
        self.authors = [
            Author(HashSigner(silo.key), self.run.id, silo.name)  # type: ignore[arg-type]
            for silo in self.run.manifest.roster
        ]
        self.member, self.other = self.authors[1], self.authors[2]
        self.said = 0
        self.opened: list[bytes] = []
        self.node = Node(
            signer=self.authors[0].signer,
            manifest=self.run.manifest,
            counts=(((0, 0), 5),),
            distils=True,
            rng=random.Random(0),
            wall_ms=0,
            quota=QUOTA,
            opener=opener(self._verify),
        )
        for key in self.run.keys[1:]:
            self.node.handle(LinkUp(key), 0.0)
        for peer in (1, 2, 3):
            self.node.handle(told(self.run, peer, empty(self.run)), 0.0)
        remembered(self.node, self.run)
        assert self.node.exchange.recovery.writable
        self.now, self.count, self.epoch = 1.0, 10, 5
        for author, epoch in ((self.member, self.epoch), (self.other, 1)):
            self.handle(self.told_of(author.join(epoch=epoch)))

    def _verify(self, key: bytes, signature: bytes, data: bytes) -> bool:
        self.opened.append(data)
        return hashed(key, signature, data)

    def handle(self, event: Event) -> list[Effect]:
        """At the pace of gossip, so that every event counts alike."""
        self.now += 0.001
        self.node._gossip_at = self.now + 1.0
        return self.node.handle(event, self.now)

    def told_of(self, *sealed: Sealed) -> Received:
        envelopes = tuple(said.envelope for said in sealed)
        return Received(self.member.key, Entries(run=self.run.id, entries=envelopes, beats=()))

    def next(self) -> Sealed:
        self.said += 1
        self.epoch = max(5, self.epoch)
        made = self.kinds[self.said % len(self.kinds)]
        return self.member.say(made(self.said, self.run.keys), epoch=self.epoch)

    def fill(self, size: int) -> None:
        """Let the member say records until so many are said."""
        while self.said < size:
            piece = [self.next() for _ in range(min(50, size - self.said))]
            self.handle(self.told_of(*piece))

    @property
    def held(self) -> int:
        """Records of the member that the node keeps."""
        return len(self.node.replica.journals.chains[self.member.key])

    def _handle_into(self, said: list[Effect], event: Event) -> None:
        said += self.handle(event)

    def looked_at(self) -> Iterator[tuple[str, int, int]]:
        """What each event costs now: its name, lines run, and bytes answered."""
        for name, event in self.events():
            said: list[Effect] = []
            lines = work(partial(self._handle_into, said, event))
            sent = [encode_message(e.message) for e in said if isinstance(e, Send)]
            yield name, lines, 1 + sum(map(len, sent))
        # What the node did not keep of it is not gone on from.
        self.member.journal = list(self.node.replica.journals.chains[self.member.key])

    def events(self) -> Iterator[tuple[str, Event]]:
        """One of each kind of event, of a fixed size."""
        run, journal = self.run.id, self.member.journal
        heads = self.node.replica.journals.heads()
        yield (
            "sync",
            Received(self.member.key, Sync(run=run, version="", heads=heads, beats={}, reply=True)),
        )
        yield "new record", self.told_of(self.next())
        yield "known record", self.told_of(journal[0])
        yield (
            "another's record",
            self.told_of(self.other.say(Endorse(student=_digest(self.said), metrics={}), epoch=1)),
        )
        old = self._again(1, 4)
        yield "stale record", self.told_of(old)
        yield "record beyond a gap", self.told_of(self._again(len(journal) + 5, 5))
        self.epoch += 1
        newer = self.member.say(journal[-1].entry.body, epoch=self.epoch, at=len(journal) - 1)
        yield "record in place of another", self.told_of(newer)
        self.count += 1
        heartbeat = self.member.heartbeat(self.count)
        yield (
            "heartbeat",
            Received(self.member.key, Entries(run=run, entries=(), beats=(heartbeat.envelope,))),
        )
        yield "unfit", Unfit(_digest(1), "bad")
        yield "held", Held(_digest(2**20))
        yield "worked", Finished(Train("local", 0), snapshot(str(self.said)), {})
        yield "tick", Tick()

    def _again(self, seq: int, epoch: int) -> Sealed:
        entry = Entry(
            run=self.run.id,
            author=self.member.key,
            epoch=epoch,
            seq=seq,
            prev=_digest(seq),
            time_ms=0,
            body=Withdraw(reason=""),
        )
        return seal_entry(entry, self.member.signer)


@pytest.mark.parametrize("kind", KINDS)
def test_work_for_one_message_does_not_grow_with_what_is_held(kind: str) -> None:
    case = Case(kind)
    total: list[int] = []
    lines: dict[str, list[int]] = {}
    answers: dict[str, list[int]] = {}
    for size in SIZES:
        spent = work(lambda size=size: case.fill(size))
        total.append(spent + (total[-1] if total else 0))
        for name, cost, answer in case.looked_at():
            lines.setdefault(name, []).append(cost)
            answers.setdefault(name, []).append(answer)
    assert case.held > SIZES[-1]  # they fit, and so it is a full journal that was measured
    steep = {n: c for n, c in lines.items() if slope(c) > PER_MESSAGE}
    loud = {n: c for n, c in answers.items() if slope(c) > PER_MESSAGE}
    assert (steep, loud) == ({}, {})
    assert slope(total) <= TOTAL
    assert len(case.opened) <= case.said + len(SIZES) * len(lines)  # none is verified twice


@settings(max_examples=settings.default.max_examples // 4)  # each is dear
@given(st.lists(st.sampled_from(sorted(KINDS)), min_size=2, max_size=4, unique=True))
def test_no_mixture_of_records_makes_one_message_dear(kinds: list[str]) -> None:
    """The worst is searched for."""
    case = Case(*kinds)
    case.fill(40)
    few = {name: cost for name, cost, _ in case.looked_at()}
    case.fill(640)
    many = {name: cost for name, cost, _ in case.looked_at()}
    assert case.held > 640
    grown = {name: math.log(many[name] / few[name]) / math.log(640 / 40) for name in few}
    worst = max(grown, key=lambda name: grown[name])
    target(grown[worst], label="log-log slope")
    assert grown[worst] <= PER_MESSAGE, (worst, few[worst], many[worst])


def test_a_stale_record_is_answered_with_the_one_that_took_its_place() -> None:
    """However much of that journal its sender lacks: it asks for the rest."""
    case = Case("endorse")
    case.fill(SIZES[0])
    for _ in range(5):
        effects = case.handle(case.told_of(case._again(1, 4)))
        sent = [e.message for e in effects if isinstance(e, Send)]
        assert [len(m.entries) for m in sent if isinstance(m, Entries)] == [1]


def test_a_handler_that_looks_at_everything_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that folds all journals anew whenever it asks whether it may write."""
    may_write = Node._may_write

    def scan(self):
        chains = self.replica.journals.chains.values()
        View.of(self.manifest, [sealed for chain in chains for sealed in chain])
        return may_write(self)

    monkeypatch.setattr(Node, "_may_write", scan)
    with pytest.raises(AssertionError, match="tick"):
        test_work_for_one_message_does_not_grow_with_what_is_held("withdraw")
