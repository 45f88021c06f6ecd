"""The command `journal`: shows every record that a silo published, in words."""

import csv
import io
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from textwrap import wrap
from typing import Annotated

import typer

from dcfm_node.api.journal import Journal, JournalEntry
from dcfm_node.cli.options import DEFAULT_CONFIG, AsJson, Config, OfPeers, OfRun
from dcfm_node.cli.output import answer, say, screen_width, size, table
from dcfm_node.cli.record_words import LEGEND, says
from dcfm_node.cli.recorded import journal_of, other_runs
from dcfm_node.errors import ConfigError
from dcfm_node.records.entries import Checkpoint, Expert, Student
from dcfm_node.words import cell, clean, utc

UNITS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "days": 86_400, "w": 604_800}
"""Seconds of each unit of `--since`."""
MAX_OTHERS = 8
"""Other runs that the note names."""
CELL_WIDTH = 4_000
"""The most characters of a record in words."""
LEAST_WIDTH = 40
"""The column with words is at least so wide, also on a narrow terminal."""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(journal)


def journal(
    silo: Annotated[
        str, typer.Option(help="Silo whose journal to show; default: this node's.")
    ] = "",
    since: Annotated[
        str,
        typer.Option(
            metavar="WHEN",
            help="Only later records: a date or time in UTC (2026-11-30, 2026-11-30T14:00), or how"
            " long ago (90min, 12h, 3d).",
        ),
    ] = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a table for a spreadsheet.")] = False,
    run: OfRun = "",
    peers: OfPeers = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show each record that this silo published in a run, with the models that members may fetch
    because of it.

    It is the present run; --run shows an earlier one, and a note names those on this disk. 'egress'
    shows all that was sent, in all runs. This works with and without a running daemon.
    """
    if as_csv and as_json:
        raise ConfigError("one format at a time", where="journal", fix="give --csv or --json")
    after_ms = since_ms(since, time.time() * 1_000) if since else 0.0
    found = journal_of(config, run, peers, silo)
    kept = tuple(entry for entry in found.entries if entry.time_ms >= after_ms)
    found = found.model_copy(update={"entries": kept})
    if as_csv:
        say(*csv_lines(clean(found)))
    else:
        answer(found, as_json, journal_text)
    if not run and (others := other_runs(config, found.run.id)):
        listed = ", ".join(f"{other.id[:8]} ({other.name})" for other in others[:MAX_OTHERS])
        more = f" and {len(others) - MAX_OTHERS} more" * (len(others) > MAX_OTHERS)
        say(clean(f"note: also on this disk: run {listed}{more}: --run ID"), err=True)


def since_ms(text: str, now_ms: float) -> float:
    """The time that a text means, in Unix milliseconds.

    Args:
        text: an ISO 8601 date or time, UTC if it names no zone; or a duration, which ends now.

    Raises:
        ConfigError: it is neither.
    """
    if found := re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,3})?)\s*([a-z]+)\s*", text):
        number, unit = found.groups()
        if unit in UNITS:
            return now_ms - float(number) * UNITS[unit] * 1_000
    try:
        when = datetime.fromisoformat(text.strip())
        return (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp() * 1_000
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"{text!r} is not a date, a time or a duration",
            where="--since",
            fix="give for example 2026-11-30, 2026-11-30T14:00, 90min, 12h or 3d",
        ) from error


def journal_text(found: Journal) -> str:
    """A journal as text: what its words mean, a line for each record, and the sum."""
    width = screen_width()
    rows = [
        (entry.seq, utc(entry.time_ms), entry.body.kind, size(entry.bytes))
        for entry in found.entries
    ]
    head, *lines = table(("no", "UTC", "record", "size"), rows).split("\n")
    column = max(map(len, [head, *lines])) + 2
    text = [f"{head:<{column}}what left, in words"]
    for line, entry in zip(lines, found.entries, strict=True):
        words = says(entry.body, entry.means, CELL_WIDTH)
        room = len(words) + 1 if width is None else max(LEAST_WIDTH, width - column)
        first, *rest = wrap(words, room, break_on_hyphens=False) or [""]
        text += [f"{line:<{column}}{first}", *(f"{'':<{column}}{more}" for more in rest)]
    return "\n".join([_title(found), "", *text, "", _sum(found), *LEGEND])


def _title(found: Journal) -> str:
    return f"what {found.silo} published in run {found.run.name} {found.run.id[:8]}"


def _sum(found: Journal) -> str:
    records, models = found.entries, [s for entry in found.entries if (s := _fetched(entry))]
    return (
        f"{len(records)} records of {size(sum(entry.bytes for entry in records))} together;"
        f" {len(models)} models of {size(sum(models))} together, which members may fetch."
    )


def _fetched(entry: JournalEntry) -> int:
    """Bytes of the model that members may fetch because of a record; 0 without one."""
    body = entry.body
    return body.snapshot.size if isinstance(body, Expert | Student | Checkpoint) else 0


HEADER = (
    "run",
    "no",
    "utc",
    "silo",
    "record",
    "record_bytes",
    "model_bytes",
    "model_digest",
    "says",
)


def csv_lines(found: Journal) -> Iterator[str]:
    """A journal as a table for a spreadsheet. No cell can run as a formula."""
    for row in (HEADER, *(_row(found, entry) for entry in found.entries)):
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow([cell(str(value)) for value in row])
        yield line.getvalue()


def _row(found: Journal, entry: JournalEntry) -> tuple[object, ...]:
    body = entry.body
    digest = body.snapshot.digest.hex() if isinstance(body, Expert | Student | Checkpoint) else ""
    words = says(body, entry.means, CELL_WIDTH)
    what = (found.run.id, entry.seq, utc(entry.time_ms), found.silo, body.kind, entry.bytes)
    return (*what, _fetched(entry) or "", digest, words)
