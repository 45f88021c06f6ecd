"""`dcfm-node simulate`: runs the swarm's code with a simulated clock and injected faults."""

import os
from typing import Annotated

import typer

from dcfm_node.api.simulation import ListedScenario, Scenarios, Simulation
from dcfm_node.cli.options import AsJson
from dcfm_node.cli.output import answer, table
from dcfm_node.cli.progress import Progress


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("simulate")(simulate)


def simulate(
    scenario: Annotated[
        str | None,
        typer.Argument(help="NAME, NAME:VARIANT or a TOML file. Without it, list all."),
    ] = None,
    nodes: Annotated[
        int | None, typer.Option(min=1, max=1_000, help="Number of nodes; default: the scenario's.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of runs.")] = 10,
    first_seed: Annotated[int, typer.Option(min=0, help="Seed of the first run.")] = 0,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes; default: one per core.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a scenario in simulation and check all invariants. For each violation, show the fewest
    faults that cause it."""
    from dcfm_node.simulation import sweep

    if scenario is None:
        _list(as_json)
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    request = sweep.Request(scenario, nodes, first_seed, seeds, jobs or cores or 1)
    progress = Progress(seeds)

    def tell(done: int, broken: int) -> None:
        progress.tell(done, f"{done} of {seeds} runs, {broken} violations")

    found = sweep.sweep(request, tell)
    answer(found.document(), as_json, _swept_text)
    if found.violations:
        raise typer.Exit(1)


def _list(as_json: bool) -> None:
    from dcfm_node.simulation import scenario

    found = (
        ListedScenario(name=name, **scenario.load(name).model_dump()) for name in scenario.names()
    )
    answer(Scenarios(scenarios=tuple(found)), as_json, _listed_text)


def _listed_text(found: Scenarios) -> str:
    rows = [(given.name, given.nodes, given.title) for given in found.scenarios]
    return table(("scenario", "nodes", "what happens to it"), rows)


def _swept_text(found: Simulation) -> str:
    lines = []
    for broken in found.violations:
        needs = "; ".join([*broken.faults, *broken.needs]) or "no faults"
        lines += [f"seed {broken.seed}, {broken.time:.1f} s: {broken.what}", f"  needs: {needs}"]
        lines += [
            f"  {line.time:8.2f} s  {line.silo or '':<9}  {line.what}" for line in broken.trace
        ]
        lines += [f"  repeat: {broken.repeat}", ""]
    count = len(found.violations)
    lines.append(
        f"{found.scenario}, {found.nodes} nodes: {found.runs} runs, {count or 'no'} violation"
        f"{'' if count == 1 else 's'}; {found.messages} messages,"
        f" {found.simulated_s / 3_600:.1f} h simulated in {found.seconds:.1f} s"
    )
    return "\n".join(lines)
