"""One problem with one seed: trains it by the defaults, draws samples and asks the judge."""

import shutil
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from dcfm_node.domains.base import queries
from dcfm_node.domains.space import Space
from dcfm_node.experiment.lab import code
from dcfm_node.experiment.lines import (
    NOISE_SEED,
    TELL_S,
    Measured,
    Progress,
    TrialSpec,
    device_of,
    named,
    tell,
)
from dcfm_node.experiment.results import Metrics, Row, kept_row, save_samples, write_json
from dcfm_node.experiment.strangers import suite
from dcfm_node.experiment.strangers.course import ROOMS, Course
from dcfm_node.experiment.strangers.defaults import manifest_of
from dcfm_node.experiment.strangers.files import write
from dcfm_node.experiment.strangers.measure import measure
from dcfm_node.experiment.strangers.settings import DEFAULTS, Strangers
from dcfm_node.samples import Samples
from dcfm_node.wire.canonical import sha256

SHOWN = 8
"""Samples of every combination that are kept for the picture."""


class StrangerTrial:
    """Runs the trial of a specification; its partition is the problem's name."""

    def __init__(self, spec: TrialSpec, given: Strangers) -> None:
        self._spec, self._given = spec, given
        self._device = device_of(spec.device)
        if spec.threads:
            torch.set_num_threads(spec.threads)
        self._problem = suite.make(spec.partition, spec.seed)
        known, novel = self._problem.known, self._problem.novel
        self._asked = queries([*known, *novel], given.each)
        self._known = len(known) * given.each
        self._told_at = 0.0

    def run(self) -> None:
        """Make the row of the problem, unless it is on disk."""
        path, made_from = self._path("rows", "json"), self._made_from()
        if kept_row(path, made_from) is None:
            row = self._row()
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {"made_from": made_from, "row": asdict(row)})
        tell(Measured(method=DEFAULTS, done=1))

    def _row(self) -> Row:
        course = self._course(
            self._spec.out / "work" / f"{self._problem.name}-{self._problem.seed}"
        )
        ended = course.run()
        rounds: list[Metrics] = []
        for student in ended.students:
            self._tell(f"sample round {student.round}", 0.0)
            drawn = self._drawn(course, student.weights)
            cost = {"round": float(student.round), "cpu_seconds": student.seconds}
            rounds.append(cost | self._measured(drawn))
        shown = drawn[np.arange(len(drawn)) % self._given.each < SHOWN]
        space = Space(self._problem.attributes, tuple(self._problem.novel))
        save_samples(self._path("samples", "npz"), shown, space)
        expected = {"known": ended.announced.known, "novel": ended.announced.novel}
        said = {f"announced_{kind}": of.value for kind, of in expected.items() if of is not None}
        if "announced_novel" in said:
            said["announced_error"] = abs(said["announced_novel"] - rounds[-1]["novel_accuracy"])
        metrics = self._measured(drawn) | said
        last = ended.students[-1].weights
        others = {
            rule: self._measured(self._drawn(course, last, composed=rule == "composed"))
            for rule in ("joint", "composed")
        }
        return Row(
            method=DEFAULTS,
            partition=self._problem.name,
            seed=self._problem.seed,
            rule=DEFAULTS,
            metrics=metrics,
            variants={DEFAULTS: metrics, **others},
            rounds=rounds,
            cost={"cpu_seconds": ended.seconds, "rounds": float(len(rounds))},
        )

    def _course(self, folder: Path) -> Course:
        """The silos with their files, as sites would have them."""
        self._tell("data", 0.0)
        shutil.rmtree(folder / "data", ignore_errors=True)
        data = write(self._problem, folder / "data")
        manifest = manifest_of(self._problem, folder, self._given.share)
        return Course(manifest, data, folder / "jobs", self._device, self._tell)

    def _drawn(self, course: Course, weights: Path, composed: bool | None = None) -> Samples:
        x = course.draw(weights, self._asked, NOISE_SEED, composed)
        return Samples(x, self._asked)

    def _measured(self, drawn: Samples) -> Metrics:
        """Metrics of known and of novel combinations."""
        parts = {"known": drawn[: self._known], "novel": drawn[self._known :]}
        return {
            named(name, kind): value
            for kind, part in parts.items()
            for name, value in measure(self._problem, part).items()
        }

    def _path(self, folder: str, suffix: str) -> Path:
        name = f"{self._problem.name}-{self._problem.seed}-{DEFAULTS}.{suffix}"
        return self._spec.out / folder / name

    def _made_from(self) -> str:
        given = self._given.model_dump_json(include={"each", "share"})
        parts = (given, self._problem.name, str(self._problem.seed))
        rooms = code(*ROOMS, "config", "experiment")
        return sha256(rooms, *(part.encode() for part in parts)).hex()

    def _tell(self, what: str, share: float) -> None:
        if time.monotonic() - self._told_at < TELL_S:
            return
        self._told_at = time.monotonic()
        tell(Progress(method=DEFAULTS, what=what, share=share, done=0, total=1))
