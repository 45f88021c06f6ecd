"""Makes the rows of both tables, one after the other: times are measured, so nothing runs beside.

Every row is a file, addressed by all that it was made from; a second run makes those that lack.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

import torch

from dcfm_node.experiment.costs import passes, traffic
from dcfm_node.experiment.costs.settings import STAGES, Communication, Compute, Costs
from dcfm_node.experiment.costs.steps import Steps
from dcfm_node.experiment.costs.timing import time_steps
from dcfm_node.experiment.results import Metrics, Row, kept_row, write_json
from dcfm_node.experiment.trial import device_of
from dcfm_node.flow.trainer import Callbacks
from dcfm_node.records.base import Model
from dcfm_node.wire.canonical import sha256

PACKAGE = Path(__file__).parents[2]
COMMUNICATION, COMPUTE, SHIPPED = "communication", "compute", "compute-shipped"
"""Partitions: Table 3; Table 4 with the penalty on every row; and as the shipped runs have it."""
TELL_S = 0.3

Watch = Callable[[str, dict[str, object]], None]
"""Called with what is measured and how far it is, in the form in which trials report it."""


def measure(out: Path, given: Costs, seeds: int, device: str, watch: Watch) -> list[Row]:
    """All rows, in the order partition, seed, method.

    Args:
        device: of training steps, "auto", "cpu" or "cuda"; nodes train on the CPU.

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
    """One partition with one seed: which of its rows are on disk, and how far it is.

    Attributes:
        given: settings that its rows depend on.
        about: what else they do.
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
        """What was measured of a method before, of the same settings by the same code."""
        return kept_row(self._path(method), self._made_from(method))

    def keep(self, method: str, rule: str, metrics: Metrics) -> Row:
        """A measured row, now on disk."""
        row = Row(method, self.partition, self.seed, rule, metrics, {rule: metrics})
        path = self._path(method)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"made_from": self._made_from(method), "row": asdict(row)})
        self.done(method)
        return row

    def done(self, method: str) -> None:
        """Tell that a method's row is there."""
        done = self.methods.index(method) + 1
        self._tell({"event": "measured", "method": method, "done": done})

    def tell(self, method: str, what: str, share: float) -> None:
        """Tell what is being done and the share of it that is done."""
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
    """Table 3: every method by real nodes."""
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
    """Table 4: steps of every stage counted, and then timed in turns, so all of them or none.

    Args:
        borne: how many rows of a batch bear the penalty.
    """
    known = [row for stage in STAGES if (row := part.row(stage)) is not None]
    if len(known) == len(STAGES):
        part.done(STAGES[-1])
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
    """Times on a CPU are one thread's."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def _code() -> bytes:
    """Digest of the code that a row depends on: nodes run all of it."""
    files = sorted(PACKAGE.rglob("*.py"))
    return sha256(*(path.read_bytes() for path in files))
