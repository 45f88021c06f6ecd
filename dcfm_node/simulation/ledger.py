"""Who caused what: all that honest nodes do because of a byzantine member is charged to it.

What one member says may cost each other node so much as it costs itself to say, times `K`, and no
more: bytes on the disk, in memory and on the wire. What others *write* because of it is dearer,
since it spreads to everyone and stays: a quarter of a record for each of its own, beside `WRITTEN`
for what is proven or refused once. The constants are what one honest member may cost who says next
to nothing. All bounds are of bytes and records that the member really sent; none names a counter,
a round or a term that it can raise.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel

from dcfm_node.records.entries import Body, Endorse, Lease, Refuse, Verdict, Vote
from dcfm_node.records.messages import Entries
from dcfm_node.swarm.effects import Effect, Persist, PersistFork, PersistHeartbeat, Send
from dcfm_node.wire.envelope import Sealed

K = 8
"""Times what a member said: it is kept, opened (Python's objects weigh some times their bytes) and
passed on, to each peer about once."""
K_WRITTEN = 0.25
"""Records that a node writes for each that a member said."""
WRITTEN = 32
"""Records a node may write because of one member, whatever it said: a verdict for each cause, and
judgements of what it made as a leader."""
BYTES = 256 << 10
"""That may be kept or sent because of one member that said next to nothing."""
RETAINED = 16 << 20
"""Bytes of memory: one `join` of as many counts as a run can have weighs so much when opened."""


@dataclass
class Account:
    """What one byzantine member said, and what came of it at each honest node.

    Attributes:
        records, size: what it said, in entries and in bytes of its messages.
        written: records that a node wrote because of it.
        kept: bytes that a node wrote to its disk.
        passed, answered: bytes that a node sent, to all others together and to it.
    """

    records: int = 0
    size: int = 0
    written: Counter[bytes] = field(default_factory=Counter)
    kept: Counter[bytes] = field(default_factory=Counter)
    passed: Counter[bytes] = field(default_factory=Counter)
    answered: Counter[bytes] = field(default_factory=Counter)

    def excess(self, peers: int) -> Iterable[str]:
        """What is over its bound, in words.

        Args:
            peers: to how many others each node may pass on what it holds.
        """
        bounds: Sequence[tuple[str, Mapping[bytes, int], float]] = (
            ("records were written", self.written, K_WRITTEN * self.records + WRITTEN),
            ("bytes were kept", self.kept, K * self.size + BYTES),
            ("bytes were answered", self.answered, K * self.size + BYTES),
            ("bytes were passed on", self.passed, K * peers * self.size + BYTES),
        )
        for what, charged, most in bounds:
            worst = max(charged.values(), default=0)
            if worst > most:
                said = f"{self.records} records, {self.size} bytes"
                yield f"{worst} {what} by one node because of {said}: over {most:.0f}"


class Ledger:
    """Accounts of the members that are byzantine; in a run without any it costs nothing."""

    def __init__(self) -> None:
        self.accounts: dict[bytes, Account] = {}
        self._debtors: dict[bytes, bytes] = {}
        """By envelope and by digest: which byzantine member caused a record."""
        self._terms: dict[int, bytes] = {}
        """Who voted first in a term."""

    def open(self, member: bytes) -> None:
        """From now on a member is charged."""
        self.accounts.setdefault(member, Account())

    def said(self, sealed: Sealed) -> None:
        """A byzantine member made a record."""
        self.accounts[sealed.entry.author].records += 1
        self._remember(sealed)

    def sent(self, member: bytes, envelopes: Iterable[bytes]) -> None:
        """A byzantine member sent a message to its peers, counted once for all of them."""
        self.accounts[member].size += sum(map(len, envelopes))

    def charge(self, node: bytes, asker: bytes | None, effects: Iterable[Effect]) -> None:
        """Find who caused what a node did.

        Args:
            asker: whose message it answered, if it was a byzantine member's.
        """
        if not self.accounts:
            return
        for effect in effects:
            match effect:
                case Persist(sealed):
                    self._persisted(node, sealed)
                case PersistFork(first, second) if first.entry.author in self.accounts:
                    size = len(first.envelope) + len(second.envelope)
                    self.accounts[first.entry.author].kept[node] += size
                case PersistHeartbeat(heartbeat) if heartbeat.heartbeat.author in self.accounts:
                    self.accounts[heartbeat.heartbeat.author].kept[node] += len(heartbeat.envelope)
                case Send(peer, Entries() as message):
                    for envelope in message.entries:
                        if peer == asker:
                            self.accounts[asker].answered[node] += len(envelope)
                        elif (debtor := self._debtors.get(envelope)) is not None:
                            self.accounts[debtor].passed[node] += len(envelope)

    def _persisted(self, node: bytes, sealed: Sealed) -> None:
        author = sealed.entry.author
        debtor = self._remember(sealed)
        if debtor is not None:
            self.accounts[debtor].kept[node] += len(sealed.envelope)
            if author == node != debtor:
                self.accounts[debtor].written[node] += 1

    def _remember(self, sealed: Sealed) -> bytes | None:
        author, body = sealed.entry.author, sealed.entry.body
        if isinstance(body, Vote):
            self._terms.setdefault(body.term, author)
        debtor = author if author in self.accounts else self._cause(body)
        if debtor is None or debtor not in self.accounts:
            return None
        self._debtors[sealed.envelope] = self._debtors[sealed.digest] = debtor
        return debtor

    def _cause(self, body: Body) -> bytes | None:
        """Whose doing an honest record is."""
        match body:
            case Verdict():
                return body.subject
            case Endorse() | Refuse():
                return self._debtors.get(body.student)
            case Vote() | Lease():
                return self._terms.get(body.term)
        return None


def weight(*roots: object) -> int:
    """Bytes of memory that objects and all that they hold take, each counted once."""
    seen: set[int] = set()
    total, waiting = 0, list(roots)
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, type):
            continue
        seen.add(id(thing))
        total += sys.getsizeof(thing)
        if isinstance(thing, dict):
            waiting += [*thing.keys(), *thing.values()]
        elif isinstance(thing, list | tuple | set | frozenset):
            waiting += thing
        elif isinstance(thing, BaseModel):
            waiting.append(thing.__dict__)
        elif hasattr(thing, "__slots__") and not isinstance(thing, str | bytes | int | float):
            waiting += [getattr(thing, name) for name in thing.__slots__ if hasattr(thing, name)]
    return total
