"""`dcfm-node simulate`: the swarm's own code under a fake clock, and what can befall it."""

import os
import sys
import time
from typing import Annotated, Any

import typer

from dcfm_node.cli.options import AsJson
from dcfm_node.cli.output import print_json, rewrite, say, table

TOLD_S = 5.0
"""A line of progress at most so often, where no line can be rewritten."""


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command("simulate")(simulate)


def simulate(
    scenario: Annotated[
        str | None,
        typer.Argument(help="NAME, NAME:VARIANT, or the path of a TOML file; none lists them."),
    ] = None,
    nodes: Annotated[
        int | None, typer.Option(min=1, max=1_000, help="Instead of the scenario's.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many runs.")] = 10,
    first_seed: Annotated[int, typer.Option(min=0, help="The first one's seed.")] = 0,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; one per core.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a scenario under all invariants. What breaks one is told with the least that does."""
    from dcfm_node.simulation import sweep

    if scenario is None:
        _list(as_json)
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    request = sweep.Request(scenario, nodes, first_seed, seeds, jobs or cores or 1)
    found = sweep.sweep(request, _Watcher(seeds).tell)
    if as_json:
        print_json(found.document())
    else:
        _tell(found.document())
    if found.violations:
        raise typer.Exit(1)


def _list(as_json: bool) -> None:
    from dcfm_node.simulation import scenario

    found = [(name, scenario.load(name)) for name in scenario.names()]
    if as_json:
        rows = [{"name": name, **given.model_dump()} for name, given in found]
        print_json({"schema": "dcfm-node/scenarios/1", "scenarios": rows})
    else:
        rows_ = [(name, given.nodes, given.title) for name, given in found]
        say(*table(("scenario", "nodes", "what befalls it"), rows_).split("\n"))


def _tell(document: dict[str, Any]) -> None:
    for found in document["violations"]:
        say(f"seed {found['seed']}, {found['time']:.1f} s: {found['what']}")
        needs = [*found["faults"], *found["needs"]]
        say("  it takes: " + ("; ".join(needs) or "nothing but time"))
        for line in found["trace"]:
            say(f"  {line['time']:8.2f} s  {line['silo'] or '':<9}  {line['what']}")
        say(f"  again: {found['repeat']}", "")
    broken = len(document["violations"])
    say(
        f"{document['scenario']}, {document['nodes']} nodes: {document['runs']} runs, "
        f"{broken or 'no'} violation{'' if broken == 1 else 's'}; {document['messages']} messages, "
        f"{document['simulated_s'] / 3_600:.1f} h simulated in {document['seconds']:.1f} s"
    )


class _Watcher:
    """Progress on stderr: one line rewritten on a terminal, a line now and then elsewhere."""

    def __init__(self, total: int) -> None:
        self._total, self._told_at = total, time.monotonic()

    def tell(self, done: int, broken: int) -> None:
        line = f"{done} of {self._total} runs, {broken} violations"
        if sys.stderr.isatty():
            rewrite(line, last=done == self._total)
        elif time.monotonic() - self._told_at >= TOLD_S:
            self._told_at = time.monotonic()
            say(line, err=True)
