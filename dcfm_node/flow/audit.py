"""Scores peers' experts on a silo's private hold-out data, before they are used (SPEC 6.6)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from dcfm_node.flow import metrics, networks
from dcfm_node.flow.labels import Counts, absent_label, null_label
from dcfm_node.flow.losses import VelocityField
from dcfm_node.flow.networks import Weights, load
from dcfm_node.flow.sampling import Teacher, composed
from dcfm_node.flow.sources import BatchSampler, PathSample, PathSampler, all_live
from dcfm_node.flow.stages import EncodedSamples, points_of
from dcfm_node.paths.base import path_of
from dcfm_node.records.manifest import Manifest

TELLS = 1.4
"""Labels matter if the own expert's error without them is this many times the error with them."""


def audit(
    manifest: Manifest,
    holdout: EncodedSamples,
    experts: Sequence[Teacher],
    *,
    me: str,
    device: torch.device | str = "cpu",
) -> dict[str, dict[str, float]]:
    """Place each peer's expert on a scale: 0 is this silo's own expert, 1 an ignorant one.

    All are measured on the same rows: hold-out samples of combinations that the peer says it holds,
    with the same times and noise. The scale is logarithmic. The ignorant expert is this silo's own
    without the label; if labels matter little, it is the untrained network.

    Args:
        experts: every silo's expert and label counts, including this silo's.
        me: this silo's name.

    Returns: peer -> places. `joint` is the place by velocity error on full labels, `composed` the
        same through Eq. 5 of DCFM, which measures marginals and null; both are absent without
        common combinations. `distance` is from the common initial weights, in units of the distance
        of unrelated weights; absent if this silo's own expert is as far. `ci_gap` and `rows` are
        for information.
    """
    own = next(expert for expert in experts if expert.name == me)
    untrained = dict(networks.build(manifest).state_dict())
    found = {
        expert.name: _distance(manifest, untrained, expert.weights, own.weights)
        for expert in experts
        if expert.name != me
    }
    for expert in experts:
        rows = _claimed(holdout, expert.counts)
        if expert.name == me or not len(rows.x):
            continue
        sampler = points_of(manifest, rows, device)
        nets = [load(manifest, w, device) for w in (expert.weights, own.weights, untrained)]
        found[expert.name] |= errors(manifest, metrics.holdout_rows(sampler), nets)
        found[expert.name] |= {
            "ci_gap": _gap(manifest, sampler, nets[0]),
            "rows": float(len(rows.x)),
        }
    return found


def place(value: float, own: float, ignorant: float) -> float | None:
    """Place of an error on a logarithmic scale: 0 is `own`, 1 is `ignorant`.

    None if `own` is not the smaller one. Infinite if `value` is not finite.
    """
    if not 0.0 < own < ignorant < math.inf:
        return None
    if not math.isfinite(value):
        return math.inf
    return math.log(max(value, 1e-30) / own) / math.log(ignorant / own)


def errors(manifest: Manifest, rows: PathSample, nets: Sequence[VelocityField]) -> dict[str, float]:
    """Places of the peer's network. `nets`: the peer's, this silo's own, the untrained one."""
    path, null = path_of(manifest), null_label(manifest.cardinalities, rows.x.device)
    target, absent = rows.target(rows.c), absent_label(manifest, rows.x.device)
    told = replace(rows, target=lambda _: target)
    untold = metrics.velocity_error(path, nets[1], replace(told, c=null.expand_as(rows.c)))
    ways = {"joint": nets, "composed": [composed(path, net, null, absent=absent) for net in nets]}
    found = {}
    for name, fields in ways.items():
        value, own, untrained = (metrics.velocity_error(path, field, told) for field in fields)
        ignorant = min(untrained, untold) if untold >= TELLS * own else untrained
        if (where := place(value, own, ignorant)) is not None:
            found[name] = where
    return found


def _gap(manifest: Manifest, sampler: PathSampler, net: VelocityField) -> float:
    """The penalty (Eq. 10 of DCFM) on these samples; `ci_gap` in an expert's record uses all."""
    stage = BatchSampler(sampler, all_live, manifest, manifest.method.local, product_share=0.0)
    return metrics.ci_gap(net, stage)


def _distance(
    manifest: Manifest, untrained: Weights, weights: Weights, own: Weights
) -> dict[str, float]:
    """Euclidean distance from the run's initial weights, in units of the distance of weights of
    another seed."""
    other = manifest.method.model_copy(update={"seed": manifest.method.seed + 1})
    unrelated = dict(networks.build(manifest.model_copy(update={"method": other})).state_dict())
    far, near, unlike = (_norm(untrained, w) for w in (weights, own, unrelated))
    where = place(far, near, unlike)
    return {} if where is None else {"distance": where}


def _norm(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    return math.sqrt(sum((one[n].double() - other[n].double()).square().sum().item() for n in one))


def _claimed(holdout: EncodedSamples, counts: Counts) -> EncodedSamples:
    """Hold-out samples of combinations that a silo says it holds."""
    keep = torch.tensor([counts.get(tuple(c), 0) > 0 for c in holdout.c.tolist()], dtype=torch.bool)
    return EncodedSamples(holdout.x[keep], holdout.c[keep])
