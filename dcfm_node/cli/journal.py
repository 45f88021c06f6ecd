"""The command `journal`: what left the building, record by record, in words."""

from typing import Annotated, Any

import typer

from dcfm_node.cli.options import DEFAULT_CONFIG, AsJson, Config, OfPeers, OfRun
from dcfm_node.cli.output import answer, size, table
from dcfm_node.cli.recorded import journal_of
from dcfm_node.words import plain, utc

SAYS_WIDTH = 160
"""Characters of what a record says, at most; --json has it whole."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(journal)


def journal(
    silo: Annotated[str, typer.Option(help="Another silo's journal; this node's own else.")] = "",
    run: OfRun = "",
    peers: OfPeers = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Every record this silo published: what left the building, with the weights it names.

    The daemon may run or not; --run shows an earlier run.
    """
    answer(journal_of(config, run, peers, silo), as_json, _journal_text)


def _journal_text(found: dict[str, Any]) -> str:
    rows = [
        (
            entry["seq"],
            utc(entry["time_ms"]),
            entry["body"]["kind"],
            size(entry["bytes"]),
            said(entry["body"], entry["means"]),
        )
        for entry in found["entries"]
    ]
    return table(("no", "UTC", "record", "size", "says"), rows)


def said(body: dict[str, Any], means: dict[str, Any]) -> str:
    """A record in words, on one line of bounded width.

    Args:
        body: as JSON has it.
        means: what it says of others, in names.
    """
    text = "; ".join(part for part in _parts(body, means) if part)
    text = plain(text)  # another silo's words are its own
    return text if len(text) <= SAYS_WIDTH else f"{text[: SAYS_WIDTH - 1]}…"


def _parts(body: dict[str, Any], means: dict[str, Any]) -> list[str]:
    match body["kind"]:
        case "join":
            samples = sum(count for _, count in body["counts"])
            held = [f"{count} of {'/'.join(of.values())}" for of, count in means["counts"]]
            counted = f"{samples} samples of {len(held)} combinations, counted"
            return [f"{counted}: {_as_many_as_fit(held, SAYS_WIDTH - len(counted) - 2)}"]
        case "expert":
            return [f"round {body['round']}: {_weights(body)}", _figures(body)]
        case "student":
            final = ", final" if body["final"] else ""
            return [
                f"round {body['round']}, term {body['term']}{final}: {_weights(body)}",
                f"distilled from {', '.join(means['teachers'])}",
                f"without {', '.join(means['missing'])}" if means["missing"] else "",
                _figures(body),
            ]
        case "checkpoint":
            place = f"term {body['term']}, round {body['round']}"
            return [f"{place}: {body['step']} steps are done", _weights(body)]
        case "vote":
            return [f"term {body['term']}, round {body['round']}: for {means['candidate']}"]
        case "lease":
            voters = ", ".join(means["voters"])
            return [f"term {body['term']}, round {body['round']}: leads by the votes of {voters}"]
        case "endorse" | "refuse":
            return [f"{_named(means['student'])}: {body.get('reason', 'endorsed')}", _figures(body)]
        case "audit":
            return [f"round {body['round']}: {_audited(means)}"]
        case "verdict":
            about = f", its {_named(means['entry'], of=False)}" if means["entry"] else ""
            return [f"on {means['subject']}{about}: {body['cause']}: {body['reason']}"]
        case _:
            return [str(body.get("reason", ""))]


def _weights(body: dict[str, Any]) -> str:
    """What a peer may fetch by it."""
    snapshot, delta = body["snapshot"], body.get("delta")
    text = f"weights {snapshot['digest'][:12]}, {size(snapshot['size'])}"
    return text if delta is None else f"{text}, or {size(delta['coded']['size'])} as what changed"


def _figures(body: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in body["metrics"].items())


def _named(entry: dict[str, Any] | None, *, of: bool = True) -> str:
    """An expert or a student that a record is about; `of` whom, if that is not told beside."""
    if entry is None:
        return "a student that is not known here"
    text = f"{entry['kind']} {entry['digest'][:12]} of round {entry['round']}"
    return f"{text} by {entry['silo']}" if of else text


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


def _audited(means: dict[str, Any]) -> str:
    """How a silo found its peers' experts."""
    from dcfm_node.swarm.audit import FIGURES

    scored, worst = means["scored"], means["worst"]
    lines = [f"{len(scored)} expert{'' if len(scored) == 1 else 's'} scored"]
    if worst is not None:
        lines.append(
            f"worst is {worst['silo']}, its {FIGURES[worst['figure']]} at {worst['place']:.2f} of"
            " the way to knowing nothing"
        )
    lines.append(f"refuses {', '.join(means['refuses']) or 'nobody'}")
    return "; ".join(lines)
