"""An expert's energy -log p_k,t(x | c) along the path of a sample (Hahn and Lee, 2025).

For x(t) with any velocity ẋ, the continuity equation of expert k gives

    d/dt log p_k,t(x(t)) = -div v_k(x, t, c) + s_k(x, t, c) · (ẋ - v_k(x, t, c)),

with the score s_k (Eq. 6 of DCFM), and log N(x_0; 0, I) at t = 0. Each step needs one derivative
along a probe, and no separate ODE. This holds only on the linear path.
"""

import math

import torch
from torch import Tensor

from dcfm_node.flow.losses import VelocityField
from dcfm_node.paths.linear import score

EXACT_FEATURES = 16
"""Largest number of features with an exact divergence."""


def probes(shape: tuple[int, ...], rows: int, generator: torch.Generator, many: int = 1) -> Tensor:
    """Vectors e with E Σ e eᵀ = I, so that E Σ e·(J e) is the divergence: (P, rows, *shape).

    With few features they are the unit vectors, which is exact. Otherwise they are `many` draws of
    independent signs (Hutchinson, 1990); use the same draws along a path. On the CPU.
    """
    features = math.prod(shape)
    if features <= EXACT_FEATURES:
        return torch.eye(features).reshape(features, 1, *shape).expand(-1, rows, *shape)
    signs = torch.randint(2, (many, rows, *shape), generator=generator) * 2 - 1
    return signs / math.sqrt(many)


def with_divergence(
    field: VelocityField, x: Tensor, t: Tensor, c: Tensor, e: Tensor
) -> tuple[Tensor, Tensor]:
    """The velocity (B, *shape) and its divergence (B,), from probes (P, B, *shape)."""

    def push(one: Tensor) -> tuple[Tensor, Tensor]:
        value, along = torch.func.jvp(lambda y: field(y, t, c), (x,), (one,))[:2]
        return value, along

    velocity, pushed = torch.func.vmap(push)(e)
    return velocity[0], (e * pushed).flatten(2).sum(dim=-1).sum(dim=0)


def noise_density(x0: Tensor) -> Tensor:
    """log N(x_0; 0, I), (B, *shape) -> (B,)."""
    flat = x0.flatten(1)
    return -(flat.square().sum(dim=1) + flat.shape[1] * math.log(2 * math.pi)) / 2


def density_rate(
    velocity: Tensor, divergence: Tensor, x: Tensor, t: Tensor, motion: Tensor
) -> Tensor:
    """d/dt log p_k,t(x(t)) where x moves with `motion`. Shapes (B, *shape) and (B,) -> (B,)."""
    across = score(velocity, x, t) * (motion - velocity)
    return across.flatten(1).sum(dim=1) - divergence
