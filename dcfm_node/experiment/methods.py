"""Every method of the tables: how it is trained in the lab, and the ways it can be sampled.

| name | what it is |
| --- | --- |
| `fedflow` | one flow, parameters averaged every so many local steps |
| `ddm` | independent experts, a router by label or by a trained classifier |
| `dfd` | independent experts, weighed by their densities |
| `…+l` | the same with the local independence penalty (Eq. 10) in training |
| `all-local` | +L experts refined by Eq. 12 with every term their own: no cross-peer term |
| `dcfm-a` | the paper's rounds against peers, silos in turn |
| `dcfm-b` | one student of the Stage I experts |
| `dcfm-alternating` | student, all silos against it, student, ... |
| `pooled`, `oracle` | one model on all known data; one that also sees the held-out combinations |
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from dcfm_node.experiment.lab import Lab, Trained
from dcfm_node.experiment.settings import Experiment, MethodName, Rule
from dcfm_node.flow.ensembles import Routing, sample_ensemble
from dcfm_node.flow.sampling import Teacher, sample, sample_routed
from dcfm_node.records.manifest import Manifest

Draw = Callable[[Tensor, int], Tensor]
"""Samples (N, *shape) for labels (N, n), with a seed."""
Variants = Mapping[str, Draw]
"""The ways a method can be sampled, by name; `joint` and `composed` are always there."""

RULES: tuple[Rule, ...] = ("joint", "composed")
DEFAULT_RULES: dict[MethodName, Rule] = {
    "fedflow": "joint",
    "ddm": "joint",
    "dfd": "joint",
    "pooled": "joint",
    "oracle": "joint",
}
"""How the baselines' authors sample them; every other method is sampled through Eq. 5."""


@dataclass(frozen=True)
class Fitted:
    """A method after training.

    Attributes:
        seconds: process time of all training it needs, shared pieces included.
        pieces: how many networks were trained on the way.
    """

    variants: Variants
    seconds: float
    pieces: int


def rule(settings: Experiment, method: MethodName) -> Rule:
    """The variant whose figures stand for the method."""
    if method in settings.rules:
        return settings.rules[method]
    return DEFAULT_RULES.get(method, "composed")


def fit(method: MethodName, lab: Lab, settings: Experiment) -> Fitted:
    """Train a method, or take from disk what was trained before."""
    return _METHODS[method](lab, settings)


def _single(lab: Lab, used: Sequence[Trained], model: Trained) -> Fitted:
    return _fitted(
        used,
        {name: _draw_single(lab.manifest, model, name == "composed", lab.device) for name in RULES},
    )


def _draw_single(manifest: Manifest, model: Trained, composed: bool, device: torch.device) -> Draw:
    return lambda labels, seed: sample(
        manifest, model.weights, labels, composed=composed, seed=seed, device=device
    )


def _experts(lab: Lab, used: Sequence[Trained], experts: Sequence[Trained]) -> Fitted:
    teachers = lab.teachers(experts)
    return _fitted(
        used, {name: _draw_routed(lab.manifest, teachers, name, lab.device) for name in RULES}
    )


def _draw_routed(
    manifest: Manifest,
    teachers: Sequence[Teacher],
    rule: Literal["joint", "composed"],
    device: torch.device,
) -> Draw:
    return lambda labels, seed: sample_routed(
        manifest, teachers, labels, rule=rule, seed=seed, device=device
    )


def _fitted(used: Sequence[Trained], variants: Variants) -> Fitted:
    pieces = {piece.key: piece.metrics["seconds"] for piece in used}
    return Fitted(variants, sum(pieces.values()), len(pieces))


def _fedflow(lab: Lab, settings: Experiment, ci: bool) -> Fitted:
    model = lab.federated(ci, settings.fedflow.averagings, settings.fedflow.steps)
    return _single(lab, [model], model)


def _ddm(lab: Lab, settings: Experiment, ci: bool) -> Fitted:
    """`joint` is the mixture by label counts; one expert per sample is the same mixture drawn."""
    experts = lab.local(ci)
    router = lab.router(experts)
    mix = partial(_mixture, lab, experts)
    return _fitted(
        [*experts, router],
        {
            "joint": mix(rule="joint", routing="label"),
            "composed": mix(rule="composed", routing="label"),
            "joint top-1": mix(rule="joint", routing="label", top=1),
            "joint top-2": mix(rule="joint", routing="label", top=2),
            "joint trained": mix(rule="joint", routing="trained", router=router),
            "joint trained top-1": mix(rule="joint", routing="trained", router=router, top=1),
            "joint trained top-2": mix(rule="joint", routing="trained", router=router, top=2),
            "composed trained": mix(rule="composed", routing="trained", router=router),
        },
    )


def _dfd(lab: Lab, settings: Experiment, ci: bool) -> Fitted:
    experts = lab.local(ci)
    mix = partial(_mixture, lab, experts, routing="energy")
    return _fitted(experts, {"joint": mix(rule="joint"), "composed": mix(rule="composed")})


def _mixture(
    lab: Lab,
    experts: Sequence[Trained],
    *,
    rule: Rule,
    routing: Routing,
    router: Trained | None = None,
    top: int | None = None,
) -> Draw:
    teachers = lab.teachers(experts)
    return lambda labels, seed: sample_ensemble(
        lab.manifest,
        teachers,
        labels,
        rule=rule,
        routing=routing,
        top=top,
        router=None if router is None else router.weights,
        seed=seed,
        device=lab.device,
    )


def _dcfm_a(lab: Lab, settings: Experiment) -> Fitted:
    experts = lab.local()
    used = list(experts)
    for round_ in range(1, settings.paper_rounds + 1):
        experts = lab.in_turn(experts, round_)
        used += experts
    return _experts(lab, used, experts)


def _all_local(lab: Lab, settings: Experiment) -> Fitted:
    first = lab.local()
    experts = [lab.against_peers(first, k, 1, alone=True) for k in range(len(first))]
    return _experts(lab, [*first, *experts], experts)


def _dcfm_b(lab: Lab, settings: Experiment) -> Fitted:
    experts = lab.local()
    student = lab.distil(experts, 0)
    return _single(lab, [*experts, student], student)


def _alternating(lab: Lab, settings: Experiment) -> Fitted:
    experts = lab.local()
    student = lab.distil(experts, 0)
    used = [*experts, student]
    for round_ in range(1, settings.rounds + 1):
        experts = lab.anchored(experts, student, round_)
        student = lab.distil(experts, round_, parent=student)
        used += [*experts, student]
    return _single(lab, used, student)


def _pooled(lab: Lab, settings: Experiment) -> Fitted:
    model = lab.centralised(lab.task.pooled, "pooled")
    return _single(lab, [model], model)


def _oracle(lab: Lab, settings: Experiment) -> Fitted:
    model = lab.centralised(lab.task.complete, "oracle")
    return _single(lab, [model], model)


_METHODS: dict[MethodName, Callable[[Lab, Experiment], Fitted]] = {
    "fedflow": partial(_fedflow, ci=False),
    "fedflow+l": partial(_fedflow, ci=True),
    "ddm": partial(_ddm, ci=False),
    "ddm+l": partial(_ddm, ci=True),
    "dfd": partial(_dfd, ci=False),
    "dfd+l": partial(_dfd, ci=True),
    "all-local": _all_local,
    "dcfm-a": _dcfm_a,
    "dcfm-b": _dcfm_b,
    "dcfm-alternating": _alternating,
    "pooled": _pooled,
    "oracle": _oracle,
}
