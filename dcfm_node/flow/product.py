"""Products of laws that several networks learned, each in units of its own.

Member j has data laws p_j(x | c), and its network works with z = (x - b_j) / a_j, the standardised
sample. Its noised law p_j,t is that of b_j + a_j z_t, with the noise N(b_j, a_j²) at t = 0, its
velocity V_j = a_j v_j(z, t) and its score S_j = s_j(z, t) / a_j. The composed law is

    q_t ∝ Π_j p_j,t^w_j,    W = Σ_j w_j not 1 in general,

so q_0 is a Gaussian law with the precision P = Σ_j w_j / a_j² and the mean
m = Σ_j w_j b_j / (a_j² P). The flow is

    u = Σ_j w_j V_j + (ς'/ς) [x - m - Σ_j w_j (x - b_j)],    ς² = (1 - t)² + t²,

which is that of Eq. 5 of DCFM for W = 1 and equal units. The second part makes it exact for members
whose data are Gaussian with moments b_j and a_j². By the continuity equation of each p_j, the
log weight of a particle on it grows by Σ_j w_j (u - V_j) · S_j, up to a number that is the same for
all particles; the divergences cancel (`flow.correcting` has the case W = 1).

Of tokens, members' posteriors are multiplied place by place; each holds the path's own likelihood
of x_t once, so the product takes W - 1 of these away.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

import torch
from torch import Tensor

from dcfm_node.flow.correcting import At, followed
from dcfm_node.flow.losses import VelocityField, evaluate_terms
from dcfm_node.flow.sampling import CHUNK, MOST_NUMBERS, Corrector
from dcfm_node.flow.watching import last_of
from dcfm_node.paths.base import Path, on_device, spread
from dcfm_node.paths.linear import score

LEAST_LEFT = 1e-3
"""Least share of members' precisions that must be left after those with negative exponents."""


