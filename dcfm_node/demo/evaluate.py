"""Evaluates the demo's models on known and novel combinations.

The one part of the demo that needs torch. Every method is asked for each combination equally often,
from the same noise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dcfm_node.api.students import Expected
from dcfm_node.demo.report import percent
from dcfm_node.domains.base import Domain, Evaluator, Split, queries
from dcfm_node.domains.shares import rate
from dcfm_node.domains.space import REAL, Panel
from dcfm_node.flow.codec import codec_of, decoded
from dcfm_node.flow.files import load_weights
from dcfm_node.flow.inpainting import Inpainter
from dcfm_node.flow.networks import Weights
from dcfm_node.flow.sampling import Teacher, sample, sample_routed
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.moments import Scale
from dcfm_node.samples import Floats, Samples
from dcfm_node.swarm.view import View

Rule = Literal["joint", "composed"]

NOISE_SEED = 1_234
THREADS = 1
"""Threads. More save little with small networks, and wait for each other on busy cores."""
RULES: tuple[Rule, ...] = ("joint", "composed")

Accuracy = dict[str, float]
"""`known` and `novel`: share (0 to 1) of samples that show every requested value."""


@dataclass(frozen=True)
class Drawn:
    """Samples for the picture, and whether each of them is right (N,)."""

    samples: Samples
    right: NDArray[np.bool_]


@dataclass(frozen=True)
class Evaluation:
    """Accuracies by method, their details, and samples for the picture.

    Attributes:
        accuracy: method -> known, and novel if there are novel combinations.
        detail: rules, samples, standard errors, and all other candidates.
        best_silo: the silo with the best Stage I expert.
    """

    accuracy: dict[str, Accuracy]
    detail: dict[str, object]
    best_silo: str
    student: Drawn
    single: Drawn


@dataclass(frozen=True)
class Models:
    """What is evaluated. Experts are in roster order."""

    manifest: Manifest
    student: Path
    local: Sequence[Teacher]
    """Stage I."""
    refined: Sequence[Teacher]
    """Of the last round."""
    scale: Scale | None
    codec: Path | None = None


def models(
    view: View, student: bytes, find: Callable[[bytes], Path], codec: Path | None = None
) -> Models:
    """The student, and every silo's first and last expert, from a verified lineage.

    Args:
        student: digest of the student's snapshot.
        find: digest of a snapshot -> its path.
        codec: file of the run's codec, if it has one.
    """

    def teachers(newest: bool) -> list[Teacher]:
        found = []
        for silo in view.manifest.roster:
            rounds = view.experts.get(silo.key, {})
            if not rounds or silo.key not in view.joins:
                continue
            said = rounds[max(rounds) if newest else min(rounds)]
            weights = load_weights(find(said.body.snapshot.digest))
            found.append(Teacher(silo.name, weights, dict(view.joins[silo.key].counts)))
        return found

    return Models(view.manifest, find(student), teachers(False), teachers(True), view.scale, codec)


def evaluate(domain: Domain[Any], split: Split, evaluator: Evaluator, given: Models) -> Evaluation:
    """Sample every method and evaluate the samples."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        return _evaluate(split, given, _Scorer(domain, split, evaluator, given))
    finally:
        torch.set_num_threads(before)


def _evaluate(split: Split, given: Models, score: "_Scorer") -> Evaluation:
    manifest, labels = given.manifest, score.labels
    draw = partial(
        sample, manifest, labels=labels, counts=[e.counts for e in given.refined], seed=NOISE_SEED
    )

    def single(weights: Weights, rule: Rule) -> "_Scored":
        return score(draw(weights, composed=rule == "composed"))

    def routed(experts: Sequence[Teacher], rule: Rule) -> "_Scored":
        return score(sample_routed(manifest, experts, labels, rule=rule, seed=NOISE_SEED))

    draw_student = partial(draw, load_weights(given.student))
    drawn = draw_student()
    student = score(drawn)
    singles = {(e.name, rule): single(e.weights, rule) for e in given.local for rule in RULES}
    independent = {rule: routed(given.local, rule) for rule in RULES}
    experts = routed(given.refined, "composed")
    silo, single_rule = max(singles, key=lambda key: singles[key].overall)
    routing = max(independent, key=lambda rule: independent[rule].overall)
    best = singles[silo, single_rule]
    chosen = {
        "single_silo_best": best,
        "independent_experts": independent[routing],
        "experts": experts,
        "student": student,
    }
    return Evaluation(
        {name: scored.accuracy for name, scored in chosen.items()},
        {
            "of": "samples asked for each combination; right when every asked value is found",
            "samples_per_combination": score.each,
            "redrawn": score.redrawn(drawn, draw_student),
            "together": score.together({name: one.samples for name, one in chosen.items()}),
            "combinations": {"known": len(split.known), "novel": len(split.held_out)},
            "standard_error": {name: scored.errors for name, scored in chosen.items()},
            "single_silo_best": {
                "rule": "Stage I experts, each with either sampling rule; best mean accuracy",
                "silo": silo,
                "sampling": single_rule,
                "candidates": [
                    {"silo": name, "sampling": rule} | scored.accuracy
                    for (name, rule), scored in singles.items()
                ],
            },
            "independent_experts": {
                "rule": "Stage I experts routed by label counts; the better of both rules",
                "sampling": routing,
                "candidates": {rule: scored.accuracy for rule, scored in independent.items()},
            },
            "experts": {"rule": "last experts, marginal terms routed by label counts (Eq. 5)"},
            "student": {"sampling": "composed" if manifest.method.composed else "joint"},
        },
        silo,
        student.shown,
        best.shown,
    )


