"""Solvers on closed-form flows between Gaussians.

From N(0, I) at t = 0 to N(m, s²) at t = 1 the linear path x_t = (1 - t) x_0 + t x_1 has mean t m
and variance σ² = (1 - t)² + t² s². Given x_t, x_1 is normal with mean m + (t s² / σ²)(x_t - t m)
and x_0 with mean ((1 - t) / σ²)(x_t - t m), so that the velocity E[x_1 - x_0 | x_t] is

    v(x, t) = m + a (x - t m),    a = (t s² - (1 - t)) / σ² = σ' / σ,

whose flow carries x_0 to t m + σ x_0. Eq. 5 of three such fields with one mean is again of that
form, with a = a_1 + a_2 - a_0, and carries x_0 to t m + (σ_1 σ_2 / σ_0) x_0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from dcfm_node.paths.linear import interpolate, to_velocity
from dcfm_node.paths.solvers import SOLVERS, integrate, trajectory
from tests.training.settings import draws

MEAN = 1.5
STEPS = (20, 40, 80, 160)


@dataclass(frozen=True)
class Flow:
    """Eq. 5 of Gaussians of equal mean: spreads above, and those below, of the fraction."""

    above: Sequence[float]
    below: Sequence[float] = ()

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        t = t[:, None]
        slope = sum(_slope(s, t) for s in self.above) - sum(_slope(s, t) for s in self.below)
        return MEAN + slope * (x - t * MEAN)

    def spread(self, t: float) -> float:
        above, below = (
            [math.hypot(1 - t, t * s) for s in side] for side in (self.above, self.below)
        )
        return math.prod(above) / math.prod(below)

    def at(self, x0: Tensor, t: float) -> Tensor:
        return t * MEAN + self.spread(t) * x0


def _slope(s: float, t: Tensor) -> Tensor:
    return (t * s**2 - (1 - t)) / ((1 - t) ** 2 + (t * s) ** 2)


PLAIN = Flow([0.4])
COMPOSED = Flow([0.6, 1.4], [2.0])


def observed_order(flow: Flow, solver: str) -> float:
    """Slope of log(worst error along the path) over log(step), by least squares."""
    x0 = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]

    def error(steps: int) -> float:
        states = enumerate(trajectory(flow.velocity, x0, steps, solver))
        return max((state - flow.at(x0, i / steps)).abs().max().item() for i, state in states)

    h = -torch.tensor(STEPS, dtype=torch.float64).log()
    e = torch.tensor([error(steps) for steps in STEPS], dtype=torch.float64).log()
    h, e = h - h.mean(), e - e.mean()
    return ((h * e).sum() / (h * h).sum()).item()


@pytest.mark.parametrize(
    ("solver", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2), ("rk4", 4), ("adams", 2)]
)
def test_order_on_a_composed_gaussian_flow(solver: str, order: int) -> None:
    assert observed_order(COMPOSED, solver) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize(
    ("solver", "order"), [("euler", 1), ("midpoint", 3), ("heun", 2), ("rk4", 4), ("adams", 2)]
)
def test_order_on_one_gaussians_flow(solver: str, order: int) -> None:
    """The midpoint rule gains an order here. For y' = a y its error in one step is
    h³ y (b' / 24 + a b / 6) with b = a' + a² = σ'' / σ = s² / σ⁴, and b' = -4 a b."""
    assert observed_order(PLAIN, solver) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("flow", [PLAIN, COMPOSED], ids=["plain", "composed"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_samples_have_the_closed_form_mean_and_variance(solver: str, flow: Flow) -> None:
    """What the solver makes of x_0 is affine in it, so -1 and 1 tell its mean and its spread."""
    low, high = integrate(flow.velocity, torch.tensor([[-1.0], [1.0]]), 200, solver).flatten()
    assert ((high + low) / 2).item() == pytest.approx(MEAN, rel=1e-5)
    spread = ((high - low) / 2).item()
    assert spread == pytest.approx(flow.spread(1.0), rel=0.02 if solver == "euler" else 1e-3)


def test_trajectory_goes_from_the_noise_along_the_flow_to_the_sample() -> None:
    x0 = torch.randn(5, 2, generator=draws(), dtype=torch.float64)
    states = list(trajectory(PLAIN.velocity, x0, 40, "rk4"))
    assert len(states) == 41
    assert torch.equal(states[0], x0)
    assert torch.equal(states[-1], integrate(PLAIN.velocity, x0, 40, "rk4"))
    for i, state in enumerate(states):
        torch.testing.assert_close(state, PLAIN.at(x0, i / 40), rtol=0, atol=1e-6)


@pytest.mark.parametrize("t", [0.0, 0.3, 0.8, 1.0])
def test_the_closed_form_is_what_flow_matching_regresses_to(t: float) -> None:
    """The velocity is the best linear guess of x_1 - x_0 from x_t, and x_t's spread is σ."""
    rows = 100_000
    x0, noise = torch.randn(2, rows, 1, generator=draws(), dtype=torch.float64)
    x1 = MEAN + PLAIN.above[0] * noise
    times = torch.full((rows,), t, dtype=torch.float64)
    x = interpolate(x0, x1, times)
    assert x.std().item() == pytest.approx(PLAIN.spread(t), rel=0.01)
    residual = x1 - x0 - PLAIN.velocity(x, times)
    standard_error = residual.std().item() * x.std().item() / math.sqrt(rows)
    assert abs(residual.mean().item()) < 4 * residual.std().item() / math.sqrt(rows) + 1e-9
    assert abs((residual * (x - x.mean())).mean().item()) < 4 * standard_error + 1e-9


def test_a_predicted_samples_velocity_is_the_same() -> None:
    """(E[x_1 | x_t] - x_t) / (1 - t) is v, as long as 1 - t is above its floor."""
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    for when in (0.0, 0.5, 0.94):
        t = torch.full((9,), when, dtype=torch.float64)
        s = PLAIN.above[0]
        sample = MEAN + when * s**2 / PLAIN.spread(when) ** 2 * (x - when * MEAN)
        torch.testing.assert_close(to_velocity(sample, x, t), PLAIN.velocity(x, t))
