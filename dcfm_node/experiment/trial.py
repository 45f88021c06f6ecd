"""A trial: trains, samples and measures every method on one partition with one seed."""

import time
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dcfm_node import plugins
from dcfm_node.domains.base import Evaluator, Split, queries
from dcfm_node.domains.fitting import Fitted, fit_codec
from dcfm_node.experiment import methods, settings
from dcfm_node.experiment.choice import Way, closest, distances
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
from dcfm_node.experiment.membership import membership
from dcfm_node.experiment.results import Metrics, Row, kept_row, save_samples, write_json
from dcfm_node.experiment.settings import Experiment, MethodName
from dcfm_node.flow.inpainting import BANK_SEED, Inpainter, bank
from dcfm_node.samples import Floats, Labels, Samples, joined, unit
from dcfm_node.wire.canonical import sha256


class Trial:
    """Runs the trial of a specification."""

    def __init__(self, spec: TrialSpec) -> None:
        self._spec = spec
        self._settings = settings.load(spec.experiment, spec.preset)
        self._problem, self._partition = self._settings.posed[spec.partition]
        self._device = device_of(spec.device)
        if spec.threads:
            torch.set_num_threads(spec.threads)
        self._told_at = 0.0
        self._method, self._done = "", 0

    def run(self) -> None:
        """Run all methods, in the order of the settings."""
        self._tell("data and evaluator", 0.0)
        spec = self._spec
        split = self._problem.split(self._partition, spec.seed, spec.data)
        evaluator = self._problem.made.evaluator(
            split,
            folder=spec.out / "judge",
            seed=spec.seed,
            device=str(self._device),
            features=self._settings.inception,
        )
        codec = self._codec()
        if split.shown is not None:
            rows = first_rows(split.shown.c, self._problem.made.shown)
            place = spec.out / "samples" / f"{spec.partition}-{spec.seed}.npz"
            save_samples(
                place, Samples(unit(split.shown.x[rows]), split.shown.c[rows]), split.space
            )
        for name, (method, given) in self._settings.lineup.items():
            self._method = name
            path = self._path("rows", name, "json")
            made_from = self._made_from(method, given)
            if kept_row(path, made_from) is None:
                row = self._row(name, method, given, split, evaluator, codec=codec)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path, {"made_from": made_from, "row": asdict(row)})
            self._done += 1
            tell(Measured(method=name, done=self._done))

    def _codec(self) -> Fitted | None:
        """The codec that the experiment fits, if it fits one."""
        if (wish := self._settings.fit) is None:
            return None
        public, folder = self._problem.made.public(self._spec.data), self._spec.out / "judge"
        return fit_codec(public.x, wish, folder, partial(self._progress, "codec"))

    def _row(
        self,
        name: str,
        method: MethodName,
        given: Experiment,
        split: Split,
        evaluator: Evaluator,
        *,
        codec: Fitted | None,
    ) -> Row:
        manifest = given.manifest(split, self._spec.seed)
        if codec is not None:
            manifest = manifest.model_copy(update={"codec": codec.section})
        file, folder = codec and codec.file, self._spec.out / "trained"
        lab = Lab(manifest, split, folder, self._device, self._progress, codec=file)
        fitted = methods.fit(method, lab, given)
        compared: dict[Way, float] = {}
        if given.guidance is not None:
            compared = distances(fitted.variants, given.guidance, lab, evaluator, self._tell)
        chosen = closest(compared) if compared else Way(given.rule(method))
        found: dict[str, Metrics] = {}
        for way in dict.fromkeys([*map(Way, fitted.variants), chosen]):
            self._tell(f"sample {way.name}", 0.0)
            draw = partial(fitted.variants[way.variant], way.of(manifest))
            found[way.name], shown = self._measure(draw, lab, evaluator, given, again=way == chosen)
            if way == chosen:
                save_samples(self._path("samples", name, "npz"), shown, split.space)
        if given.membership:
            self._tell("membership", 0.0)
            found[chosen.name] |= membership(fitted, lab)
        return Row(
            method=name,
            partition=self._spec.partition,
            seed=self._spec.seed,
            rule=chosen.name,
            metrics=found[chosen.name],
            variants=found,
            rounds=self._curve(fitted, chosen, lab, evaluator) if given.curves else [],
            cost=fitted.cost,
            compared={way.name: distance for way, distance in compared.items()},
        )

    def _curve(
        self,
        fitted: methods.Fitted,
        way: Way,
        lab: Lab,
        evaluator: Evaluator,
    ) -> list[Metrics]:
        """Cost so far and metrics after every round."""
        curve = []
        for round_ in fitted.rounds:
            self._tell(f"sample round {round_.number}", 0.0)
            draw = partial(round_.variants[way.variant], way.of(lab.manifest))
            found, _ = self._measure(draw, lab, evaluator, self._settings)
            curve.append({"round": float(round_.number), **round_.cost, **found})
        return curve

    def _measure(
        self,
        draw: partial[Tensor],
        lab: Lab,
        evaluator: Evaluator,
        given: Experiment,
        *,
        again: bool = False,
    ) -> tuple[Metrics, Samples]:
        """Known and novel metrics of one way of sampling, and samples for the picture.

        Metrics are `known_accuracy`, `novel_accuracy`, and `NAME_known`, `NAME_novel` for others;
        `samples` is their number, `drawing_s` the process seconds that each took.

        Args:
            draw: the method, with its manifest.
            again: whether the evaluator may draw the samples again, which takes longer.
        """
        found: Metrics = {}
        drawn, shown, split = [], [], lab.split
        for kind, combinations in (("known", split.known), ("novel", list(split.held_out))):
            if not combinations:
                continue
            c = queries(combinations, given.each)
            labels, began = torch.from_numpy(c), time.process_time()
            samples = Samples(lab.decode(draw(labels, NOISE_SEED)).numpy(), c)
            drawing_s = (time.process_time() - began) / len(c)
            measured = {"samples": float(len(c)), "drawing_s": drawing_s}
            measured |= evaluator.measure(samples)
            if again:
                measured |= evaluator.measure_redrawn(samples, _Redraw(draw, lab, labels))
            found |= {named(name, kind): value for name, value in measured.items()}
            drawn.append(samples)
            shown.append(samples[np.arange(len(c)) % given.each < self._problem.made.shown])
        if again:
            found |= evaluator.measure_together(joined(drawn))
        return found, joined(shown)

    def _path(self, folder: str, method: str, suffix: str) -> Path:
        spec = self._spec
        return spec.out / folder / f"{spec.partition}-{spec.seed}-{method}.{suffix}"

    def _made_from(self, method: str, given: Experiment) -> str:
        spec = self._spec
        document = given.model_dump_json(exclude={"methods", "scheme", "seeds", "title", "paper"})
        origin = plugins.origin("domains", self._problem.domain.kind)
        parts = (document, method, spec.partition, str(spec.seed), str(spec.data), str(origin))
        return sha256(
            code("data", "domains", "experiment"), *(part.encode() for part in parts)
        ).hex()

    def _progress(self, what: str, done: int, total: int) -> None:
        if time.monotonic() - self._told_at >= TELL_S:
            self._tell(what, done / total)

    def _tell(self, what: str, share: float) -> None:
        self._told_at = time.monotonic()
        total = len(self._settings.lineup)
        tell(Progress(method=self._method, what=what, share=share, done=self._done, total=total))


class _Redraw:
    """Draws samples with labels c again, from the same noise, with some numbers given."""

    def __init__(self, draw: partial[Tensor], lab: Lab, c: Tensor) -> None:
        self._draw, self._lab, self._c = draw, lab, c

    @cached_property
    def _inpainter(self) -> Inpainter:
        split = self._lab.split
        labels = bank([*split.known, *split.held_out])
        return Inpainter(self._lab.decode, self._draw(labels, BANK_SEED), labels)

    def __call__(self, mask: NDArray[np.bool_], values: Floats) -> Floats:
        given = self._inpainter.given(torch.from_numpy(mask), torch.from_numpy(values))
        x = self._lab.decode(self._draw(self._c, NOISE_SEED, given=given))
        return np.asarray(x.numpy())


def first_rows(c: Labels, each: int) -> Labels:
    """The first `each` rows of every combination of labels (N, n)."""
    kinds, of = np.unique(c, axis=0, return_inverse=True)
    return np.concatenate([np.flatnonzero(of == kind)[:each] for kind in range(len(kinds))])