@dataclass(frozen=True)
class _Scored:
    samples: Samples
    accuracy: Accuracy
    errors: Accuracy
    overall: float
    shown: Drawn


class _Scorer:
    """Samples every combination equally often, and scores the samples."""

    def __init__(
        self, domain: Domain[Any], split: Split, evaluator: Evaluator, given: Models
    ) -> None:
        self.each, self._shown, self._evaluator = domain.each, domain.shown, evaluator
        self._scale, self._codec = given.scale, codec_of(given.manifest, given.codec)
        known = split.known
        self._known = len(known) * self.each
        self._asked = queries([*known, *split.held_out], self.each)
        self.labels = torch.from_numpy(self._asked)

    def __call__(self, x: Tensor) -> _Scored:
        samples = self._samples(x)
        right = self._evaluator.right(samples)
        parts = {"known": rate(right[: self._known])}
        if self._known < len(right):
            parts["novel"] = rate(right[self._known :])
        accuracy, errors = (
            {name: round(share[place], 4) for name, share in parts.items()} for place in (0, 1)
        )
        # Always the first ones, without selection.
        keep = np.arange(len(samples)) % self.each < self._shown
        shown = Drawn(samples[keep], right[keep])
        return _Scored(samples, accuracy, errors, right.mean(), shown)

    def together(self, drawn: Mapping[str, Samples]) -> dict[str, dict[str, float]]:
        """Metrics of all samples of a method -> by method; empty for most domains."""
        found = {name: self._evaluator.measure_together(samples) for name, samples in drawn.items()}
        return {
            name: {metric: round(value, 4) for metric, value in of.items()}
            for name, of in found.items()
            if of
        }

    def redrawn(self, x: Tensor, draw: Callable[..., Tensor]) -> dict[str, Accuracy]:
        """Metrics that need the model itself -> known, novel; empty for most domains.

        Args:
            x: what the model drew.
            draw: draws it again; `given` are numbers of the samples that are given.
        """

        @cache
        def inpainter() -> Inpainter:
            return Inpainter(self._decode, x, self.labels)

        def again(rows: slice, mask: NDArray[np.bool_], values: Floats) -> Floats:
            # The noise is that of all samples, so that the others are drawn too.
            whole = np.zeros((len(self._asked), *values.shape[1:]), np.float32)
            whole[rows] = values
            given = inpainter().given(torch.from_numpy(mask), torch.from_numpy(whole))
            return np.asarray(self._samples(draw(given=given)).x[rows])

        samples, found = self._samples(x), dict[str, Accuracy]()
        for kind, rows in (
            ("known", slice(self._known)),
            ("novel", slice(self._known, len(samples))),
        ):
            redraw = partial(again, rows)
            for name, share in self._evaluator.measure_redrawn(samples[rows], redraw).items():
                found.setdefault(name, {})[kind] = round(share, 4)
        return found

    def _samples(self, x: Tensor) -> Samples:
        return Samples(self._decode(x).numpy(), self._asked)

    def _decode(self, x: Tensor) -> Tensor:
        return decoded(self._codec, x, self._scale)


def panels(split: Split, found: Evaluation, expected: Expected) -> list[Panel]:
    """Panels of report.png: samples of the student beside those of the best single silo.

    Args:
        expected: what the silos announced of the student.
    """
    said = f"\n(the silos expected {percent(expected.novel)} there)"
    texts = (
        (f"One student of {len(split.silos)} silos", "student", found.student, said),
        (f"The best silo alone: {found.best_silo}", "single_silo_best", found.single, ""),
    )
    made = []
    if split.shown is not None:
        made.append(Panel(REAL, split.shown))
    for title, method, drawn, more in texts:
        share = found.accuracy[method]
        told = f"{share['known']:.0%} right where some silo saw it"
        if "novel" in share:
            told += f", {share['novel']:.0%} where none"
        made.append(Panel(title, drawn.samples, told + more, drawn.right))
    return made
