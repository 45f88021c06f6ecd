"""The objective of all stages: a matching term and an independence penalty.

Stages differ only in their rows (`flow.sources`). Eqs. 9 and 15 of DCFM are the matching term,
Eqs. 10, 12 and 16 the penalty, Eqs. 11, 14 and 17 their sum. The path defines errors and
compositions (`dcfm_node.paths`).
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
"""The rows of a forward pass are padded to a multiple of this. Libraries prepare kernels for each
new size, so few sizes are faster."""


@dataclass(frozen=True)
class Matching:
    """Rows of the matching term: points (B, *shape), times (B,), masked labels (B, n) and targets
    (B, *prediction_shape).

    Labels are on the host, here and in `Penalty`, so that reading them never waits for the device.
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
        weights: (b, 3) on the host, weights of ∅, c^{i}, c^{j} (Eq. 5 of DCFM) for live terms, 0
            for frozen ones.
        frozen: (b, *prediction_shape), the composition of the frozen terms (`sg` of Eq. 13 of
            DCFM); None if all are live.
    """

    x: Tensor
    t: Tensor
    terms: Tensor
    weights: Tensor
    frozen: Tensor | None


@dataclass(frozen=True)
class Calls:
    """The inputs of a step's single batched forward pass; no prediction is computed twice.

    Attributes:
        row: (m,) indices of the points among the matching term's.
        c: (m, n) the labels.
        match: (B,) indices of the matching term's predictions.
        terms: (b, 4) indices of the penalty's predictions; any index for a frozen term.
    """

    row: Tensor
    c: Tensor
    match: Tensor
    terms: Tensor


@dataclass(frozen=True)
class Batch:
    """Rows of one step. The penalty uses the first rows of the matching term."""

    match: Matching
    penalty: Penalty | None
    calls: Calls


def matching_loss(path: Path, prediction: Tensor, rows: Matching) -> Tensor:
    """The matching term (Eqs. 9 and 15 of DCFM), a scalar."""
    return path.loss(prediction, rows.target, rows.t)


def penalty_loss(path: Path, terms: Tensor, rows: Penalty) -> Tensor:
    """The penalty (Eqs. 10, 12 and 16 of DCFM), a scalar, from predictions at the four labels
    (b, 4, *prediction_shape).

    Predictions at frozen terms have no effect, but must be finite.
    """
    weights = rows.weights.to(terms.device, non_blocking=True)
    composed = path.compose(terms[:, 1:], weights, rows.frozen)
    return path.discrepancy(terms[:, 0], composed, rows.t)


def evaluate_terms(field: VelocityField, x: Tensor, t: Tensor, terms: Tensor) -> Tensor:
    """Predictions at every point for each of its m labels, in one batched forward pass.

    Shapes: (B, *shape), (B,), (B, m, n) -> (B, m, *prediction_shape).
    """
    m = terms.shape[1]
    labels = terms.flatten(0, 1).to(x.device)
    many = field(x.repeat_interleave(m, dim=0), t.repeat_interleave(m), labels)
    return many.reshape(x.shape[0], m, *many.shape[1:])


def schedule(match: Matching, penalty: Penalty | None, steps: int) -> list[Calls]:
    """Forward-pass inputs of each of S = `steps` steps, whose rows are concatenated.

    A masked label that is also a live term of its row is evaluated once. Frozen terms are evaluated
    only as padding. Never waits for the device.
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
    # Up to five labels per row: the matching term's, unless it is one of the penalty's four.
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
    """Padding: in each step, the first unused labels (S, q) that complete a group."""
    spare = ~asked
    lacking = -asked.sum(dim=1, keepdim=True) % GROUP
    return spare & (spare.cumsum(dim=1) <= lacking)


def objective(path: Path, field: VelocityField, batch: Batch) -> tuple[Tensor, Tensor]:
    """Matching loss and penalty, the two terms of Eqs. 11, 14 and 17 of DCFM, in one batched
    forward pass."""
    match, penalty, calls = batch.match, batch.penalty, batch.calls
    if penalty is None:
        loss = matching_loss(path, field(match.x, match.t, calls.c), match)
        return loss, torch.zeros_like(loss)
    answers = field(match.x[calls.row], match.t[calls.row], calls.c)
    # Indexing with answers[...] would sort the indices in its backward pass.
    matched = answers.index_select(0, calls.match)
    terms = answers.index_select(0, calls.terms.flatten()).reshape(-1, 4, *answers.shape[1:])
    return matching_loss(path, matched, match), penalty_loss(path, terms, penalty)
