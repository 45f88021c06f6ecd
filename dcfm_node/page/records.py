"""What the page tells of the journals. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from dcfm_node.api.journal import Journal, JournalEntry
from dcfm_node.api.page import Drawn, PageExpert, PageMark, PagePast, PageRecord
from dcfm_node.api.run import RunFacts
from dcfm_node.cli.record_words import says
from dcfm_node.records.entries import PREPARATION, Expert, Student

MAX_RECORDS, MAX_MARKS, MAX_EXPERTS = 200, 3_000, 2_000
"""Most records, marks and experts that one document has: the newest."""
UNMARKED = ("vote", "accept", "audit", "lease", "propose")
"""Kinds without a mark in the timeline: they prepare what another record tells."""


def past(run: RunFacts | None, journals: Mapping[str, Journal], drawn: Drawn) -> PagePast:
    """The document of the journals of all silos.

    Args:
        journals: by silo.
    """
    said = sorted(
        ((silo, entry) for silo, journal in journals.items() for entry in journal.entries),
        key=lambda of: (of[1].time_ms, of[0], of[1].seq),
    )
    newest = said[-MAX_RECORDS:]
    return PagePast(
        run=run,
        records=tuple(_record(silo, entry) for silo, entry in reversed(newest)),
        records_more=len(said) - len(newest),
        marks=tuple(_marks(said))[-MAX_MARKS:],
        experts=tuple(sorted(_experts(said), key=lambda e: (e.round, e.silo))[-MAX_EXPERTS:]),
        drawn=drawn,
    )


def _record(silo: str, entry: JournalEntry) -> PageRecord:
    return PageRecord(
        silo=silo,
        seq=entry.seq,
        time_ms=entry.time_ms,
        kind=entry.body.kind,
        says=says(entry.body, entry.means),
    )


def _marks(said: Iterable[tuple[str, JournalEntry]]) -> Iterator[PageMark]:
    for silo, entry in said:
        body = entry.body
        if body.kind in UNMARKED:
            continue
        round_ = getattr(body, "round", None)
        yield PageMark(
            silo=silo,
            time_ms=entry.time_ms,
            kind=body.kind,
            round=None if round_ == PREPARATION else round_,
            final=isinstance(body, Student) and body.final,
        )


def _experts(said: Iterable[tuple[str, JournalEntry]]) -> Iterator[PageExpert]:
    for silo, entry in said:
        if isinstance(body := entry.body, Expert):
            yield PageExpert(
                silo=silo,
                round=body.round,
                time_ms=entry.time_ms,
                digest=body.snapshot.digest.hex(),
                bytes=body.snapshot.size,
                parents=tuple(digest.hex() for digest in body.parents[:64]),
                metrics=dict(body.metrics),
            )
