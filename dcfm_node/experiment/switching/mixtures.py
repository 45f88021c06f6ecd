"""Gaussian mixtures shared among silos: each silo's exact field, and the exact router.

On the linear path a mode N(μ, σ²) has x_t with mean t μ and variance s² = (1 - t)² + t² σ², and the
velocity μ + a (x - t μ), a = (t σ² - (1 - t)) / s². A silo's field averages its modes' velocities
by their posterior weights. The router p(k | x_t) makes of the silos' fields that of all data.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from dcfm_node.flow.losses import VelocityField

REACH = 3.0
"""Modes are drawn from [-3, 3] on every axis."""


@dataclass(frozen=True)
class Mixture:
    """K silos that hold M common modes.

    Attributes:
        centres: (M, d), float64.
        sigma: of every mode.
        shares: (K, M), the part of all data that silo k has of a mode; they sum to 1.
    """

    centres: Tensor
    sigma: float
    shares: Tensor

    @classmethod
    def drawn(
        cls, *, dims: int, modes: int, sigma: float, silos: int, overlap: bool, seed: int
    ) -> Self:
        """Modes at random places with random weights.

        Args:
            overlap: every silo holds all modes in other proportions; else each mode is one silo's.
        """
        rng = np.random.default_rng(seed)
        centres = rng.uniform(-REACH, REACH, (modes, dims))
        weights = rng.dirichlet(np.full(modes, 5.0))
        if overlap:
            owned = rng.dirichlet(np.full(silos, 0.5), modes).T
        else:
            owned = np.eye(silos)[rng.permutation(np.arange(modes) % silos)].T
        return cls(torch.from_numpy(centres), sigma, torch.from_numpy(owned * weights))

    @property
    def silos(self) -> int:
        """K."""
        return len(self.shares)

    def field(self, k: int) -> VelocityField:
        """The exact velocity of silo k's data; it ignores labels."""

        def velocity(x: Tensor, t: Tensor, c: Tensor) -> Tensor:
            variance = self._variance(t)
            slope = (t * self.sigma**2 - (1 - t)) / variance
            parts = torch.softmax(self._log_densities(x, t) + self.shares[k].log(), dim=1)
            mean = parts @ self.centres
            return mean + slope[:, None] * (x - t[:, None] * mean)

        return velocity

    def router(self, x: Tensor, t: Tensor) -> Tensor:
        """p(k | x_t): (B, d) and (B,) -> (B, K)."""
        each = self._log_densities(x, t)[:, None] + self.shares.log()
        return torch.softmax(each.logsumexp(dim=2), dim=1)

    def draw(self, k: int, rows: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Samples (rows, d) of silo k, and the mode of each."""
        mine = (self.shares[k] / self.shares[k].sum()).numpy()
        mode = rng.choice(len(mine), rows, p=mine)
        noise = rng.normal(scale=self.sigma, size=(rows, self.centres.shape[1]))
        return self.centres.numpy()[mode] + noise, mode

    def quantiles(self, u: Tensor) -> Tensor:
        """Of all data on the line, by bisection; u is in (0, 1)."""
        weights, centres = self.shares.sum(dim=0), self.centres[:, 0]
        low = torch.full_like(u, float(centres.min()) - 9 * self.sigma)
        high = torch.full_like(u, float(centres.max()) + 9 * self.sigma)
        for _ in range(60):
            middle = (low + high) / 2
            z = (middle[:, None] - centres) / (self.sigma * math.sqrt(2))
            below = ((1 + torch.erf(z)) / 2) @ weights < u
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def _variance(self, t: Tensor) -> Tensor:
        return (1 - t) ** 2 + (t * self.sigma) ** 2

    def _log_densities(self, x: Tensor, t: Tensor) -> Tensor:
        """Of every mode at x_t, less a constant: (B, M)."""
        apart = (x[:, None] - t[:, None, None] * self.centres).square().sum(dim=2)
        return -apart / (2 * self._variance(t)[:, None])
