"""Runs the trials of an experiment in parallel and gathers their rows."""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dcfm_node.errors import Failed, UserError
from dcfm_node.experiment import results, settings
from dcfm_node.experiment.costs.settings import Costs
from dcfm_node.experiment.penalty.settings import Penalty
from dcfm_node.experiment.results import Results, Row
from dcfm_node.experiment.settings import Experiment
from dcfm_node.experiment.strangers.settings import Strangers
from dcfm_node.experiment.trial import TrialSpec

MAX_LINE_BYTES = 1 << 20


@dataclass(frozen=True)
class Request:
    """Options of `experiment run`.

    Attributes:
        experiment: a shipped name, or the path of a TOML file.
        seeds: number of seeds, counted from 0 or from the experiment's first.
        jobs: number of trials in parallel.
    """

    experiment: str
    preset: str
    seeds: int
    out: Path
    data: Path | None
    device: str
    jobs: int


Watch = Callable[[str, dict[str, object]], None]
"""Called with a trial's name and the line it wrote."""


def run(request: Request, command: str, watch: Watch) -> Results:
    """Run or resume an experiment and write results.json.

    Raises:
        UserError: the settings or the data do not fit, or a trial failed.
    """
    given = settings.read(request.experiment, request.preset)
    request.out.mkdir(parents=True, exist_ok=True)
    if isinstance(given, Costs):
        from dcfm_node.experiment.costs.measure import measure

        rows = measure(request.out, given, request.seeds, request.device, watch)
    else:
        trials = [(p, seed) for seed in _seeds(request, given) for p in given.partitions]
        asyncio.run(_all(request, trials, watch))
        rows = _rows(request, given)
    found = Results(
        experiment=given.name,
        preset=request.preset,
        commit=results.commit(),
        machine=results.machine(),
        command=command,
        rows=tuple(rows),
        settings=given.model_dump(mode="json"),
    )
    found.write(request.out)
    return found


async def _all(request: Request, trials: Sequence[tuple[str, int]], watch: Watch) -> None:
    free = asyncio.Semaphore(request.jobs)

    async def one(partition: str, seed: int) -> None:
        async with free:
            await _trial(request, partition, seed, watch)

    try:
        async with asyncio.TaskGroup() as group:
            for partition, seed in trials:
                group.create_task(one(partition, seed))
    except* UserError as errors:
        raise errors.exceptions[0] from None


async def _trial(request: Request, partition: str, seed: int, watch: Watch) -> None:
    """Run one trial's process to its end; it ends when this process does."""
    name = f"{partition} {seed}"
    log = request.out / f"trial-{partition}-{seed}.log"
    with log.open("ab") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dcfm_node.experiment.trial"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            limit=MAX_LINE_BYTES,
            env={**os.environ, "OMP_NUM_THREADS": str(_threads(request))},
        )
    assert process.stdin is not None and process.stdout is not None
    spec = TrialSpec(
        experiment=request.experiment,
        preset=request.preset,
        partition=partition,
        seed=seed,
        out=request.out,
        data=request.data,
        device=request.device,
        threads=_threads(request),
    )
    process.stdin.write(spec.model_dump_json().encode() + b"\n")
    broken: UserError | None = None
    try:
        async for raw in process.stdout:
            line = json.loads(raw)
            if line["event"] == "broken":
                told = {name: line[name] for name in ("where", "fix", "more")}
                broken = UserError(line["what"], **told)
            watch(name, line)
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
    if broken is not None:
        raise broken
    if code:
        raise Failed(
            f"the trial {name} ended with exit code {code}",
            where=str(log),
            fix="read the end of that file; run the same command to go on",
        )


def usual_jobs(device: str) -> int:
    """Default number of parallel trials: one per core, or one on a GPU."""
    import torch

    if device != "cpu" and torch.cuda.is_available():
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads(request: Request) -> int:
    """Threads per trial; small networks gain nothing from a second thread."""
    return max(1, usual_jobs("cpu") // request.jobs)


def _seeds(request: Request, given: Experiment | Strangers | Penalty) -> range:
    first = 0 if isinstance(given, Experiment) else given.first_seed
    return range(first, first + request.seeds)


def _rows(request: Request, given: Experiment | Strangers | Penalty) -> list[Row]:
    rows = []
    for partition in given.partitions:
        for seed in _seeds(request, given):
            lineup = given.lineup(partition) if isinstance(given, Penalty) else given.lineup
            for method in lineup:
                path = request.out / "rows" / f"{partition}-{seed}-{method}.json"
                rows.append(results.read_row(path))
    return rows
