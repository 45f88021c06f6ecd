"""The one objective of all stages: match a target prediction, and be compositional.

Stages differ only in where the rows come from (`flow.sources`): Eqs. 9 and 15 of DCFM are the
matching term, Eqs. 10, 12 and 16 the penalty, Eqs. 11, 14 and 17 their sum. What an error is, and
what composing means, the path says (`dcfm_node.paths`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from dcfm_node.paths.base import Path

VelocityField = Callable[[Tensor, Tensor, Tensor], Tensor]
"""v(x, t, c): predictions for points (B, *shape), times (B,) and labels (B, n) on the device."""
GROUP = 8
"""The number of rows of a step's call is a multiple of this: libraries prepare kernels for every
size that they meet, so sizes should recur."""


@dataclass(frozen=True)
class Matching:
    """Rows of the matching term: points (B, *shape), times (B,), masked labels (B, n), targets.

    Labels are on the host, here and in `Penalty`, so that nothing that depends on them waits for
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
        weights: (b, 3), those of ∅, c^{i}, c^{j} (Eq. 5 of DCFM) where they are the trained
            network's own, and 0 where they are frozen; on the host.
        frozen: (b, *prediction_shape), the composition of the frozen terms (`sg` of Eq. 13 of
            DCFM); None where there are none.
    """

    x: Tensor
    t: Tensor
    terms: Tensor
    weights: Tensor
    frozen: Tensor | None


@dataclass(frozen=True)
class Calls:
    """What a step asks the trained network: every prediction once, in one batched forward.

    Attributes:
        row: (m,) the points, by their places among the matching term's.
        c: (m, n) the labels.
        match: (B,) the places of the matching term's answers.
        terms: (b, 4) the places of the penalty's answers; any place where the term is frozen.
    """

    row: Tensor
    c: Tensor
    match: Tensor
    terms: Tensor


@dataclass(frozen=True)
class Batch:
    """One step's rows. The penalty falls on the first rows of the matching term."""

    match: Matching
    penalty: Penalty | None
    calls: Calls


def matching_loss(path: Path, prediction: Tensor, rows: Matching) -> Tensor:
    """Eqs. 9 and 15 of DCFM, a scalar."""
    return path.loss(prediction, rows.target, rows.t)


def penalty_loss(path: Path, terms: Tensor, rows: Penalty) -> Tensor:
    """Eqs. 10, 12 and 16 of DCFM, from the network's predictions at the four labels
    (b, 4, *prediction_shape).

    Predictions at frozen terms do not matter, as long as they are finite.
    """
    weights = rows.weights.to(terms.device, non_blocking=True)
    composed = path.compose(terms[:, 1:], weights, rows.frozen)
    return path.discrepancy(terms[:, 0], composed, rows.t)


def evaluate_terms(field: VelocityField, x: Tensor, t: Tensor, terms: Tensor) -> Tensor:
    """Predictions at every point for each of its m labels, in one batched forward.

    Shapes: (B, *shape), (B,), (B, m, n) -> (B, m, *prediction_shape).
    """
    m = terms.shape[1]
    labels = terms.flatten(0, 1).to(x.device)
    many = field(x.repeat_interleave(m, dim=0), t.repeat_interleave(m), labels)
    return many.reshape(len(x), m, *many.shape[1:])


def schedule(match: Matching, penalty: Penalty | None, steps: int) -> list[Calls]:
    """What to ask the trained network in each of S steps, whose rows come one after the other.

    A masked label that is also one of its row's live terms is asked for once. Frozen terms are
    asked for only to fill up a group. Nothing waits for the device.
    """
    n = match.c.shape[-1]
    masked = match.c.reshape(steps, -1, n)
    own = torch.zeros(*masked.shape[:2], 4, dtype=torch.bool)
    terms = torch.zeros(*masked.shape[:2], 4, n, dtype=torch.int64)
    borne = 0
    if penalty is not None:
        borne = len(penalty.terms) // steps
        terms[:, :borne] = penalty.terms.reshape(steps, borne, 4, n)
        live = functional.pad(penalty.weights != 0, (1, 0), value=True)
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


def objective(path: Path, field: VelocityField, batch: Batch) -> tuple[Tensor, Tensor]:
    """The two terms of Eqs. 11, 14 and 17 of DCFM, (matching loss, penalty), in one batched
    forward."""
    match, penalty, calls = batch.match, batch.penalty, batch.calls
    if penalty is None:
        loss = matching_loss(path, field(match.x, match.t, calls.c), match)
        return loss, torch.zeros_like(loss)
    answers = field(match.x[calls.row], match.t[calls.row], calls.c)
    # Not answers[...]: its backward sorts the places.
    matched = answers.index_select(0, calls.match)
    terms = answers.index_select(0, calls.terms.flatten()).reshape(-1, 4, *answers.shape[1:])
    return matching_loss(path, matched, match), penalty_loss(path, terms, penalty)
