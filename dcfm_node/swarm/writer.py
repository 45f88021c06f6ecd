"""What a node says: records wait until it may write, and then extend its own journal (SPEC 3)."""

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
"""What is kept free in the own journal, so that a silo can always say that it withdraws."""


@dataclass
class Writer:
    """The pen of one node.

    Attributes:
        pending: records that wait to be said.
        full: the journal has no room for more: this silo can only say that it withdraws.
        unfit: why a record was not said that does not fit the run; empty where none was so.
    """

    signer: Signs
    exchange: Exchange
    pending: list[Body] = field(default_factory=list)
    full: bool = False
    unfit: str = ""

    def later(self, bodies: Iterable[Body]) -> None:
        """Say these when it is possible; one of a kind that waits already is not said twice."""
        waiting = {_gist(body) for body in self.pending}
        for body in bodies:
            if _gist(body) not in waiting:
                waiting.add(_gist(body))
                self.pending.append(body)

    def flush(self, time_ms: int) -> list[Effect]:
        """Publish what waits and still has a place."""
        pending, self.pending = self.pending, []
        view, me = self.exchange.replica.view, self.signer.key
        effects: list[Effect] = []
        for body in pending:
            if still_true(body, view, me):
                effects += self.publish(body, time_ms)
        return effects

    def publish(self, body: Body, time_ms: int) -> list[Effect]:
        """Sign a record and tell of it. Says nothing where the journal is full, or where the record
        does not fit the run: no peer would hold it, nor what comes after it. Each is told once.

        Args:
            time_ms: the wall clock. It informs; one that is out of range is taken to be at its end.
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
    """What makes a record the same as another that waits: of verdicts not the words."""
    match body:
        case Verdict():
            return body.kind, body.subject, body.cause, body.entry
        case Withdraw():
            return body.kind
        case _:
            return id(body)
