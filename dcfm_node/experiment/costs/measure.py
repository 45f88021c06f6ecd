"""Makes the rows of both tables one after the other, so that times are not disturbed.

Every row is a file named by its inputs. A second run makes only missing rows.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

import torch

from dcfm_node.experiment.costs import passes, traffic
from dcfm_node.experiment.costs.settings import (
    COMMUNICATION,
    COMPUTE,
    SHIPPED,
    STAGES,
    Communication,
    Compute,
    Costs,
)
from dcfm_node.experiment.costs.steps import Steps
from dcfm_node.experiment.costs.timing import time_steps
from dcfm_node.experiment.lines import device_of
from dcfm_node.experiment.results import Metrics, Row, kept_row, write_json
from dcfm_node.flow.trainer import Callbacks
from dcfm_node.records.base import Model
from dcfm_node.wire.canonical import sha256

PACKAGE = Path(__file__).parents[2]
TELL_S = 0.3

Watch = Callable[[str, dict[str, object]], None]
"""Called with a partition's name and its progress, in the form that trials use."""


def measure(out: Path, given: Costs, seeds: int, device: str, watch: Watch) -> list[Row]:
    """All rows, in the order partition, seed, method.

    Args:
        device: for training steps, "auto", "cpu" or "cuda"; nodes train on the CPU.

    Raises:
        UserError: a node failed, or a run of nodes did not end in time.
    """
    found = []
    for seed in range(seeds):
        methods = given.communication.methods
        part = Part(out, COMMUNICATION, seed, methods, given.communication, watch)
        found += communicate(part, given.communication)
    compute, chosen = given.compute, device_of(device)
    for partition, borne in ((COMPUTE, compute.batch), (SHIPPED, compute.shipped)):
        for seed in range(seeds):
            part = Part(out, partition, seed, STAGES, compute, watch, about=chosen.type)
            found += train(part, compute, borne, chosen)
    return found


@dataclass
class Part:
    """One partition with one seed: its rows on disk and its progress.

    Attributes:
        given: settings that the rows depend on.
        about: other inputs that the rows depend on.
    """

    out: Path
    partition: str
    seed: int
    methods: Sequence[str]
    given: Model
    watch: Watch
    about: str = ""
    _told_at: float = 0.0

    def row(self, method: str) -> Row | None:
        """A method's row from an earlier run with the same settings and code; None if missing."""
        return kept_row(self._path(method), self._made_from(method))

    def keep(self, method: str, rule: str, metrics: Metrics) -> Row:
        """Write a measured row to disk and return it."""
        row = Row(method, self.partition, self.seed, rule, metrics, {rule: metrics})
        path = self._path(method)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"made_from": self._made_from(method), "row": asdict(row)})
        self.done(method)
        return row

    def done(self, method: str) -> None:
        """Report that a method's row is finished."""
        done = self.methods.index(method) + 1
        self._tell({"event": "measured", "method": method, "done": done})

    def tell(self, method: str, what: str, share: float) -> None:
        """Report the current activity and its finished share, 0 to 1."""
        if time.monotonic() - self._told_at < TELL_S:
            return
        self._told_at = time.monotonic()
        line: dict[str, object] = {"event": "progress", "method": method, "what": what}
        self._tell(line | {"share": share, "done": self.methods.index(method)})

    def _tell(self, line: dict[str, object]) -> None:
        self.watch(f"{self.partition} {self.seed}", line | {"total": len(self.methods)})

    def _path(self, method: str) -> Path:
        return self.out / "rows" / f"{self.partition}-{self.seed}-{method}.json"

    def _made_from(self, method: str) -> str:
        settings = self.given.model_dump_json(exclude={"methods", "patience_s"})
        parts = (settings, self.partition, str(self.seed), method, self.about)
        return sha256(_code(), *(part.encode() for part in parts)).hex()


def communicate(part: Part, given: Communication) -> list[Row]:
    """Measure Table 3: every method with real nodes."""
    found = []
    for method in given.methods:
        row = part.row(method)
        if row is None:
            metrics = traffic.measure(
                part.out / "nodes", given, method, part.seed, partial(part.tell, method)
            )
            row = part.keep(method, "release" if method != "dcfm-b" else "first student", metrics)
        else:
            part.done(method)
        found.append(row)
    return found


def train(part: Part, given: Compute, borne: int, device: torch.device) -> list[Row]:
    """Measure Table 4: count and time the steps of all stages together.

    Args:
        borne: rows of a batch with the penalty.
    """
    known = [row for stage in STAGES if (row := part.row(stage)) is not None]
    if len(known) == len(STAGES):
        for stage in STAGES:
            part.done(stage)
        return known
    callbacks = Callbacks(device=device)
    steps = Steps(given, callbacks)
    sources = [steps.source(stage, borne) for stage in STAGES]
    counts = []
    for stage, source in zip(STAGES, sources, strict=True):
        part.tell(stage, "count", 0.0)
        counts.append(passes.count(source, steps.frozen, given.count_steps, device))
    with one_thread():
        tell = partial(part.tell, STAGES[0], "time all in turns")
        times = time_steps(sources, callbacks, given.time_steps, tell)
    rule = f"penalty on {borne} of {given.batch}"
    return [
        part.keep(stage, rule, counted | {"step_ms": ms, "time_ratio": ms / times[0]})
        for stage, counted, ms in zip(STAGES, counts, times, strict=True)
    ]


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread, for comparable times on a CPU."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def _code() -> bytes:
    """Digest of all code of the package, because nodes run all of it."""
    files = sorted(PACKAGE.rglob("*.py"))
    return sha256(*(path.read_bytes() for path in files))
