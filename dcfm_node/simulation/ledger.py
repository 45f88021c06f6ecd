"""Which byzantine member caused what: everything that honest nodes do because of it is charged to
it.

A member's records may cost each other node at most `K` times the member's own bytes, on disk, in
memory and on the wire. Records that others *write* because of it are dearer, because they spread to
everyone and stay: a quarter of a record for each of its own, plus `WRITTEN` for what is proven or
refused once. The constants cover an honest member that publishes almost nothing. All bounds follow
from bytes and records that the member really sent, never from a counter, round or term that it can
raise.
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
"""Most bytes of cost per byte that a member sent: nodes keep it, open it (Python objects weigh
several times their bytes), and pass it to each peer about once."""
K_WRITTEN = 0.25
"""Records that a node writes for each record of a member."""
WRITTEN = 32
"""Records that a node may write because of one member, whatever it sent: a verdict for each cause,
and judgements of its students."""
BYTES = 256 << 10
"""Bytes that may be kept or sent because of a member that sent almost nothing."""
RETAINED = 16 << 20
"""Bytes of memory: one `join` with as many counts as a run can have weighs this much when
opened."""


@dataclass
class Account:
    """What one byzantine member sent, and what it caused at each honest node.

    Attributes:
        records, size: the entries that it made, and the bytes of its messages.
        written: records that a node wrote because of it.
        kept: bytes that a node wrote to its disk.
        passed, answered: bytes that a node sent to all others together, and to the member.
    """

    records: int = 0
    size: int = 0
    written: Counter[bytes] = field(default_factory=Counter)
    kept: Counter[bytes] = field(default_factory=Counter)
    passed: Counter[bytes] = field(default_factory=Counter)
    answered: Counter[bytes] = field(default_factory=Counter)

    def excess(self, peers: int) -> Iterable[str]:
        """The amounts above their bounds, in words.

        Args:
            peers: number of others to which each node may pass on what it holds.
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
    """Accounts of the byzantine members. In a run without them it costs nothing."""

    def __init__(self) -> None:
        self.accounts: dict[bytes, Account] = {}
        self._debtors: dict[bytes, bytes] = {}
        """By envelope and by digest: the byzantine member that caused a record."""
        self._terms: dict[int, bytes] = {}
        """By term, the member that voted first."""

    def open(self, member: bytes) -> None:
        """Start to charge a member."""
        self.accounts.setdefault(member, Account())

    def said(self, sealed: Sealed) -> None:
        """Record that a byzantine member made a record."""
        self.accounts[sealed.entry.author].records += 1
        self._remember(sealed)

    def sent(self, member: bytes, envelopes: Iterable[bytes]) -> None:
        """Record a byzantine member's message to its peers, counted once for all of them."""
        self.accounts[member].size += sum(map(len, envelopes))

    def charge(self, node: bytes, asker: bytes | None, effects: Iterable[Effect]) -> None:
        """Charge a node's effects to the member that caused them.

        Args:
            asker: the byzantine member whose message the node answered; None if there is none.
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
        """The byzantine member or subject that caused an honest record."""
        match body:
            case Verdict():
                return body.subject
            case Endorse() | Refuse():
                return self._debtors.get(body.student)
            case Vote() | Lease():
                return self._terms.get(body.term)
        return None


def weight(*roots: object) -> int:
    """Bytes of memory of objects and everything they hold, each counted once."""
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
