"""results.json and the folder around it: what an experiment found, row by row."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from zipfile import ZipFile

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from dcfm_node.api.experiments import ExperimentResults
from dcfm_node.domains.space import Space
from dcfm_node.errors import Failed
from dcfm_node.files import open_regular, read_bounded, replacing
from dcfm_node.records.manifest import Attribute
from dcfm_node.samples import Samples

SCHEMA = "dcfm-node/experiment/1"
MAX_BYTES = 64 << 20
"""Of results.json."""
MAX_SAMPLES_BYTES = 1 << 30
Metrics = dict[str, float]
AnyForm = TypeVar("AnyForm")


@dataclass(frozen=True)
class Row:
    """One method on one partition with one seed.

    Attributes:
        rule: the variant that `metrics` are of.
        variants: metrics of every way the method can be sampled.
        rounds: after every round its number, cost so far and metrics, where curves were asked.
        cost: as `methods.Ledger` has it.
        compared: distance from known hold-out data by way of sampling, of those that `rule` was
            chosen from; empty without a choice.
    """

    method: str
    partition: str
    seed: int
    rule: str
    metrics: Metrics
    variants: dict[str, Metrics] = field(default_factory=dict)
    rounds: list[Metrics] = field(default_factory=list)
    cost: Metrics = field(default_factory=dict)
    compared: Metrics = field(default_factory=dict)

    __pydantic_config__ = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Results:
    """Everything in results.json; rows in the order partition, seed, method of the settings.

    Attributes:
        planned: number of rows of the whole experiment; None, in files of earlier versions: these.
    """

    experiment: str
    preset: str
    commit: str
    machine: str
    command: str
    rows: tuple[Row, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    planned: int | None = None

    __pydantic_config__ = ConfigDict(extra="forbid")

    @property
    def missing(self) -> str:
        """What tables say of rows that are not there yet; empty if the experiment is complete."""
        if self.planned is None or len(self.rows) >= self.planned:
            return ""
        return f"Incomplete: {len(self.rows)} of {self.planned} rows."

    def write(self, folder: Path) -> Path:
        """Write results.json, whole or not at all."""
        path = folder / "results.json"
        write_json(path, self.document().plain())
        return path

    def document(self) -> ExperimentResults:
        """As results.json has it."""
        return ExperimentResults.model_validate(asdict(self))


def read(folder: Path) -> Results:
    """The results in a folder.

    Raises:
        Failed: there are none, or the file is not of the form that `write` gives it.
    """
    path = folder / "results.json"
    fix = "name the folder that 'dcfm-node experiment run' wrote"
    try:
        document = json.loads(read_bounded(path, MAX_BYTES))
    except FileNotFoundError as error:
        raise Failed("there are no results", where=str(path), fix=fix) from error
    except OSError as error:
        raise Failed(f"cannot be read: {error.strerror}", where=str(path), fix=fix) from error
    except (ValueError, RecursionError) as error:
        raise Failed(f"is not JSON: {error}", where=str(path), fix=fix) from error
    if not isinstance(document, dict) or document.pop("schema", None) != SCHEMA:
        raise Failed(f"is not of the form {SCHEMA}", where=str(path), fix="run it again")
    return _formed(Results, document, str(path))


def read_row(path: Path) -> Row:
    """A row that a trial kept.

    Raises:
        Failed: it is missing, or not one.
    """
    try:
        document = json.loads(read_bounded(path, MAX_BYTES))["row"]
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise Failed(f"a row is missing: {error}", where=str(path)) from error
    return _formed(Row, document, str(path))


def kept_row(path: Path, made_from: object) -> Row | None:
    """A row that an earlier run of the same code and settings kept; None where it has to be made:
    there is none, of another origin, or it is damaged."""
    try:
        document = json.loads(read_bounded(path, MAX_BYTES))
        found = document["made_from"] == made_from
        return _formed(Row, document["row"], str(path)) if found else None
    except (OSError, KeyError, TypeError, ValueError, RecursionError, Failed):
        return None


def _formed(kind: type[AnyForm], document: object, where: str) -> AnyForm:
    """The document as this dataclass, every field of its type.

    Raises:
        Failed: naming the first field that is not.
    """
    try:
        return TypeAdapter(kind).validate_python(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "it"
        what = f"{field:.80}: {first['msg']}"
        raise Failed(what, where=where, fix="run the experiment again") from None


def spread(rows: Sequence[Row], metric: str, variant: str | None = None) -> tuple[float, float]:
    """Mean and standard deviation (of a sample; 0 for one seed) over rows that have the metric."""
    found = [
        metrics[metric]
        for metrics in (
            row.metrics if variant is None else row.variants.get(variant, {}) for row in rows
        )
        if metric in metrics
    ]
    if not found:
        return float("nan"), float("nan")
    return float(np.mean(found)), float(np.std(found, ddof=1)) if len(found) > 1 else 0.0


def save_samples(path: Path, shown: Samples, space: Space) -> None:
    """Samples to look at, beside the row they belong to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    attributes = [(attribute.name, attribute.values) for attribute in space.attributes]
    said = {"attributes": attributes, "held_out": space.held_out}
    np.savez_compressed(
        path,
        x=shown.x.astype(np.float16),
        c=shown.c.astype(np.int16),
        space=np.array(json.dumps(said)),
    )


def load_samples(path: Path) -> tuple[Samples, Space]:
    """Undo `save_samples`.

    Raises:
        OSError, BadZipFile, ValueError, LookupError: it is not what that wrote.
    """
    with open_regular(path, MAX_SAMPLES_BYTES) as packed:
        with ZipFile(packed) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MAX_SAMPLES_BYTES:
            raise ValueError(f"it unpacks to {unpacked} bytes, {MAX_SAMPLES_BYTES} at most")
        packed.seek(0)
        with np.load(packed, allow_pickle=False) as file:
            x, c, said = file["x"], file["c"], json.loads(str(file["space"]))
    space = Space(
        tuple(Attribute(name=n, values=tuple(values)) for n, values in said["attributes"]),
        tuple(tuple(label) for label in said["held_out"]),
    )
    return Samples(x.astype(np.float32), c.astype(np.int64)), space


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
    with replacing(path) as scratch:
        scratch.write_text(json.dumps(document, indent=1) + "\n")


def _processor() -> str:
    try:
        lines = read_bounded(Path("/proc/cpuinfo"), MAX_BYTES).decode().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
