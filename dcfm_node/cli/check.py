"""The command that finds out what is wrong with a node before it runs, or while it does: check."""

import shutil
import textwrap
from collections.abc import Sequence
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Annotated

import typer

from dcfm_node.api.checked import Checked, Finding, Holding, State, exit_code
from dcfm_node.cli.options import DEFAULT_CONFIG, AsJson, Config
from dcfm_node.cli.output import answer, table
from dcfm_node.words import plain

MARKS: dict[State, str] = {"ok": "ok", "wrong": "WRONG", "degraded": "BAD", "unknown": "?"}
NARROW, WIDE = 80, 140
FIRST = 3
"""Most findings that the end repeats."""
MOST = 12
"""Most features and values of an attribute that the text shows; --json has all."""


def register(app: typer.Typer) -> None:
    """Add this command to the app."""
    app.command()(check)


def check(
    peer: Annotated[
        str, typer.Argument(metavar="[PEER]", help="Look at the links to this peer alone.")
    ] = "",
    config: Config = DEFAULT_CONFIG,
    peers: Annotated[
        Path | None, typer.Option(help="As for start; default: peers.toml beside node.toml.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="As for start; default: run.toml beside node.toml.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check all that a node needs, and say what to do: settings, keys, data, run, network, machine,
    coverage.

    While the node is stopped, this command dials every peer itself, on both planes. Whether peers
    reach this node shows only while it runs: then the command asks the node. It reads the private
    data and sends nothing of it. It changes nothing.

    Exit codes: 0 nothing is wrong (what could not be checked is marked ?); 2 settings, keys, ports
    or data must change before the node can take part; 3 something is degraded; 1 the command
    failed.
    """
    from dcfm_node.preflight.check import check as look

    peers, run = (
        given if given is not None else config.parent / name
        for given, name in ((peers, "peers.toml"), (run, "run.toml"))
    )
    found = look(config, peers, run, peer)
    answer(found, as_json, checked_text)
    raise typer.Exit(exit_code(found.findings))


def checked_text(found: Checked) -> str:
    """The findings as a table with a part for each group, and what follows."""
    widths = _widths(found.findings)
    lines = [_row(("", "check", "finding", "fix"), widths)]
    for group, findings in groupby(found.findings, key=lambda one: one.group):
        lines += ["", group]
        for one in findings:
            lines += _cells(one, widths)
        if group == "data" and found.features:
            lines += ["", _features(found)]
    if grid := _matrix(found):
        lines += ["", *grid]
    return "\n".join([*lines, "", *_verdict(found)])


def _widths(findings: Sequence[Finding]) -> tuple[int, int, int, int]:
    """Columns for mark, check, finding and fix, as wide as the terminal together."""
    width = min(max(shutil.get_terminal_size((WIDE, 24)).columns, NARROW), WIDE)
    mark, check = 7, max((len(one.check) for one in findings), default=0)
    rest = width - mark - check - 3 * 2
    fix = rest * 2 // 5 if any(one.fix for one in findings) else 0
    return mark, check, rest - fix, fix


def _cells(one: Finding, widths: tuple[int, int, int, int]) -> list[str]:
    """One finding, broken to the widths of the columns."""
    what = _wrapped(one.finding, widths[2]) or [""]
    fix = _wrapped(one.fix, widths[3]) if one.fix else []
    head = [f"  {MARKS[one.state]}"], [one.check]
    return [_row(line, widths) for line in zip_longest(*head, what, fix, fillvalue="")]


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of a text. Words, such as paths to copy, stay whole."""
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)).rstrip()


def _features(found: Checked) -> str:
    rows = [
        (f"  {f.name}", *(f"{n:.4g}" for n in (f.least, f.greatest, f.mean, f.deviation)))
        for f in found.features[:MOST]
    ]
    text = table(("  scale", "least", "greatest", "mean", "deviation"), rows)
    more = len(found.features) - MOST
    return f"{text}\n  … and {more} more; --json has all" if more > 0 else text


def _matrix(found: Checked) -> list[str]:
    """Who holds what: a grid of two attributes, else the combinations of this silo."""
    if not found.combinations:
        return []
    if len(found.attributes) != 2:
        return _listed(found)
    by_values = {tuple(one.values): one for one in found.combinations}
    rows = list(dict.fromkeys(one.values[0] for one in found.combinations))
    columns = list(dict.fromkeys(one.values[1] for one in found.combinations))
    if len(columns) > MOST:
        return _listed(found)
    first, second = found.attributes
    grid = table(
        (f"  {first} \\ {second}", *columns),
        [(f"  {row}", *(_cell(by_values[row, column]) for column in columns)) for row in rows],
    )
    return [grid, *(f"  {line}" for line in _wrapped(LEGEND, NARROW))]


LEGEND = (
    "a number: samples here; +: other silos hold it too; peers: only they hold it;"
    " -: nobody; !: nobody, and it cannot be composed; ?: not here, and not all silos told"
)


def _cell(one: Holding) -> str:
    if one.own:
        return f"{one.own}{'+' * bool(one.others)}"
    if one.others:
        return "peers"
    return {None: "?", False: "!", True: "-"}[one.reachable]


def _listed(found: Checked) -> list[str]:
    mine = [one for one in found.combinations if one.own]
    rows = [(*(f"  {v}" for v in one.values), one.own, ", ".join(one.others)) for one in mine]
    header = (*(f"  {name}" for name in found.attributes), "samples", "also at")
    more = len(rows) - 2 * MOST
    text = table(header, rows[: 2 * MOST])
    return [text, *([f"  … and {more} more; --json has all"] if more > 0 else [])]


def _verdict(found: Checked) -> list[str]:
    """What to do first."""
    counts = {state: sum(one.state == state for one in found.findings) for state in MARKS}
    bad = [one for one in found.findings if one.state in ("wrong", "degraded")]
    lines = [
        f"{plain(found.node) or 'node'}, whose daemon is {found.daemon}: {counts['ok']} fine,"
        f" {counts['wrong']} wrong, {counts['degraded']} bad, {counts['unknown']} not checked"
    ]
    bad.sort(key=lambda one: one.state != "wrong")
    lines += [
        f"  {MARKS[one.state]:<5}  {one.group}, {one.check}: {one.fix or one.finding}"
        for one in bad[:FIRST]
    ]
    if (more := len(bad) - FIRST) > 0:
        lines.append(f"  and {more} more, which the table above has")
    if counts["unknown"] and found.daemon == "down" and not counts["wrong"]:
        lines.append("  start the node, and check again: what is marked ? shows only then")
    return lines
