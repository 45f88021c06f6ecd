"""Runs many seeds of one scenario, in this process or in several."""

import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from dcfm_node.api.simulation import Simulation, Violation
from dcfm_node.errors import Failed
from dcfm_node.simulation.run import Found, find
from dcfm_node.simulation.scenario import load

PIECE = 20
"""Most seeds in one process."""


@dataclass(frozen=True)
class Request:
    """What to run.

    Attributes:
        scenario: as `scenario.load` takes it.
        nodes: overrides the scenario's number; None keeps it.
        first_seed: the first of the seeds.
        seeds: number of seeds.
        jobs: number of processes at once.
    """

    scenario: str
    nodes: int | None
    first_seed: int
    seeds: int
    jobs: int

    @property
    def changes(self) -> dict[str, Any]:
        """Settings that override the scenario's."""
        return {} if self.nodes is None else {"nodes": self.nodes}

    def command(self, first_seed: int, seeds: int) -> list[str]:
        """The arguments of `dcfm-node` for some of these seeds."""
        nodes = [] if self.nodes is None else ["--nodes", str(self.nodes)]
        which = ["--first-seed", str(first_seed), "--seeds", str(seeds)]
        return ["simulate", self.scenario, *nodes, *which]


@dataclass
class Swept:
    """The results of a sweep.

    Attributes:
        simulated_s: seconds of the fake clock, over all runs.
        seconds: seconds of real time.
    """

    request: Request
    nodes: int
    runs: int = 0
    messages: int = 0
    simulated_s: float = 0.0
    seconds: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    def document(self) -> Simulation:
        """The results for JSON."""
        return Simulation(
            scenario=self.request.scenario,
            nodes=self.nodes,
            first_seed=self.request.first_seed,
            runs=self.runs,
            simulated_s=round(self.simulated_s, 1),
            messages=self.messages,
            seconds=round(self.seconds, 2),
            violations=tuple(self.violations),
        )

    def take(self, document: Simulation) -> None:
        """Add the results of another process."""
        self.runs += document.runs
        self.messages += document.messages
        self.simulated_s += document.simulated_s
        self.violations += document.violations


Watch = Callable[[int, int], None]
"""Called with the number of runs done and the number with a violation."""


def sweep(request: Request, watch: Watch) -> Swept:
    """Run every seed.

    Raises:
        ConfigError: the scenario does not exist or has an error.
        Failed: a process ended without results.
    """
    swept = Swept(request, load(request.scenario, request.changes).nodes)
    started = time.monotonic()
    if request.jobs == 1 or request.seeds <= PIECE:
        _here(request, swept, watch)
    else:
        _in_processes(request, swept, watch)
    swept.violations.sort(key=lambda violation: violation.seed)
    swept.seconds = time.monotonic() - started
    return swept


def _here(request: Request, swept: Swept, watch: Watch) -> None:
    scenario = load(request.scenario, request.changes)
    for seed in range(request.first_seed, request.first_seed + request.seeds):
        outcome = find(scenario, seed)
        swept.runs += 1
        if isinstance(outcome, Found):
            repeat = shlex.join(["dcfm-node", *request.command(seed, 1)])
            swept.violations.append(outcome.document(repeat))
        else:
            swept.messages += outcome.network.messages
            swept.simulated_s += outcome.clock.now
        watch(swept.runs, len(swept.violations))


def _in_processes(request: Request, swept: Swept, watch: Watch) -> None:
    end = request.first_seed + request.seeds
    pieces = [(at, min(PIECE, end - at)) for at in range(request.first_seed, end, PIECE)]
    with ThreadPoolExecutor(request.jobs) as pool:
        waiting = [pool.submit(_piece, request.command(*piece)) for piece in pieces]
        try:
            for done in as_completed(waiting):
                swept.take(done.result())
                watch(swept.runs, len(swept.violations))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _piece(command: list[str]) -> Simulation:
    whole = [sys.executable, "-m", "dcfm_node", *command, "--jobs", "1", "--json"]
    done = subprocess.run(whole, capture_output=True, text=True, check=False)
    try:
        return Simulation.read(done.stdout)
    except ValidationError as error:
        said = (done.stderr or done.stdout).strip()[-500:]
        raise Failed(
            f"a process ended with exit code {done.returncode}: {said}",
            where=shlex.join(whole),
            fix="run that command by itself",
        ) from error
