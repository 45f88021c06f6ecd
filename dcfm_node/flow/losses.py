"""The one objective of all stages: match a target velocity, and be compositional.

Stages differ only in where the rows come from (`flow.sources`): Eqs. 9 and 15 are the matching
term, Eqs. 10, 12 and 16 the penalty, Eqs. 11, 14 and 17 their sum.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from dcfm_node.flow.path import error_weight, spread

Velocities = Callable[[Tensor, Tensor, Tensor], Tensor]
"""v(x, t, c)."""
SIGNS = (-1.0, 1.0, 1.0)
"""v_comp(c^{ij}) = -v(∅) + v(c^{i}) + v(c^{j}), Eq. 5 with two attributes and w = 1."""
GROUP = 8
"""A step's call has a multiple of so many rows: libraries prepare their kernels for every size
that they meet, and sizes should recur."""


@dataclass(frozen=True)
class Matching:
    """Rows of the matching term: points (B, *shape), times (B,), masked labels (B, n), targets.

    Labels are on the host, here and in `Penalty`: what depends on them is known without asking
    the device.
    """

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
        signs: (b, 3), those of ∅, c^{i}, c^{j} where they are the trained network's own, and 0
            where they are frozen; on the host.
        frozen: (b, *shape), the signed sum of the frozen terms (`sg` of Eq. 13).
    """

    x: Tensor
    t: Tensor
    terms: Tensor
    signs: Tensor
    frozen: Tensor


@dataclass(frozen=True)
class Calls:
    """What the trained network is asked in a step: every velocity once, in one batched forward.

    Attributes:
        row: (m,) the points, by their places among the matching term's.
        c: (m, n) the labels.
        match: (B,) which answers the matching term takes.
        terms: (b, 4) which answers the penalty takes; any where the term is frozen.
    """

    row: Tensor
    c: Tensor
    match: Tensor
    terms: Tensor


@dataclass(frozen=True)
class Step:
    """One step's rows. The penalty falls on the first rows of the matching term."""

    match: Matching
    penalty: Penalty | None
    calls: Calls


def matching_loss(velocity: Tensor, rows: Matching, predict: str) -> Tensor:
    """Eqs. 9 and 15: weighted mean squared error, a scalar."""
    return _weighted(velocity - rows.target, rows.t, predict)


def penalty_loss(terms: Tensor, rows: Penalty, predict: str) -> Tensor:
    """Eqs. 10, 12 and 16, from the network's velocities at the four labels (b, 4, *shape).

    What is given at frozen terms does not matter, as long as it is finite.
    """
    signs = rows.signs.to(terms.device, non_blocking=True)
    composed = rows.frozen + (spread(signs, terms) * terms[:, 1:]).sum(dim=1)
    return _weighted(terms[:, 0] - composed, rows.t, predict)


def evaluate_terms(velocities: Velocities, rows: Penalty) -> Tensor:
    """The network's velocities at all four labels, (b, 4, *shape), in one batched forward."""
    x, t = rows.x.repeat_interleave(4, dim=0), rows.t.repeat_interleave(4)
    many = velocities(x, t, rows.terms.flatten(0, 1).to(x.device))
    return many.reshape(-1, 4, *rows.x.shape[1:])


def schedule(match: Matching, penalty: Penalty | None, steps: int) -> list[Calls]:
    """What to ask the trained network in each of S steps, whose rows come one after the other.

    A masked label that is among its row's own terms has the same velocity and is asked for once;
    frozen terms are asked for only to fill up a group. Nothing waits for the device.
    """
    n = match.c.shape[-1]
    masked = match.c.reshape(steps, -1, n)
    own = torch.zeros(*masked.shape[:2], 4, dtype=torch.bool)
    terms = torch.zeros(*masked.shape[:2], 4, n, dtype=torch.int64)
    borne = 0
    if penalty is not None:
        borne = len(penalty.terms) // steps
        terms[:, :borne] = penalty.terms.reshape(steps, borne, 4, n)
        live = functional.pad(penalty.signs != 0, (1, 0), value=True)
        own[:, :borne] = live.reshape(steps, borne, 4)
    same = own & (terms == masked.unsqueeze(2)).all(dim=-1)
    # Five questions a row: the matching term's, unless it is one of the penalty's four.
    asked = torch.cat([~same.any(dim=-1, keepdim=True), own], dim=-1)
    if penalty is not None:
        asked |= _filling(asked.flatten(1)).reshape(asked.shape)
    labels = torch.cat([masked.unsqueeze(2), terms], dim=2)
    matched = torch.where(same.any(dim=-1), 1 + same.int().argmax(dim=-1), 0)
    answer = asked.flatten(1).cumsum(dim=1).reshape(asked.shape) - 1
    each = asked.sum(dim=(1, 2)).tolist()
    send = partial(Tensor.to, device=match.x.device, non_blocking=True)
    parts = (
        torch.split(send(asked.nonzero()[:, 1]), each),
        torch.split(send(labels[asked]), each),
        send(answer.gather(2, matched.unsqueeze(2)).squeeze(2)),
        send(answer[:, :borne, 1:].clamp(min=0)),
    )
    return [Calls(*part) for part in zip(*parts, strict=True)]


def _filling(asked: Tensor) -> Tensor:
    """Of the questions not asked in a step, (S, q), the first that fill it up to whole groups."""
    spare = ~asked
    lacking = -asked.sum(dim=1, keepdim=True) % GROUP
    return spare & (spare.cumsum(dim=1) <= lacking)


def objective(velocities: Velocities, step: Step, predict: str) -> tuple[Tensor, Tensor]:
    """The two terms of Eqs. 11, 14 and 17, (matching loss, penalty), in one batched forward."""
    match, penalty, calls = step.match, step.penalty, step.calls
    if penalty is None:
        loss = matching_loss(velocities(match.x, match.t, calls.c), match, predict)
        return loss, torch.zeros_like(loss)
    answers = velocities(match.x[calls.row], match.t[calls.row], calls.c)
    # Not answers[...]: its backward sorts the places.
    velocity = answers.index_select(0, calls.match)
    terms = answers.index_select(0, calls.terms.flatten()).reshape(-1, 4, *answers.shape[1:])
    return matching_loss(velocity, match, predict), penalty_loss(terms, penalty, predict)


def _weighted(error: Tensor, t: Tensor, predict: str) -> Tensor:
    return (error.square().flatten(1).mean(dim=1) * error_weight(t, predict)).mean()
