"""Scoring peers' experts on a silo's private hold-out data, before they serve (SPEC 6.6)."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dcfm_node.flow import metrics, networks
from dcfm_node.flow.labels import Counts, block_terms, null_label
from dcfm_node.flow.losses import Matching, Velocities, matching_loss
from dcfm_node.flow.sampling import Teacher, Weights, composed, load
from dcfm_node.flow.sources import Points, data_points
from dcfm_node.flow.stages import Samples
from dcfm_node.flow.trainer import generator
from dcfm_node.records.manifest import Manifest

TELLS = 1.4
"""Labels tell something where not to be told them makes the own expert err so much more."""


def audit(
    manifest: Manifest,
    holdout: Samples,
    experts: Sequence[Teacher],
    *,
    me: str,
    device: torch.device | str = "cpu",
) -> dict[str, dict[str, float]]:
    """Where each peer's expert stands between this silo's own, 0, and one that knows nothing, 1.

    Both are measured on the same rows: hold-out samples of combinations that the peer says it
    holds, with the same times and noise. The scale is logarithmic. Who knows nothing is this
    silo's own expert when it is not told the label; where labels tell little, the untrained
    network.

    Args:
        experts: every silo's expert and label counts, this silo's own among them.
        me: this silo's name.

    Returns: by peer, `joint` (velocity error on full labels) and `composed` (the same through
        Eq. 5, so that marginals and null are judged), absent where nothing is in common;
        `distance` from the common initial weights, 1 being that of unrelated ones, absent where
        training led this silo's own as far; `ci_gap` on those rows, and `rows`, for information.
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
        points = data_points(rows.x.to(device), rows.c)(
            metrics.ROWS, generator(metrics.HOLDOUT_KEY)
        )
        nets = [load(manifest, w, device) for w in (expert.weights, own.weights, untrained)]
        found[expert.name] |= errors(manifest, points, nets)
        found[expert.name] |= {
            "ci_gap": _gap(manifest, points, nets[0]),
            "rows": float(len(rows.x)),
        }
    return found


def place(value: float, own: float, ignorant: float) -> float | None:
    """Logarithmic place of an error between this silo's own, 0, and that of one that knows
    nothing, 1; None where its own is no better than that. Not finite where the value is not."""
    if not 0.0 < own < ignorant < math.inf:
        return None
    if not math.isfinite(value):
        return math.inf
    return math.log(max(value, 1e-30) / own) / math.log(ignorant / own)


def errors(manifest: Manifest, points: Points, nets: Sequence[Velocities]) -> dict[str, float]:
    """Places of the first of [the peer's, this silo's own, the untrained] networks."""
    null = null_label(manifest.cardinalities, points.x.device)
    target = points.target(points.c)
    match = Matching(points.x, points.t, points.c.to(points.x.device), target)

    def error(field: Velocities, c: Tensor) -> float:
        with torch.no_grad():
            velocity = field(match.x, match.t, c)
            return matching_loss(velocity, match, manifest.network.predict).item()

    untold = error(nets[1], null.expand_as(match.c))
    ways = {"joint": nets, "composed": [composed(net, null) for net in nets]}
    found = {}
    for name, fields in ways.items():
        value, own, untrained = (error(field, match.c) for field in fields)
        ignorant = min(untrained, untold) if untold >= TELLS * own else untrained
        if (where := place(value, own, ignorant)) is not None:
            found[name] = where
    return found


def _gap(manifest: Manifest, points: Points, net: Velocities) -> float:
    """Eq. 10 on these rows."""
    if len(manifest.cardinalities) < 2:
        return 0.0
    null = null_label(manifest.cardinalities)
    terms = block_terms(points.c, null, generator(metrics.GAP_KEY))
    with torch.no_grad():
        x, t = points.x.repeat_interleave(4, dim=0), points.t.repeat_interleave(4)
        asked = net(x, t, terms.flatten(0, 1).to(x.device)).reshape(-1, 4, *points.x.shape[1:])
        both, nothing, first, second = asked.unbind(dim=1)
        return float((both + nothing - first - second).square().mean().item())


def _distance(
    manifest: Manifest, untrained: Weights, weights: Weights, own: Weights
) -> dict[str, float]:
    """Euclidean distances from the run's initial weights; unrelated are those of the next seed."""
    other = manifest.method.model_copy(update={"seed": manifest.method.seed + 1})
    unrelated = dict(networks.build(manifest.model_copy(update={"method": other})).state_dict())
    far, near, unlike = (_norm(untrained, w) for w in (weights, own, unrelated))
    where = place(far, near, unlike)
    return {} if where is None else {"distance": where}


def _norm(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    return math.sqrt(sum((one[n].double() - other[n].double()).square().sum().item() for n in one))


def _claimed(holdout: Samples, counts: Counts) -> Samples:
    """Hold-out samples of combinations that a silo says it holds."""
    keep = torch.tensor([counts.get(tuple(c), 0) > 0 for c in holdout.c.tolist()], dtype=torch.bool)
    return Samples(holdout.x[keep], holdout.c[keep])
