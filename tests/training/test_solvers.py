"""Solvers on the closed-form flow between Gaussians."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dcfm_node.flow.solvers import SOLVERS, Field, integrate, trajectory

MEAN, SIGMA = 1.5, 0.3


def gaussian_velocity(x: Tensor, t: Tensor) -> Tensor:
    """The linear path's marginal velocity from N(0, I) to N(MEAN, SIGMA²)."""
    t = t[:, None]
    scale = t**2 * SIGMA**2 + (1 - t) ** 2
    slope = (t * SIGMA**2 - (1 - t)) / scale
    return MEAN + slope * (x - t * MEAN)


def gaussian_path(x0: Tensor, t: float) -> Tensor:
    return t * MEAN + math.sqrt(t**2 * SIGMA**2 + (1 - t) ** 2) * x0


def growth(x: Tensor, t: Tensor) -> Tensor:
    return x + t[:, None]


def growth_path(x0: Tensor, t: float) -> Tensor:
    return (x0 + 1) * math.exp(t) - 1 - t


def order(field: Field, path: Callable[[Tensor, float], Tensor], solver: str) -> float:
    """From the worst error over the whole path with 80 and with 160 steps."""
    x0 = torch.linspace(-2, 2, 41, dtype=torch.float64)[:, None]

    def error(steps: int) -> float:
        states = enumerate(trajectory(field, x0, steps, solver))
        return max((state - path(x0, i / steps)).abs().max().item() for i, state in states)

    return math.log2(error(80) / error(160))


ORDERS = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}


@pytest.mark.parametrize("solver", SOLVERS)
def test_order_of_convergence(solver: str) -> None:
    assert order(growth, growth_path, solver) == pytest.approx(ORDERS[solver], abs=0.1)


@pytest.mark.parametrize("solver", SOLVERS)
def test_order_on_the_gaussian_flow(solver: str) -> None:
    """At least its order; the midpoint rule happens to gain one on this flow."""
    assert order(gaussian_velocity, gaussian_path, solver) > ORDERS[solver] - 0.1


def test_trajectory_begins_with_the_noise_and_ends_with_the_sample() -> None:
    x0 = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    states = list(trajectory(gaussian_velocity, x0, 7, "heun"))
    assert len(states) == 8
    assert torch.equal(states[0], x0)
    assert torch.equal(states[-1], integrate(gaussian_velocity, x0, 7, "heun"))
