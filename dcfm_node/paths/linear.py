"""The linear path from Gaussian noise to data, x_t = (1 - t) x_0 + t x_1 (Lipman et al., 2023).
Predictions are velocities with the sample's shape."""

from collections.abc import Iterator

import torch
from torch import Tensor

from dcfm_node.paths.base import Field, Path, spread
from dcfm_node.paths.solvers import trajectory

MIN_REMAINING = 0.05
"""Minimum of 1 - t when a predicted sample is converted to a velocity."""
MIN_WEIGHTED = 0.2
"""Minimum of 1 - t in the weight of a predicted sample's error, which is at most 1 / 0.2²."""


class LinearPath(Path):
    """`predict` is "velocity", or "sample" for the clean sample x̂_1."""

    def source(
        self, shape: tuple[int, ...], generator: torch.Generator, device: torch.device | str
    ) -> Tensor:
        """x_0 from N(0, I)."""
        return torch.randn(shape, generator=generator, device=device)

    def interpolate(self, x0: Tensor, x1: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        """x_t = (1 - t) x_0 + t x_1; draws nothing."""
        return interpolate(x0, x1, t)

    def target(self, x0: Tensor, x1: Tensor) -> Tensor:
        """u_t = x_1 - x_0 (Eq. 9 of DCFM)."""
        return x1 - x0

    def predicted(self, output: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """The output itself, or the velocity towards the predicted clean sample."""
        return to_velocity(output, x, t) if self.predict == "sample" else output

    def loss(self, prediction: Tensor, target: Tensor, t: Tensor) -> Tensor:
        """Weighted mean squared error of velocities (Eqs. 9 and 15 of DCFM)."""
        error = (prediction - target).square().flatten(1).mean(dim=1)
        return (error * error_weight(t, self.predict)).mean()

    def discrepancy(self, prediction: Tensor, composed: Tensor, t: Tensor) -> Tensor:
        """Weighted mean squared gap of velocities (Eqs. 10, 12 and 16 of DCFM)."""
        return self.loss(prediction, composed, t)

    def compose(self, terms: Tensor, weights: Tensor, rest: Tensor | None = None) -> Tensor:
        """Σ_j w_j v_j + rest."""
        total = (spread(weights.expand(terms.shape[:2]), terms) * terms).sum(dim=1)
        return total if rest is None else rest + total

    def mix(self, shares: Tensor, predictions: Tensor) -> Tensor:
        """Σ_k ρ_k v_k: the velocity of the mixture if ρ_k is the probability of expert k given the
        point (McAllister et al., 2025)."""
        return (spread(shares, predictions) * predictions).sum(dim=2)

    def trajectory(
        self, field: Field, x0: Tensor, steps: int, solver: str, generator: torch.Generator
    ) -> Iterator[Tensor]:
        """States of dx/dt = v(x, t) (Eq. 3 of DCFM); draws nothing."""
        return trajectory(field, x0, steps, solver)

    def between(self, before: Tensor, after: Tensor, share: Tensor) -> Tensor:
        """A point on the straight line between the two states."""
        return torch.lerp(before, after, spread(share, before))


def interpolate(x0: Tensor, x1: Tensor, t: Tensor) -> Tensor:
    """x_t = (1 - t) x_0 + t x_1. Shapes: (B, *shape) twice and (B,)."""
    return torch.lerp(x0, x1, spread(t, x0))


def to_velocity(sample: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """Velocity that carries x to the predicted clean sample: (x̂_1 - x) / max(1 - t, 0.05)."""
    return (sample - x) / spread((1 - t).clamp(min=MIN_REMAINING), x)


def score(velocity: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """∇log p_t(x) = (t v - x) / (1 - t) (Eq. 6 of DCFM); 1 - t is at least 0.05."""
    return (spread(t, x) * velocity - x) / spread((1 - t).clamp(min=MIN_REMAINING), x)


def error_weight(t: Tensor, predict: str) -> Tensor:
    """Weight (B,) of a squared velocity error at time t.

    If the network predicts the sample, an error in x̂_1 is an error 1/(1 - t) times as large in the
    velocity. The weight is at most 1/0.2², so that the end of the path does not dominate.
    """
    if predict == "velocity":
        return torch.ones_like(t)
    return ((1 - t).clamp(min=MIN_REMAINING) / (1 - t).clamp(min=MIN_WEIGHTED)).square()
