"""One problem with one seed: a model for each weight and place in t, and what its draws are."""

import time
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch

from dcfm_node.domains.base import Split, queries
from dcfm_node.experiment.lab import Lab, code
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
from dcfm_node.experiment.penalty.problems import dependence, make
from dcfm_node.experiment.penalty.settings import WINDOWS, Penalty
from dcfm_node.experiment.results import Row, kept_row, write_json
from dcfm_node.experiment.strangers.defaults import manifest_of
from dcfm_node.experiment.strangers.measure import measure
from dcfm_node.flow.losses import Penalty as PenaltyRows
from dcfm_node.flow.sampling import sample
from dcfm_node.flow.sources import BatchSampler, PathSample, all_live
from dcfm_node.flow.stages import points_of, run_stage
from dcfm_node.flow.trainer import Callbacks
from dcfm_node.samples import Samples
from dcfm_node.wire.canonical import sha256

PRODUCT_SHARE = 0.5
"""Part of the penalty's labels from the product space, so that novel combinations have it too."""


@dataclass(frozen=True)
class Windowed(BatchSampler):
    """Rows of a stage whose penalty acts in a window of t alone, at unchanged weight there."""

    window: tuple[float, float] = WINDOWS["all"]

    def penalty(self, points: PathSample, generator: torch.Generator) -> PenaltyRows | None:
        """Outside the window all four labels are the same, so that Eq. 10 of DCFM gives 0."""
        rows = super().penalty(points, generator)
        if rows is None:
            return None
        inside = ((rows.t >= self.window[0]) & (rows.t < self.window[1])).cpu()
        same = rows.terms[:, :1].expand_as(rows.terms)
        return replace(rows, terms=torch.where(inside[:, None, None], rows.terms, same))


class PenaltyTrial:
    """Runs the trial of a specification; its partition is the problem's name."""

    def __init__(self, spec: TrialSpec, given: Penalty) -> None:
        self._spec, self._given = spec, given
        self._device = device_of(spec.device)
        if spec.threads:
            torch.set_num_threads(spec.threads)
        self._problem = make(spec.partition, spec.seed, given)
        self._dependence = dependence(self._problem)
        self._variant, self._done, self._told_at = "", 0, 0.0

    def run(self) -> None:
        """Make the row of every variant that is not on disk."""
        given, spec = self._given, self._spec
        for self._variant in given.lineup(spec.partition):
            name = f"{spec.partition}-{spec.seed}-{self._variant}.json"
            path, made_from = spec.out / "rows" / name, self._made_from()
            if kept_row(path, made_from) is None:
                row = self._row()
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path, {"made_from": made_from, "row": asdict(row)})
            self._done += 1
            tell(Measured(method=self._variant, done=self._done))

    def _row(self) -> Row:
        problem, spec, given = self._problem, self._spec, self._given
        weight, place = given.variants[self._variant]
        folder = spec.out / "work" / f"{problem.name}-{problem.seed}"
        folder.mkdir(parents=True, exist_ok=True)
        blend, _ = given.blends.get(problem.name, (given, 0.0))
        run = manifest_of(problem, folder, blend.share).guided(1.0, 1.0)
        local = run.method.local
        changed = {"ci_weight": weight, "ci_batch": local.batch // 4}
        settings = local.model_copy(update=changed)
        run = run.model_copy(update={"method": run.method.model_copy(update={"seed": spec.seed})})
        split = Split(run.attributes, run.sample_shape, (problem.silo(0),), tuple(problem.novel))
        lab = Lab(run, split, folder, self._device, self._tell)
        train, holdout = (points_of(run, part, self._device) for part in lab.silos[0])
        stage = Windowed(train, all_live, run, settings, PRODUCT_SHARE, window=WINDOWS[place])
        monitor = replace(stage, points=holdout, window=WINDOWS["all"])
        progress = Callbacks(self._device, lambda done, all_, _: self._tell("train", done, all_))
        began = time.process_time()
        trained = run_stage(stage, monitor, None, spec.seed, progress)
        seconds = time.process_time() - began
        metrics = {"dependence": self._dependence, **trained.metrics}
        for kind, asked in (("known", problem.known), ("novel", problem.novel)):
            c = queries(asked, given.each)
            labels = torch.from_numpy(c)
            z = sample(run, trained.weights, labels, seed=NOISE_SEED, device=self._device)
            drawn = Samples(lab.decode(z).numpy(), c)
            metrics |= {named(n, kind): v for n, v in measure(problem, drawn).items()}
        return Row(
            method=self._variant,
            partition=problem.name,
            seed=spec.seed,
            rule="joint",
            metrics={name: value for name, value in metrics.items() if np.isfinite(value)},
            cost={"cpu_seconds": seconds, "steps": trained.metrics["steps"]},
        )

    def _made_from(self) -> str:
        given = self._given.model_dump_json(include={"each", "share", "blend"})
        parts = (given, self._spec.partition, str(self._spec.seed), self._variant)
        rooms = code("config", "data", "domains", "experiment", "records")
        return sha256(rooms, *(part.encode() for part in parts)).hex()

    def _tell(self, what: str, done: int, total: int) -> None:
        if time.monotonic() - self._told_at < TELL_S:
            return
        self._told_at = time.monotonic()
        share, all_ = done / total, len(self._given.lineup(self._spec.partition))
        tell(Progress(method=self._variant, what=what, share=share, done=self._done, total=all_))
