"""The command `journal`: shows every record that a silo published, in words."""

from collections.abc import Sequence
from typing import Annotated

import typer

from dcfm_node.api.journal import (
    AuditMeans,
    CheckpointMeans,
    JoinMeans,
    Journal,
    LeaseMeans,
    Means,
    OpinionMeans,
    PreparationMeans,
    Published,
    StudentMeans,
    VerdictMeans,
    VoteMeans,
)
from dcfm_node.cli.options import DEFAULT_CONFIG, AsJson, Config, OfPeers, OfRun
from dcfm_node.cli.output import answer, size, table
from dcfm_node.cli.recorded import journal_of
from dcfm_node.records.entries import (
    PREPARATION,
    Accept,
    Audit,
    Body,
    Checkpoint,
    Endorse,
    Expert,
    Join,
    Lease,
    Propose,
    Refuse,
    Student,
    Verdict,
    Vote,
    Withdraw,
)
from dcfm_node.words import plain, utc

SAYS_WIDTH = 160
"""The most characters of a record in the table. `--json` shows the whole record."""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(journal)


def journal(
    silo: Annotated[
        str, typer.Option(help="Silo whose journal to show; default: this node's.")
    ] = "",
    run: OfRun = "",
    peers: OfPeers = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show everything that left this site: each record that this silo published, with the weights
    that the record names.

    This works with and without a running daemon. --run shows an earlier run.
    """
    answer(journal_of(config, run, peers, silo), as_json, _journal_text)


def _journal_text(found: Journal) -> str:
    rows = [
        (
            entry.seq,
            utc(entry.time_ms),
            entry.body.kind,
            size(entry.bytes),
            says(entry.body, entry.means),
        )
        for entry in found.entries
    ]
    return table(("no", "UTC", "record", "size", "says"), rows)


def says(body: Body, means: Means) -> str:
    """A record in words, on one line of bounded width.

    Args:
        means: what the record says about other silos, by name.
    """
    text = "; ".join(part for part in _parts(body, means) if part)
    text = plain(text)  # another silo may have written it
    return text if len(text) <= SAYS_WIDTH else f"{text[: SAYS_WIDTH - 1]}…"


def _parts(body: Body, means: Means) -> Sequence[str]:
    match body, means:
        case Join(), JoinMeans():
            samples = sum(count for _, count in means.counts)
            held = [f"{count} of {'/'.join(of.values())}" for of, count in means.counts]
            many = len(body.moments.mean) if body.moments is not None else 0
            stated = f", means and deviations of {many} groups" if many else ""
            counted = f"{samples} samples of {len(held)} combinations{stated}, counted"
            return [f"{counted}: {_as_many_as_fit(held, SAYS_WIDTH - len(counted) - 2)}"]
        case Expert(), _:
            return [f"round {body.round}: {_weights(body)}", _figures(body)]
        case Student(), StudentMeans():
            final = ", final" if body.final else ""
            return [
                f"round {body.round}, term {body.term}{final}: {_weights(body)}",
                f"distilled from {', '.join(means.teachers)}",
                f"without {', '.join(means.missing)}" if means.missing else "",
                _figures(body),
            ]
        case Checkpoint(), CheckpointMeans():
            place = f"term {body.term}, round {body.round}"
            return [f"{place}: {body.step} steps are done", _weights(body)]
        case Vote(), VoteMeans():
            return [f"{_term(body)}: for {means.candidate}"]
        case Lease(), LeaseMeans():
            voters = ", ".join(means.voters)
            return [f"{_term(body)}: leads by the votes of {voters}"]
        case Propose() | Accept(), PreparationMeans():
            unknown = len(body.preparation.joins) - len(means.joins)
            more = [f"{unknown} that this node does not know"] if unknown else []
            withheld = ["/".join(label.values()) for label in means.probes]
            return [
                f"term {body.term}: builds on the joins of {', '.join([*means.joins, *more])}",
                f"nobody trains on {', '.join(withheld)}" if withheld else "",
                "all standardise their data alike" if body.preparation.scale is not None else "",
            ]
        case Endorse() | Refuse(), OpinionMeans():
            opinion = body.reason if isinstance(body, Refuse) else "endorsed"
            return [f"{_named(means.student)}: {opinion}", means.expected, _figures(body)]
        case Audit(), AuditMeans():
            return [f"round {body.round}: {_audited(means)}"]
        case Verdict(), VerdictMeans():
            about = f", its {_named(means.entry, of=False)}" if means.entry else ""
            return [f"on {means.subject}{about}: {body.cause}: {body.reason}"]
        case Withdraw(), _:
            return [body.reason]
        case _:
            raise AssertionError(f"the means of a {body.kind} are {type(means).__name__}")


def _term(body: Vote | Lease) -> str:
    """What an election is for."""
    what = "preparation" if body.round == PREPARATION else f"round {body.round}"
    return f"term {body.term}, {what}"


def _weights(body: Expert | Student | Checkpoint) -> str:
    """The weights that a peer may fetch because of a record."""
    snapshot = body.snapshot
    text = f"weights {snapshot.digest.hex()[:12]}, {size(snapshot.size)}"
    if isinstance(body, Checkpoint) or body.delta is None:
        return text
    return f"{text}, or {size(body.delta.coded.size)} as what changed"


def _figures(body: Expert | Student | Endorse | Refuse) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in sorted(body.metrics.items()))


def _named(entry: Published | None, *, of: bool = True) -> str:
    """An expert or a student that a record is about; `of` adds its silo."""
    if entry is None:
        return "a student that this node does not know"
    text = f"{entry.kind} {entry.digest[:12]} of round {entry.round}"
    return f"{text} by {entry.silo}" if of else text


def _as_many_as_fit(items: list[str], width: int) -> str:
    """Items up to a width, and how many more there are."""
    text = ""
    for number, item in enumerate(items):
        longer = f"{text}, {item}" if text else item
        rest = len(items) - number - 1
        more = f", and {rest} more" if rest else ""
        if number and len(longer) + len(more) > width:
            return f"{text}, and {rest + 1} more"
        text = longer
    return text


def _audited(means: AuditMeans) -> str:
    """How a silo scored its peers' experts."""
    from dcfm_node.swarm.audit import FIGURES

    scored, worst = means.scored, means.worst
    lines = [f"{len(scored)} expert{'' if len(scored) == 1 else 's'} scored"]
    if worst is not None:
        lines.append(
            f"worst is {worst.silo}: {FIGURES[worst.figure]} {worst.place:.2f}, from 0 (own expert)"
            " to 1 (knows nothing)"
        )
    lines.append(f"refuses {', '.join(means.refuses) or 'nobody'}")
    return "; ".join(lines)
