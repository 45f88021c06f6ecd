"""How well a method's networks separate the silos' training samples from their hold-out."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dcfm_node.experiment.lab import Lab
from dcfm_node.experiment.methods import Fitted
from dcfm_node.experiment.results import Metrics
from dcfm_node.flow import networks
from dcfm_node.flow.membership import Scores, errors, inferred, matched
from dcfm_node.flow.networks import Weights
from dcfm_node.flow.stages import EncodedSamples
from dcfm_node.paths.base import path_of

Pair = tuple[Tensor, Tensor]
"""Of a silo's training samples, and of its hold-out."""


@dataclass(frozen=True)
class _Compared:
    """A silo's training and hold-out samples, as many of one as of the other, and their groups."""

    samples: tuple[EncodedSamples, EncodedSamples]
    groups: Pair

    def errors(self, lab: Lab, weights: Weights) -> Pair:
        """Of a network on each sample."""
        field, path = networks.load(lab.manifest, weights, lab.device), path_of(lab.manifest)
        train, holdout = (EncodedSamples(of.x.to(lab.device), of.c) for of in self.samples)
        return errors(path, field, train), errors(path, field, holdout)


def membership(fitted: Fitted, lab: Lab) -> Metrics:
    """Figures of the attack (`flow.membership`) on a method's experts, each with the samples of its
    own silo, and on its student, with those of all silos.

    `membership_expert_auc`, `membership_expert_tpr_01` and `_tpr_10` (the true-positive rates at
    false-positive rates of 1 % and 10 %), the same of `student`, each also with `_low` and `_high`.
    `membership_expert_calibrated_auc` and so on take errors beside the mean of those of the other
    silos' experts, which every member holds; without any, of the run's initial network.

    A figure is absent where the method has no such network, or samples are too few.
    """
    silos = [_compared(lab, k) for k in range(len(lab.silos))]
    each = [[silo.errors(lab, one.weights) for silo in silos] for one in fitted.experts]
    first = networks.build(lab.manifest).state_dict()
    beside = [
        _mean([of[k] for j, of in enumerate(each) if j != k] or [silo.errors(lab, first)])
        for k, silo in enumerate(silos)
    ]
    found: Metrics = {}
    if each:
        own = [of[k] for k, of in enumerate(each)]
        found |= _figures("expert", _scores(own, None, silos))
        found |= _figures("expert_calibrated", _scores(own, beside, silos))
    if (student := fitted.student) is not None:
        own = [silo.errors(lab, student.weights) for silo in silos]
        found |= _figures("student", [_joined(_scores(own, None, silos))])
        found |= _figures("student_calibrated", [_joined(_scores(own, beside, silos))])
    return found


def _compared(lab: Lab, k: int) -> _Compared:
    train, holdout = lab.silos[k]
    rows = matched(train.c, holdout.c)
    groups = lab.groups(k) or (torch.arange(len(train.x)), -1 - torch.arange(len(holdout.x)))
    parts = (EncodedSamples(of.x[at], of.c[at]) for of, at in zip(lab.silos[k], rows, strict=True))
    first, second = parts
    return _Compared((first, second), (groups[0][rows[0]], groups[1][rows[1]]))


def _mean(of: Sequence[Pair]) -> Pair:
    return torch.stack([one for one, _ in of]).mean(0), torch.stack([one for _, one in of]).mean(0)


def _scores(
    own: Sequence[Pair], beside: Sequence[Pair] | None, silos: Sequence[_Compared]
) -> list[Scores]:
    """Of each silo's samples, by a network's errors, and those of a reference if there is one."""
    usual = beside or [(torch.zeros(()), torch.zeros(()))] * len(own)
    return [
        Scores(hard[0] - error[0], hard[1] - error[1], *silo.groups)
        for error, hard, silo in zip(own, usual, silos, strict=True)
    ]


def _joined(of: Sequence[Scores]) -> Scores:
    """All silos' scores of one network. No group is in two silos."""

    def groups(parts: Sequence[Tensor | None]) -> Tensor:
        given = [part for part in parts if part is not None]
        named = [torch.stack([part, torch.full_like(part, k)], 1) for k, part in enumerate(given)]
        found: Tensor
        _, found = torch.unique(torch.cat(named), dim=0, return_inverse=True)
        return found

    return Scores(
        torch.cat([one.members for one in of]),
        torch.cat([one.others for one in of]),
        groups([one.member_groups for one in of]),
        groups([one.other_groups for one in of]),
    )


def _figures(who: str, scores: Sequence[Scores]) -> Metrics:
    found = inferred(scores)
    if found is None:
        return {}
    rates = {f"tpr_{rate * 100:02.0f}": told for rate, told in found.rates.items()}
    return {
        f"membership_{who}_{name}{end}": value
        for name, told in {"auc": found.auc, **rates}.items()
        for end, value in (("", told.value), ("_low", told.low), ("_high", told.high))
    }
