"""What the demo's models can draw, for combinations that some silo saw and for those none did.

The one part of the demo that needs torch. Every method is asked for each combination equally often,
from the same noise.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dcfm_node.data.builtin import Combination, Domain
from dcfm_node.demo.judge import correct, queries
from dcfm_node.flow.files import load_weights
from dcfm_node.flow.sampling import Teacher, sample, sample_routed
from dcfm_node.records.manifest import Manifest
from dcfm_node.swarm.view import View

EACH = {"digits": 40, "gaussians": 500}
"""Samples per combination: a standard error below 0.02 on the smaller set of combinations."""
NOISE_SEED = 1_234
THREADS = 1
"""More threads save little on nets this small, and wait for each other where cores are busy."""
SHOWN = {"digits": 1, "gaussians": 300}
"""Samples per combination that the picture shows."""
RULES: tuple[Literal["joint", "composed"], ...] = ("joint", "composed")

Accuracy = dict[str, float]
"""`known` and `novel`: share of samples that show every asked value."""


@dataclass(frozen=True)
class Drawn:
    """Samples for the picture: x (N, *sample_shape), c (N, n), and whether each is right (N,)."""

    x: NDArray[np.float32]
    c: NDArray[np.int64]
    right: NDArray[np.bool_]


@dataclass(frozen=True)
class Evaluation:
    """Accuracies by method, how they came about, and samples to look at.

    Attributes:
        accuracy: method -> known, novel.
        detail: rules, samples, standard errors, and every candidate that was not chosen.
        best_silo: whose Stage I expert alone did best.
    """

    accuracy: dict[str, Accuracy]
    detail: dict[str, object]
    best_silo: str
    student: Drawn
    single: Drawn


@dataclass(frozen=True)
class Models:
    """What is judged. Experts are in roster order."""

    manifest: Manifest
    student: Path
    local: Sequence[Teacher]
    """Stage I."""
    refined: Sequence[Teacher]
    """Of the last round."""


def models(view: View, student: bytes, find: Callable[[bytes], Path]) -> Models:
    """The student, and every silo's first and last expert, from a verified lineage.

    Args:
        student: digest of the student's snapshot.
        find: where the snapshot of a digest lies.
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

    return Models(view.manifest, find(student), teachers(False), teachers(True))


def evaluate(domain: Domain, given: Models) -> Evaluation:
    """Sample every method and judge what it drew."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        return _evaluate(domain, given, _Judge(domain, given.manifest))
    finally:
        torch.set_num_threads(before)


def _evaluate(domain: Domain, given: Models, judge: "_Judge") -> Evaluation:
    manifest = given.manifest
    student = judge(sample(manifest, load_weights(given.student), judge.labels, seed=NOISE_SEED))
    singles = {
        (expert.name, rule): judge(
            sample(
                manifest,
                expert.weights,
                judge.labels,
                composed=rule == "composed",
                seed=NOISE_SEED,
            )
        )
        for expert in given.local
        for rule in RULES
    }
    independent = {rule: judge.routed(given.local, rule) for rule in RULES}
    experts = judge.routed(given.refined, "composed")
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
            "samples_per_combination": judge.each,
            "combinations": {"known": len(domain.observed), "novel": len(domain.held_out)},
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
    accuracy: Accuracy
    errors: Accuracy
    overall: float
    shown: Drawn


class _Judge:
    """Asks for every combination of the domain equally often, and scores what comes."""

    def __init__(self, domain: Domain, manifest: Manifest) -> None:
        self._domain, self._manifest = domain, manifest
        self.each = EACH[domain.name]
        combinations = [*domain.observed, *domain.held_out]
        self._known = len(domain.observed) * self.each
        self.labels = queries(combinations, self.each)

    def __call__(self, x: Tensor) -> _Scored:
        right = correct(self._domain.name, x, self.labels)
        sets = {"known": right[: self._known], "novel": right[self._known :]}
        accuracy = {name: part.float().mean().item() for name, part in sets.items()}
        errors = {name: math.sqrt(p * (1 - p) / len(sets[name])) for name, p in accuracy.items()}
        shown = self._shown(x, right)
        return _Scored(_rounded(accuracy), _rounded(errors), right.float().mean().item(), shown)

    def routed(self, experts: Sequence[Teacher], rule: Literal["joint", "composed"]) -> _Scored:
        """Several experts as one sampler."""
        drawn = sample_routed(self._manifest, experts, self.labels, rule=rule, seed=NOISE_SEED)
        return self(drawn)

    def _shown(self, x: Tensor, right: Tensor) -> Drawn:
        # The first ones, whatever they look like: nothing is picked by hand.
        keep = torch.arange(len(x)) % self.each < SHOWN[self._domain.name]
        return Drawn(x[keep].numpy(), self.labels[keep].numpy(), right[keep].numpy())


def seen_by(domain: Domain, names: Sequence[str]) -> Mapping[Combination, list[str]]:
    """Which silos hold each combination of the domain; empty for none."""
    found: dict[Combination, list[str]] = {c: [] for c in (*domain.observed, *domain.held_out)}
    for name, share in zip(names, domain.silos, strict=True):
        for combination in share.combinations:
            found[combination].append(name)
    return found


def _rounded(figures: Accuracy) -> Accuracy:
    return {name: round(value, 4) for name, value in figures.items()}
