"""Runs the trials of an experiment in parallel and gathers their rows."""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dcfm_node.errors import Failed, UserError
from dcfm_node.experiment import results, settings, show
from dcfm_node.experiment.algebra.settings import Algebra
from dcfm_node.experiment.costs.settings import Costs
from dcfm_node.experiment.lines import TrialSpec
from dcfm_node.experiment.parity.settings import Parity
from dcfm_node.experiment.penalty.settings import Penalty
from dcfm_node.experiment.results import Results
from dcfm_node.experiment.settings import Experiment, Given

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
Place = tuple[str, int, str]
"""Partition, seed and method of a row."""


def run(request: Request, command: str, watch: Watch) -> Results:
    """Run or resume an experiment. After every row write results.json and table.md.

    Raises:
        UserError: the settings or the data do not fit, or a trial failed.
    """
    given = settings.read(request.experiment, request.preset)
    request.out.mkdir(parents=True, exist_ok=True)
    made = Made(request, given, command)

    def watched(trial: str, line: dict[str, object]) -> None:
        if line["event"] == "measured":
            partition, seed = trial.rsplit(maxsplit=1)
            made.keep((partition, int(seed), str(line["method"])))
        watch(trial, line)

    if isinstance(given, Costs):
        from dcfm_node.experiment.costs.measure import measure

        measure(request.out, given, request.seeds, request.device, watched)
    else:
        asyncio.run(_all(request, given, watched))
    return made.found


class Made:
    """The rows that this run has made or found on disk, and the files that show them.

    The files are whole after every row, so that a run that is killed leaves what it has. Rows of
    an earlier version of the code may also lie in the folder: only those count that were reported.
    """

    def __init__(self, request: Request, given: Given, command: str) -> None:
        self._folder, self._given = request.out, given
        self._planned = [
            (partition, seed, method)
            for partition in given.partitions
            for seed in _seeds(request, given)
            for method in _lineup(given, partition)
        ]
        self._rows: dict[Place, results.Row] = {}
        self.found = Results(
            experiment=given.name,
            preset=request.preset,
            commit=results.commit(),
            machine=results.machine(),
            command=command,
            rows=(),
            settings=given.model_dump(mode="json"),
            planned=len(self._planned),
        )

    def keep(self, place: Place) -> None:
        """Add a row that is on disk, and write the files."""
        partition, seed, method = place
        path = self._folder / "rows" / f"{partition}-{seed}-{method}.json"
        self._rows[place] = results.read_row(path)
        rows = tuple(self._rows[place] for place in self._planned if place in self._rows)
        self.found = replace(self.found, rows=rows)
        self.found.write(self._folder)
        show.write_table(self._folder, self.found, self._given)


async def _all(request: Request, given: Given, watch: Watch) -> None:
    free = asyncio.Semaphore(request.jobs)

    async def one(partition: str, seed: int) -> None:
        async with free:
            await _trial(request, partition, seed, watch)

    try:
        async with asyncio.TaskGroup() as group:
            for seed in _seeds(request, given):
                for partition in given.partitions:
                    group.create_task(one(partition, seed))
    except* (UserError, OSError) as errors:
        raise errors.exceptions[0] from None


async def _trial(request: Request, partition: str, seed: int, watch: Watch) -> None:
    """Run one trial's process to its end; it ends when this process does."""
    name = f"{partition} {seed}"
    log = request.out / f"trial-{partition}-{seed}.log"
    with log.open("ab") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dcfm_node.experiment"),
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


def _seeds(request: Request, given: Given) -> range:
    first = 0 if isinstance(given, Experiment) else given.first_seed
    return range(first, first + request.seeds)


def _lineup(given: Given, partition: str) -> Sequence[str]:
    """Names of the rows of a partition and seed."""
    if isinstance(given, Penalty | Costs | Parity | Algebra):
        return given.lineup(partition)
    return tuple(given.lineup)
