"""results.json and the folder around it: what an experiment found, row by row."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dcfm_node.errors import Failed
from dcfm_node.experiment.task import Labelled, Space

SCHEMA = "dcfm-node/experiment/1"
Metrics = dict[str, float]


@dataclass(frozen=True)
class Row:
    """One method on one partition with one seed.

    Attributes:
        rule: the variant that `metrics` are of.
        variants: metrics of every way the method can be sampled.
        rounds: after every round its number, cost so far and metrics, where curves were asked.
        cost: as `methods.Ledger` has it.
    """

    method: str
    partition: str
    seed: int
    rule: str
    metrics: Metrics
    variants: dict[str, Metrics] = field(default_factory=dict)
    rounds: list[Metrics] = field(default_factory=list)
    cost: Metrics = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """Everything in results.json; rows in the order partition, seed, method of the settings."""

    experiment: str
    preset: str
    commit: str
    machine: str
    command: str
    rows: tuple[Row, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Write results.json, whole or not at all."""
        path = folder / "results.json"
        write_json(path, self.document())
        return path

    def document(self) -> dict[str, Any]:
        """As results.json has it."""
        return {"schema": SCHEMA, **asdict(self)}


def read(folder: Path) -> Results:
    """The results in a folder.

    Raises:
        Failed: there are none.
    """
    path = folder / "results.json"
    try:
        document = json.loads(path.read_text())
    except OSError as error:
        raise Failed(
            "there are no results",
            where=str(path),
            fix="name the folder that 'dcfm-node experiment run' wrote",
        ) from error
    if document.pop("schema", None) != SCHEMA:
        raise Failed(f"is not of the form {SCHEMA}", where=str(path), fix="run it again")
    return Results(**{**document, "rows": tuple(Row(**row) for row in document["rows"])})


def spread(rows: Sequence[Row], metric: str, variant: str | None = None) -> tuple[float, float]:
    """Mean and standard deviation (of a sample; 0 for one seed) over rows that have the metric."""
    found = [
        metrics[metric]
        for metrics in (row.metrics if variant is None else row.variants[variant] for row in rows)
        if metric in metrics
    ]
    if not found:
        return float("nan"), float("nan")
    return float(np.mean(found)), float(np.std(found, ddof=1)) if len(found) > 1 else 0.0


def save_samples(path: Path, shown: Labelled, space: Space) -> None:
    """Samples to look at, beside the row they belong to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        x=shown.x.astype(np.float16),
        c=shown.c.astype(np.int16),
        space=np.array(json.dumps(asdict(space))),
    )


def load_samples(path: Path) -> tuple[Labelled, Space]:
    """Undo `save_samples`."""
    with np.load(path, allow_pickle=False) as file:
        x, c, said = file["x"], file["c"], json.loads(str(file["space"]))
    space = Space(
        tuple((name, tuple(values)) for name, values in said["attributes"]),
        tuple(tuple(label) for label in said["held_out"]),
    )
    return Labelled(x.astype(np.float32), c.astype(np.int64)), space


def machine() -> str:
    """Processor, cores that may be used, and GPU if there is one."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    software = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{_processor()}, {cores} cores{gpu}; {software}"


def commit() -> str:
    """The checkout's commit, marked if it was changed since; the version for an installed wheel."""
    from dcfm_node import __version__

    folder = Path(__file__).parents[2]
    git = ["git", "-C", str(folder)]
    status = [*git, "status", "--porcelain", "--untracked-files=no"]  # results may lie there
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, check=True)
        changed = subprocess.run(status, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return f"version {__version__}"
    return head.stdout.decode().strip() + (", changed since" if changed.stdout.strip() else "")


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(document, indent=1) + "\n")
    temporary.replace(path)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