@dataclass(frozen=True)
class Member:
    """What one network gives to each of N composed laws, or of N samples.

    Attributes:
        field: its predictions.
        labels: (N, m, n), of m terms.
        inside, outside: (N, m), their exponents inside and outside the times `during`; those of a
            row have the same sum. 0 leaves a term out.
        during: first and last time t of `inside`.
        mean, deviation: of its standardised samples in the composition's units; each broadcasts
            over (*shape).
    """

    field: VelocityField
    labels: Tensor
    inside: Tensor
    outside: Tensor
    during: tuple[float, float]
    mean: Tensor
    deviation: Tensor

    def rows(self, which: Tensor, device: torch.device) -> Self:
        """Of some of the laws, as often as `which` (N,) names each, on a device."""
        parts = (self.labels[which], self.inside[which], self.outside[which])
        labels, inside, outside = (part.to(device) for part in parts)
        mean, deviation = self.mean.to(device), self.deviation.to(device)
        return replace(
            self, labels=labels, inside=inside, outside=outside, mean=mean, deviation=deviation
        )

    def weights(self, t: Tensor) -> Tensor:
        """The exponents at times t (N,)."""
        start, end = self.during
        guides = (t >= start) & (t <= end)
        return torch.where(guides.unsqueeze(1), self.inside, self.outside)

    def predicted(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Which rows it takes part in, and its predictions (rows, m, *prediction_shape) for its
        standardised points there."""
        rows = (self.inside != 0).any(dim=1) | (self.outside != 0).any(dim=1)
        which = rows.nonzero().squeeze(1)
        return which, evaluate_terms(self.field, x[which], t[which], self.labels[which])


@dataclass(frozen=True)
class Product:
    """N composed laws, or those of N samples, of some shape."""

    path: Path
    members: Sequence[Member]
    shape: tuple[int, ...]

    def rows(self, which: Tensor, device: torch.device) -> Self:
        """Of some of the laws, as often as `which` (N,) names each, on a device."""
        return replace(self, members=[one.rows(which, device) for one in self.members])

    @property
    def noise(self) -> tuple[Tensor, Tensor]:
        """Mean and variance of the law at t = 0, which broadcast over (N, *shape)."""
        precision, moment = self._sums(torch.Tensor.clone)
        return moment / precision, 1 / precision

    @property
    def dense(self) -> bool:
        """Whether every number of every sample has a density at t = 0."""
        left, _ = self._sums(torch.Tensor.clone)
        total, _ = self._sums(torch.Tensor.abs)
        return bool((left > LEAST_LEFT * total).all())

    def _sums(self, of: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Σ_j W_j / a_j² and Σ_j W_j b_j / a_j²."""
        precision = moment = torch.zeros(())
        for one in self.members:
            part = of(_whole(one, self.shape)) / one.deviation**2
            precision, moment = precision + part, moment + part * one.mean
        return precision, moment

    def at(self, x: Tensor, t: Tensor) -> At:
        """The flow, on the linear path."""
        mean, _ = self.noise
        ratio = spread((2 * t - 1) / ((1 - t) ** 2 + t**2), x)
        v, s = ratio * (x - mean), torch.zeros_like(x)
        own = x.new_zeros(len(x))
        for one in self.members:
            v = v - ratio * _whole(one, self.shape) * (x - one.mean)
            z = (x - one.mean) / one.deviation
            which, each = one.predicted(z, t)
            w = spread(one.weights(t)[which], each)
            scores = score(
                each.flatten(0, 1),
                z[which].repeat_interleave(each.shape[1], dim=0),
                t[which].repeat_interleave(each.shape[1]),
            ).reshape(each.shape)
            v = v.index_add(0, which, one.deviation * (w * each).sum(dim=1))
            s = s.index_add(0, which, (w * scores).sum(dim=1) / one.deviation)
            own = own.index_add(0, which, (w * each * scores).flatten(1).sum(dim=1))
        return At(x, v, s, (v * s).flatten(1).sum(dim=1) - own)

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        """The flow's velocity, or the composed prediction for tokens."""
        if not self.path.settings.alphabet:
            return self.at(x, t).v
        shape = (len(x), *self.path.prediction_shape(self.shape))
        flat = self.path.predicted(x.new_zeros(shape), x, t)
        total = flat.clone()
        for one in self.members:
            which, each = one.predicted(x, t)
            w = spread(one.weights(t)[which], each)
            # Of W posteriors, all but one leave the path's likelihood out.
            total = total.index_add(0, which, (w * (each - flat[which].unsqueeze(1))).sum(dim=1))
        return total.log_softmax(dim=-1)


def sample(
    product: Product,
    groups: Tensor,
    *,
    steps: int,
    solver: str,
    seed: int,
    correct: Corrector | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw samples of a product's laws, in the composition's units, on the CPU.

    Args:
        groups: (N,), the law of each sample; `smc` draws those of one law anew together.

    Returns: (N, *shape).

    Raises:
        ValueError: a law has no density.
    """
    path, here, there = product.path, torch.device("cpu"), torch.device(device)
    draws = torch.Generator().manual_seed(seed)
    x0 = path.source((len(groups), *product.shape), draws, "cpu")
    device_draws, done = on_device(draws, there), [x0[:0]]
    each = max(1, path.settings.alphabet) * x0[0].numel() * sum(
        one.labels.shape[1] for one in product.members
    )  # fmt: skip
    size = min(CHUNK, max(1, MOST_NUMBERS // each)) if path.settings.alphabet else CHUNK
    if not path.settings.alphabet:
        every = torch.split(torch.unique(groups), size)
        if not all(product.rows(laws, here).dense for laws in every):
            raise ValueError("the weights leave no density: their sum is not above 0")
    with torch.no_grad():
        for laws, x in zip(torch.split(groups, size), torch.split(x0, size), strict=True):
            if not path.settings.alphabet:
                mean, variance = product.rows(laws, here).noise
                x = mean + variance.sqrt() * x  # noqa: PLW2901
            mine, x = product.rows(laws, there), x.to(there)  # noqa: PLW2901
            if correct is None:
                states = path.trajectory(mine.velocity, x, steps, solver, device_draws)
            else:
                follow = partial(followed, how=correct, draws=device_draws, unit=mine.noise[1])
                states = follow(mine.at, laws.to(there), x, steps)
            done.append(last_of(states).cpu())
    return torch.cat(done)


def _whole(member: Member, shape: tuple[int, ...]) -> Tensor:
    """W of each row, broadcast over its numbers."""
    return member.outside.sum(dim=1).reshape(-1, *(1 for _ in shape))
