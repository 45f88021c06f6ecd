"""The records of a node: they wait until it may write, then extend its own journal (SPEC 3)."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from dcfm_node.records.base import MAX_COUNT
from dcfm_node.records.entries import Body, Entry, Verdict, Withdraw
from dcfm_node.swarm.effects import Effect, Report
from dcfm_node.swarm.exchange import Exchange
from dcfm_node.swarm.journal import MAX_SEQ
from dcfm_node.swarm.outcome import brief, still_true
from dcfm_node.wire.envelope import Signs, seal_entry

FAREWELL_BYTES = 4_096
"""Bytes kept free in this node's journal, so that its silo can always withdraw."""


@dataclass
class Writer:
    """Writes one node's records.

    Attributes:
        pending: records that wait to be published.
        full: the journal has no more room; this silo can only withdraw.
        unfit: why the first record that does not fit the run was not published; empty if there was
            none.
    """

    signer: Signs
    exchange: Exchange
    pending: list[Body] = field(default_factory=list)
    full: bool = False
    unfit: str = ""

    def later(self, bodies: Iterable[Body]) -> None:
        """Publish these records when possible. A record that already waits is not added again."""
        waiting = {_gist(body) for body in self.pending}
        for body in bodies:
            if _gist(body) not in waiting:
                waiting.add(_gist(body))
                self.pending.append(body)

    def flush(self, time_ms: int) -> list[Effect]:
        """Publish the waiting records that are still valid."""
        pending, self.pending = self.pending, []
        view, me = self.exchange.replica.view, self.signer.key
        effects: list[Effect] = []
        for body in pending:
            if still_true(body, view, me):
                effects += self.publish(body, time_ms)
        return effects

    def publish(self, body: Body, time_ms: int) -> list[Effect]:
        """Sign a record and publish it. It publishes nothing if the journal is full or the record
        does not fit the run: no peer would hold that record or any after it. Each case is reported
        once.

        Args:
            time_ms: the wall clock, for information only; clamped to the valid range.
        """
        journals, me = self.exchange.replica.journals, self.signer.key
        own = journals.head(me)
        fields = {"kind": body.kind, "seq": own.seq + 1, **brief(body)}
        last = MAX_SEQ if isinstance(body, Withdraw) else MAX_SEQ - 1
        if own.seq < last:
            entry = Entry(
                run=journals.run,
                author=me,
                epoch=self.exchange.recovery.epoch,
                seq=own.seq + 1,
                prev=own.digest,
                time_ms=max(0, min(MAX_COUNT, time_ms)),
                body=body,
            )
            sealed = seal_entry(entry, self.signer)
            if why := journals.flaw(sealed):
                first, self.unfit = not self.unfit, why
                return [Report("record_unfit", {**fields, "why": why}, "error")] if first else []
            spare = 0 if isinstance(body, Withdraw) else FAREWELL_BYTES
            if len(sealed.envelope) + spare <= journals.room(me):
                return [*self.exchange.publish(sealed), Report("published", fields)]
        first, self.full = not self.full, True
        return [Report("journal_full", fields, "error")] if first else []


def _gist(body: Body) -> object:
    """The part that makes two waiting records the same. The words of a verdict do not count."""
    match body:
        case Verdict():
            return body.kind, body.subject, body.cause, body.entry
        case Withdraw():
            return body.kind
        case _:
            return id(body)
