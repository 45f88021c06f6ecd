"""What a node does for one message must not grow with what it holds, nor all it does faster than
what came in (SPEC 1.3): work is counted in lines of the package that run, never in seconds."""

import math
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import dcfm_node
from dcfm_node.records.entries import (
    Audit,
    Body,
    Checkpoint,
    Endorse,
    Entry,
    Expert,
    Join,
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
from dcfm_node.wire.envelope import Sealed, encode_message, opener, seal_entry
from tests.unit.swarm.builders import Author, Run, snapshot
from tests.unit.swarm.test_node import empty, remembered, told

SIZES = (100, 200, 400, 800, 1_600)
PER_MESSAGE = 0.2
"""Log-log slope of the work for one message of a fixed size against what is held."""
TOTAL = 1.2
"""Of all work against how much came in."""
PACKAGE = str(Path(dcfm_node.__file__).parent)
QUOTA = 10_000


def work(act: Callable[[], object]) -> int:
    """How many lines of the package run: a loop's count each time around, a comprehension's too."""
    lines = 0

    def trace(frame, event, _):  # type: ignore[no-untyped-def]
        nonlocal lines
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return lines


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
    "join": lambda i, _: Join(name="x", distils=True, version=str(i), counts=(((0, 0), 1),)),
    "expert": lambda i, _: Expert(round=i, snapshot=_made(i), parents=(), metrics={}),
    "large expert": lambda i, _: Expert(round=i, snapshot=_made(i, 2**33), parents=(), metrics={}),
    "audit": lambda i, _: Audit(round=i, scores=()),
    "vote": lambda i, keys: Vote(term=i + 1, round=0, candidate=keys[1]),
    "far vote": lambda i, keys: Vote(term=2**39 + i, round=0, candidate=keys[1]),
    "lease": lambda i, _: Lease(term=i + 1, round=0, votes=(_digest(i),)),
    "checkpoint": lambda i, _: Checkpoint(
        term=i + 1, round=0, lease=_digest(i), snapshot=_made(i), teachers=(_digest(i),), step=i
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
"""Records of a member, each pointing at nothing that exists: number, roster, then the body."""


class Case:
    """A node that writes, and a member that fills its journals with one kind of record."""

    def __init__(self, kind: str) -> None:
        self.run, self.kind = Run(4, participation="tolerant"), KINDS[kind]
        self.authors = [
            Author(HashSigner(author.key), self.run.id, author.name)  # type: ignore[arg-type]
            for author in self.run.authors
        ]  # type: ignore[arg-type]
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
        return self.member.say(self.kind(self.said, self.run.keys), epoch=self.epoch)

    def fill(self, size: int) -> int:
        """Let the member say records until so many are said; the work that it was."""
        spent = 0
        while self.said < size:
            piece = [self.next() for _ in range(min(50, size - self.said))]
            spent += work(partial(self.handle, self.told_of(*piece)))
        return spent

    def events(self) -> Iterator[tuple[str, Event]]:
        """One of each kind of event, of a fixed size."""
        run, journal = self.run.id, self.member.journal
        heads = self.node.exchange.journals.heads()
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
        beat = self.member.beat(self.count)
        yield (
            "beat",
            Received(self.member.key, Entries(run=run, entries=(), beats=(beat.envelope,))),
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


def measured(kind: str):
    case, spent, totals = Case(kind), 0, []
    costs: dict[str, list[int]] = {}
    answers: dict[str, list[int]] = {}
    for size in SIZES:
        spent += case.fill(size)
        totals.append(spent)
        for name, event in case.events():
            said: list[Effect] = []
            costs.setdefault(name, []).append(
                work(lambda said=said, event=event: said.extend(case.handle(event)))
            )
            sent = [encode_message(e.message) for e in said if isinstance(e, Send)]
            answers.setdefault(name, []).append(1 + sum(map(len, sent)))
        case.member.journal = list(case.node.exchange.journals.chains[case.member.key])
    return totals, costs, answers


if __name__ == "__main__":
    import time

    for kind in KINDS:
        t = time.time()
        totals, costs, answers = measured(kind)
        bad = {
            n: (round(slope(c), 2), c[0], c[-1]) for n, c in costs.items() if slope(c) > PER_MESSAGE
        }
        loud = {
            n: (round(slope(c), 2), c[0], c[-1])
            for n, c in answers.items()
            if slope(c) > PER_MESSAGE
        }
        print(
            f"{kind:14} {time.time() - t:5.1f}s total {slope(totals):.2f} {totals[-1]}",
            bad,
            "BYTES",
            loud,
            flush=True,
        )
