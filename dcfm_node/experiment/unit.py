"""One partition with one seed: every method trained, sampled and measured, in a process of its own.

`python -m dcfm_node.experiment.unit` reads one `Order` as JSON on stdin and tells its progress as
JSON lines on stdout. Killed at any instant, it goes on where it stopped: what is trained and what
is measured is kept, addressed by all that it was made from.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter

from dcfm_node.errors import UserError
from dcfm_node.experiment import methods, modes, settings
from dcfm_node.experiment.lab import Lab
from dcfm_node.experiment.results import Metrics, Row, save_samples, write_json
from dcfm_node.experiment.settings import Experiment, FilePath, MethodName
from dcfm_node.experiment.task import Judge, Labelled, Task, queries
from dcfm_node.records.base import Model
from dcfm_node.wire.canonical import sha256

ROOT = Path(__file__).parents[1]
NOISE_SEED = 1_234
TELL_S = 0.3
SHOWN = {"geometry": 150, "images": 4}
"""Samples per combination that are kept to look at."""


class Order(Model):
    """What a unit is to do."""

    experiment: str
    preset: str
    partition: str
    seed: int
    out: FilePath
    data: FilePath | None = None
    device: str = "auto"
    threads: Annotated[int, Field(ge=0)] = 1


class Progress(Model):
    """What is being done, and how far it is; `done` of `total` methods are finished."""

    event: Literal["progress"] = "progress"
    method: str
    what: str
    share: float
    done: int
    total: int


class Measured(Model):
    """A row is on disk."""

    event: Literal["measured"] = "measured"
    method: str
    done: int


class Broken(Model):
    """The unit cannot go on; the operator must act."""

    event: Literal["broken"] = "broken"
    what: str
    where: str
    fix: str


Line = Progress | Measured | Broken
LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="event")])


class Unit:
    """Carries out an order."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._settings = settings.load(order.experiment, order.preset)
        self._device = _device(order.device)
        if order.threads:
            torch.set_num_threads(order.threads)
        self._told_at = 0.0
        self._method, self._done = "", 0

    def run(self) -> None:
        """Do all methods, in the order of the settings."""
        self._tell("data and judge", 0.0)
        task, judge = pose(self._settings, self._order)
        manifest = self._settings.manifest(task.sample_shape, len(task.silos), self._order.seed)
        lab = Lab(manifest, task, self._order.out / "trained", self._device, self._progress)
        for method in self._settings.methods:
            self._method = method
            path = self._path("rows", method, "json")
            made_from = self._made_from(method)
            if not (path.exists() and json.loads(path.read_text())["made_from"] == made_from):
                row = self._row(method, lab, task, judge)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path, {"made_from": made_from, "row": asdict(row)})
            self._done += 1
            tell(Measured(method=method, done=self._done))

    def _row(self, method: MethodName, lab: Lab, task: Task, judge: Judge) -> Row:
        fitted = methods.fit(method, lab, self._settings)
        rule, found = methods.rule(self._settings, method), {}
        for name, draw in fitted.variants.items():
            self._tell(f"sample {name}", 0.0)
            found[name], shown = measure(draw, task, judge, self._settings)
            if name == rule:
                save_samples(self._path("samples", method, "npz"), shown)
        parameters = sum(t.numel() for t in lab.local()[0].weights.values())
        return Row(
            method=method,
            partition=self._order.partition,
            seed=self._order.seed,
            rule=rule,
            metrics=found[rule],
            variants=found,
            cost={
                "cpu_seconds": fitted.seconds,
                "trainings": float(fitted.pieces),
                "parameters": float(parameters),
            },
        )

    def _path(self, folder: str, method: str, suffix: str) -> Path:
        order = self._order
        return order.out / folder / f"{order.partition}-{order.seed}-{method}.{suffix}"

    def _made_from(self, method: str) -> str:
        order = self._order
        document = self._settings.model_dump_json(exclude={"methods", "seeds", "title", "paper"})
        parts = (document, method, order.partition, str(order.seed), str(order.data))
        return sha256(_code(), *(part.encode() for part in parts)).hex()

    def _progress(self, what: str, done: int, total: int) -> None:
        if time.monotonic() - self._told_at >= TELL_S:
            self._tell(what, done / total)

    def _tell(self, what: str, share: float) -> None:
        self._told_at = time.monotonic()
        total = len(self._settings.methods)
        tell(Progress(method=self._method, what=what, share=share, done=self._done, total=total))


def pose(given: Experiment, order: Order) -> tuple[Task, Judge]:
    """The order's task, and who judges samples of it."""
    task = modes.pose(given, order.partition, order.seed)
    return task, modes.ModesJudge(given, order.seed)


def measure(
    draw: methods.Draw, task: Task, judge: Judge, given: Experiment
) -> tuple[Metrics, Labelled]:
    """Known and novel metrics of one way of sampling, and samples to look at.

    Metrics are named `known_accuracy`, `novel_accuracy`, and else `NAME_known`, `NAME_novel`.
    """
    found: Metrics = {}
    shown = []
    kept = SHOWN["geometry" if given.geometry is not None else "images"]
    for kind, combinations in (("known", task.known), ("novel", list(task.held_out))):
        c = queries(combinations, given.each)
        x = draw(torch.from_numpy(c), NOISE_SEED).numpy()
        found |= {_named(name, kind): value for name, value in judge.measure(x, c).items()}
        place = np.arange(len(c)) % given.each < kept
        shown.append(Labelled(x[place], c[place]))
    return found, Labelled(*(np.concatenate(part) for part in zip(*map(_pair, shown), strict=True)))


def tell(line: Line) -> None:
    """One line to whoever ordered."""
    sys.stdout.write(line.model_dump_json() + "\n")
    sys.stdout.flush()


def _pair(samples: Labelled) -> Sequence[NDArray[Any]]:
    return samples.x, samples.c


def _named(name: str, kind: str) -> str:
    return f"{kind}_{name}" if name.endswith("accuracy") else f"{name}_{kind}"


def _device(wish: str) -> torch.device:
    if wish == "auto":
        wish = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wish)


@cache
def _code() -> bytes:
    """Digest of the code that a row depends on."""
    files = [f for room in ("flow", "experiment") for f in (ROOT / room).glob("*.py")]
    return sha256(*(path.read_bytes() for path in sorted(files)))


def _end_with_parent() -> None:
    """The end of stdin is the end of whoever ordered."""
    sys.stdin.read()
    os._exit(1)


def main() -> None:
    """Read the order, carry it out; exit code 2 where the operator must act."""
    order = Order.model_validate_json(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        Unit(order).run()
    except UserError as error:
        tell(Broken(what=error.what, where=error.where, fix=error.fix))
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
