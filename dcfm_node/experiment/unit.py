"""One partition with one seed: every method trained, sampled and measured, in a process of its own.

`python -m dcfm_node.experiment.unit` reads one `Order` as JSON on stdin and tells its progress as
JSON lines on stdout. Killed at any instant, it goes on where it stopped: what is trained and what
is measured is kept, addressed by all that it was made from.
"""

import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from dcfm_node.errors import UserError
from dcfm_node.experiment import methods, modes, settings
from dcfm_node.experiment.coloured_mnist import check_folder, coloured_mnist
from dcfm_node.experiment.judge import image_judge
from dcfm_node.experiment.lab import Lab, code
from dcfm_node.experiment.results import Metrics, Row, kept_row, save_samples, write_json
from dcfm_node.experiment.settings import Experiment, FilePath, MethodName, Rule
from dcfm_node.experiment.task import Judge, Labelled, Task, queries
from dcfm_node.records.base import Model
from dcfm_node.wire.canonical import sha256

NOISE_SEED = 1_234
TELL_S = 0.3
SHOWN = {"modes": 150, "images": 4}
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
    more: tuple[str, ...] = ()


Line = Progress | Measured | Broken


class Unit:
    """Carries out an order."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._settings = settings.load(order.experiment, order.preset)
        self._device = device_of(order.device)
        if order.threads:
            torch.set_num_threads(order.threads)
        self._told_at = 0.0
        self._method, self._done = "", 0

    def run(self) -> None:
        """Do all methods, in the order of the settings."""
        self._tell("data and judge", 0.0)
        task, judge = pose(self._settings, self._order, self._device)
        for name, (method, given) in self._settings.lineup.items():
            self._method = name
            path = self._path("rows", name, "json")
            made_from = self._made_from(method, given)
            if kept_row(path, made_from) is None:
                row = self._row(name, method, given, task, judge)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path, {"made_from": made_from, "row": asdict(row)})
            self._done += 1
            tell(Measured(method=name, done=self._done))

    def _row(
        self, name: str, method: MethodName, given: Experiment, task: Task, judge: Judge
    ) -> Row:
        manifest = given.manifest(task, self._order.seed)
        lab = Lab(manifest, task, self._order.out / "trained", self._device, self._progress)
        fitted = methods.fit(method, lab, given)
        rule, found = methods.rule(given, method), {}
        for variant, draw in fitted.variants.items():
            self._tell(f"sample {variant}", 0.0)
            found[variant], shown = measure(draw, task, judge, given)
            if variant == rule:
                save_samples(self._path("samples", name, "npz"), shown, task.space)
        return Row(
            method=name,
            partition=self._order.partition,
            seed=self._order.seed,
            rule=rule,
            metrics=found[rule],
            variants=found,
            rounds=self._curve(fitted, rule, task, judge) if given.curves else [],
            cost=fitted.cost,
        )

    def _curve(self, fitted: methods.Fitted, rule: Rule, task: Task, judge: Judge) -> list[Metrics]:
        """Cost so far and metrics after every round."""
        curve = []
        for round_ in fitted.rounds:
            self._tell(f"sample round {round_.number}", 0.0)
            found, _ = measure(round_.variants[rule], task, judge, self._settings)
            curve.append({"round": float(round_.number), **round_.cost, **found})
        return curve

    def _path(self, folder: str, method: str, suffix: str) -> Path:
        order = self._order
        return order.out / folder / f"{order.partition}-{order.seed}-{method}.{suffix}"

    def _made_from(self, method: str, given: Experiment) -> str:
        order = self._order
        document = given.model_dump_json(exclude={"methods", "scheme", "seeds", "title", "paper"})
        parts = (document, method, order.partition, str(order.seed), str(order.data))
        return sha256(code("data", "flow", "experiment"), *(part.encode() for part in parts)).hex()

    def _progress(self, what: str, done: int, total: int) -> None:
        if time.monotonic() - self._told_at >= TELL_S:
            self._tell(what, done / total)

    def _tell(self, what: str, share: float) -> None:
        self._told_at = time.monotonic()
        total = len(self._settings.lineup)
        tell(Progress(method=self._method, what=what, share=share, done=self._done, total=total))


def pose(given: Experiment, order: Order, device: torch.device) -> tuple[Task, Judge]:
    """The order's task, and who judges samples of it."""
    if given.images is None:
        posed = given.posed[order.partition]
        task = modes.pose(posed, given.each, order.seed)
        return task, modes.ModesJudge(posed, order.seed)
    images = given.images
    dataset = coloured_mnist(check_folder(order.data), images.size, images.per_combination)
    task = dataset.task(
        "iid" if order.partition == "iid" else "noniid",
        order.seed,
        silos=images.silos,
        concentration=images.concentration,
    )
    return task, image_judge(task, order.out / "judge", images.inception, device)


def measure(
    draw: methods.Draw, task: Task, judge: Judge, given: Experiment
) -> tuple[Metrics, Labelled]:
    """Known and novel metrics of one way of sampling, and samples to look at.

    Metrics are named `known_accuracy`, `novel_accuracy`, and else `NAME_known`, `NAME_novel`.
    """
    found: Metrics = {}
    shown = []
    kept = SHOWN["modes" if given.images is None else "images"]
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


def device_of(wish: str) -> torch.device:
    """What "auto", "cpu" or "cuda" means on this machine.

    Raises:
        UserError: another word, or CUDA where there is none.
    """
    here = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    if wish == "auto":
        return torch.device(here[-1])
    if wish not in here:
        raise UserError(
            f"there is no device {wish!r} here", fix=f"give --device {' or '.join(('auto', *here))}"
        )
    return torch.device(wish)


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
        tell(Broken(what=error.what, where=error.where, fix=error.fix, more=error.more))
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
