"""The one objective of all stages: match a target velocity, and be compositional.

Stages differ only in where the rows come from (`flow.sources`): Eqs. 9 and 15 are the matching
term, Eqs. 10, 12 and 16 the penalty, Eqs. 11, 14 and 17 their sum.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dcfm_node.flow.path import error_weight, spread

Velocities = Callable[[Tensor, Tensor, Tensor], Tensor]
"""v(x, t, c)."""
SIGNS = (-1.0, 1.0, 1.0)
"""v_comp(c^{ij}) = -v(∅) + v(c^{i}) + v(c^{j}), Eq. 5 with two attributes and w = 1."""


@dataclass(frozen=True)
class Matching:
    """Rows of the matching term: points (B, *shape), times (B,), masked labels (B, n), targets."""

    x: Tensor
    t: Tensor
    c: Tensor
    target: Tensor


@dataclass(frozen=True)
class Penalty:
    """Rows of the independence penalty.

    Attributes:
        x: points (b, *shape).
        t: times (b,).
        terms: labels (b, 4, n): c^{ij}, ∅, c^{i}, c^{j}.
        live: (b, 3), 1 where ∅, c^{i}, c^{j} are the trained network's own and 0 where frozen.
        frozen: (b, *shape), the signed sum of the frozen terms (`sg` of Eq. 13).
    """

    x: Tensor
    t: Tensor
    terms: Tensor
    live: Tensor
    frozen: Tensor


def matching_loss(velocity: Tensor, rows: Matching, predict: str) -> Tensor:
    """Eqs. 9 and 15: weighted mean squared error, a scalar."""
    return _weighted(velocity - rows.target, rows.t, predict)


def penalty_loss(terms: Tensor, rows: Penalty, predict: str) -> Tensor:
    """Eqs. 10, 12 and 16, from the network's velocities at the four labels (b, 4, *shape)."""
    signs = torch.tensor(SIGNS, device=terms.device) * rows.live
    composed = rows.frozen + (spread(signs, terms) * terms[:, 1:]).sum(dim=1)
    return _weighted(terms[:, 0] - composed, rows.t, predict)


def evaluate_terms(velocities: Velocities, rows: Penalty) -> Tensor:
    """The network's velocities at the four labels, (b, 4, *shape), in one batched forward."""
    b = len(rows.x)
    x, t = rows.x.repeat_interleave(4, dim=0), rows.t.repeat_interleave(4)
    return velocities(x, t, rows.terms.flatten(0, 1)).reshape(b, 4, *rows.x.shape[1:])


def objective(
    velocities: Velocities, match: Matching, penalty: Penalty | None, predict: str
) -> tuple[Tensor, Tensor]:
    """The two terms of Eqs. 11, 14 and 17, (matching loss, penalty), in one batched forward."""
    if penalty is None:
        velocity = velocities(match.x, match.t, match.c)
        loss = matching_loss(velocity, match, predict)
        return loss, torch.zeros_like(loss)
    b = len(penalty.x)
    x = torch.cat([match.x, penalty.x.repeat_interleave(4, dim=0)])
    t = torch.cat([match.t, penalty.t.repeat_interleave(4)])
    c = torch.cat([match.c, penalty.terms.flatten(0, 1)])
    velocity, terms = torch.split(velocities(x, t, c), [len(match.x), 4 * b])
    terms = terms.reshape(b, 4, *penalty.x.shape[1:])
    return matching_loss(velocity, match, predict), penalty_loss(terms, penalty, predict)


def _weighted(error: Tensor, t: Tensor, predict: str) -> Tensor:
    return (error.square().flatten(1).mean(dim=1) * error_weight(t, predict)).mean()
