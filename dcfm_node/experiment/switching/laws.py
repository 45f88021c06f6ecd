"""The law of the samplers on the line, without sampling noise, and its distance W2.

The Euler sampler that averages moves every quantile of the noise by a map that keeps their order.
The one that switches is a Markov chain: of the mass at x, the share ρ_k(x, t) goes to x + h v_k.
Here mass lies on a grid, and what arrives between points is shared among the three nearest so that
its mean and its variance are kept: the grid adds no diffusion, which would look like switching.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]
Parts = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""The router's weights (B, K) and the experts' velocities (B, K) at points (B,) and times (B,)."""
EDGE = 8.0
"""Mass lies in [-8, 8]."""


def levels(rows: int) -> Tensor:
    """Levels u of quantiles: the middles of equal parts of [0, 1], (rows,) float64."""
    return (torch.arange(rows, dtype=torch.float64) + 0.5) / rows


def noise_quantiles(rows: int) -> Tensor:
    """Of N(0, 1), (rows,)."""
    return math.sqrt(2) * torch.erfinv(2 * levels(rows) - 1)


def average_law(parts: Parts, start: Tensor, steps: int) -> Tensor:
    """Quantiles after N Euler steps of the averaged field, from quantiles `start` of the noise."""

    def field(x: Tensor, t: float) -> Tensor:
        shares, each = parts(x, torch.full_like(x, t))
        return (shares * each).sum(dim=1)

    x = start
    for i in range(steps):
        x = x + field(x, i / steps) / steps
    return x.sort().values


def switching_law(parts: Parts, steps: int, points: int, rows: int) -> Tensor:
    """Quantiles (rows,) after N Euler steps that each follow one drawn expert.

    Args:
        points: of the grid.
    """
    grid = torch.linspace(-EDGE, EDGE, points, dtype=torch.float64)
    gap = 2 * EDGE / (points - 1)
    edges = (grid[:-1] + grid[1:]) / 2
    cumulative = (1 + torch.erf(edges / math.sqrt(2))) / 2
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    mass = torch.cat([ends[:1], cumulative, ends[1:]]).diff().numpy()
    for i in range(steps):
        shares, each = parts(grid, torch.full_like(grid, i / steps))
        moved = (grid[:, None] + each / steps).clamp(-EDGE, EDGE)
        mass = _spread(((moved + EDGE) / gap).numpy(), mass[:, None] * shares.numpy(), points)
    below = np.maximum.accumulate(np.cumsum(mass))
    # Half of a point's own mass lies below it.
    return torch.from_numpy(np.interp(levels(rows).numpy(), below - mass / 2, grid.numpy()))


def w2(a: Tensor, b: Tensor) -> float:
    """Wasserstein distance of two laws on the line, from their quantiles at the same levels."""
    return (a - b).square().mean().sqrt().item()


def _spread(places: Floats, mass: Floats, points: int) -> Floats:
    """Put masses at places, in units of the grid: total, mean and variance are kept."""
    nearest = np.clip(np.rint(places), 1, points - 2).astype(np.int64)
    f = places - nearest
    found = np.zeros(points)
    for offset, part in ((-1, f * (f - 1) / 2), (0, 1 - f**2), (1, f * (f + 1) / 2)):
        at = (nearest + offset).ravel()
        found += np.bincount(at, weights=(mass * part).ravel(), minlength=points)
    return found
