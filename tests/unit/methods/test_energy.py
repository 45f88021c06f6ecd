"""Energies against the closed form of Gaussians, whose velocity on the linear path is known."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from dcfm_node.flow.labels import null_label
from dcfm_node.flow.losses import VelocityField
from dcfm_node.flow.networks import build
from dcfm_node.flow.routing import Router
from dcfm_node.methods.mixture import energy
from dcfm_node.methods.mixture.ensembles import Ensemble
from dcfm_node.paths.base import path_of
from dcfm_node.paths.solvers import integrate
from dcfm_node.records.manifest import Manifest
from tests.training.settings import draws, manifest

FINE = manifest(method={"solver_steps": 400, "solver": "heun"})
COARSE = manifest(method={"solver_steps": 25, "solver": "heun"})
NO_LABEL = torch.zeros(64, 1, 2, dtype=torch.int64)


def scale(t: Tensor, sigma: float) -> Tensor:
    return t**2 * sigma**2 + (1 - t) ** 2


def gaussian(mean: float, sigma: float) -> VelocityField:
    """The velocity of N(mean, sigma² I) data on the linear path."""

    def field(x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        t = t.reshape(-1, *(1,) * (x.ndim - 1))
        slope = (t * sigma**2 - (1 - t)) / scale(t, sigma)
        return mean + slope * (x - t * mean)

    return field


def log_density(x: Tensor, t: float, mean: float, sigma: float) -> Tensor:
    """log p_t of the same."""
    variance = float(scale(torch.tensor(t), sigma))
    square = (x - t * mean).square().sum(dim=1) / variance
    return -(square + x.shape[1] * math.log(2 * math.pi * variance)) / 2


def noise(rows: int = 64, features: int = 2) -> Tensor:
    return torch.randn(rows, features, generator=draws(), dtype=torch.float64)


def ensemble(run: Manifest, experts: Sequence[VelocityField]) -> Ensemble:
    """Of fields that are no networks; what it knows of counts is not used."""
    null, counts = null_label((2, 2)), Router([{(0, 0): 1} for _ in experts], (2, 2))
    path = path_of(run)
    return Ensemble(run, path, experts, counts, null, "joint", None, energies=True, judge=None)


def unit(x0: Tensor) -> Tensor:
    return energy.probes(tuple(x0.shape[1:]), len(x0), draws()).to(x0)


def test_score_is_the_gradient_of_the_log_density() -> None:
    x = noise().requires_grad_()
    for at in (0.0, 0.3, 0.9):
        t = torch.full((64,), at, dtype=torch.float64)
        (expected,) = torch.autograd.grad(log_density(x, at, 1.5, 0.3).sum(), x)
        velocity = gaussian(1.5, 0.3)(x, t, t)
        torch.testing.assert_close(energy.score(velocity, x, t), expected)


def test_exact_divergence_is_the_trace_of_the_jacobian() -> None:
    net = build(manifest(shape=(3,), method={"seed": 4})).requires_grad_(False)
    x, t = torch.randn(5, 3, generator=draws()), torch.full((5,), 0.4)
    c = torch.tensor([[0, 1]]).expand(5, 2)
    velocity, divergence = energy.with_divergence(net, x, t, c, unit(x))
    torch.testing.assert_close(velocity, net(x, t, c))
    jacobian = torch.func.jacrev(lambda y: net(y, t, c))(x)
    traces = [jacobian[row, :, row].trace() for row in range(5)]
    torch.testing.assert_close(divergence, torch.stack(traces))


def test_hutchinson_is_right_on_average() -> None:
    features = energy.EXACT_FEATURES + 1
    mixing = torch.randn(features, features, generator=draws())
    x = torch.zeros(1, features)
    e = energy.probes((features,), 1, draws(1), many=4000)
    _, divergence = energy.with_divergence(lambda y, t, c: y @ mixing, x, x[:, 0], x, e)
    spread = (mixing + mixing.T).square().triu(1).sum().sqrt().item() / math.sqrt(4000)
    assert abs(divergence.item() - mixing.trace().item()) < 4 * spread


def test_hutchinson_is_exact_where_the_jacobian_is_diagonal() -> None:
    x = torch.randn(6, 3, 4, 4, generator=draws())
    e = energy.probes((3, 4, 4), 6, draws())
    assert e.shape == (1, 6, 3, 4, 4)
    _, divergence = energy.with_divergence(lambda y, t, c: y**2, x, x[:, 0, 0, 0], x, e)
    torch.testing.assert_close(divergence, 2 * x.flatten(1).sum(dim=1))


def test_an_image_network_has_a_divergence() -> None:
    run = manifest(shape=(3, 8, 8), network={"kind": "unet", "width": 8, "depth": 2})
    net = build(run).requires_grad_(False)
    x, t = torch.randn(2, 3, 8, 8, generator=draws()), torch.full((2,), 0.4)
    c = torch.zeros(2, 2, dtype=torch.int64)
    e = energy.probes((3, 8, 8), 2, draws())
    with torch.no_grad():
        _, divergence = energy.with_divergence(net, x, t, c, e)
        ahead, behind = (net(x + h * e[0], t, c) for h in (1e-2, -1e-2))
    expected = (e[0] * (ahead - behind) / 2e-2).flatten(1).sum(dim=1)
    torch.testing.assert_close(divergence, expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(("run", "within"), [(FINE, 1e-3), (COARSE, 0.2)])
def test_own_log_density_at_the_end_of_its_path(run: Manifest, within: float) -> None:
    x0, prior = noise(), torch.ones(64, 1, 1, dtype=torch.float64)
    mixed = ensemble(run, [gaussian(1.5, 0.3)])
    x1, found = mixed.integrate_energies(NO_LABEL, prior, x0, unit(x0), draws())
    expected = log_density(x1, 1.0, 1.5, 0.3)
    torch.testing.assert_close(found[:, 0, 0], expected, rtol=0, atol=within)


def test_log_density_along_a_path_of_another_velocity() -> None:
    """Up to t = 0.9, where the score's floor on 1 - t does not bind."""
    x0, e, until = noise(), unit(noise()), 0.9
    mine, other = gaussian(1.5, 0.5), gaussian(-0.5, 0.8)

    def field(state: Tensor, s: Tensor) -> Tensor:
        x, t = state[:, :2], until * s
        velocity, divergence = energy.with_divergence(mine, x, t, t, e)
        motion = other(x, t, t)
        rate = energy.density_rate(velocity, divergence, x, t, motion)
        return until * torch.cat([motion, rate.unsqueeze(1)], dim=1)

    start = torch.cat([x0, energy.noise_density(x0).unsqueeze(1)], dim=1)
    end = integrate(field, start, 200, "rk4")
    expected = log_density(end[:, :2], until, 1.5, 0.5)
    torch.testing.assert_close(end[:, 2], expected, rtol=1e-5, atol=1e-5)


def test_energies_of_two_gaussians_sample_their_mixture() -> None:
    """ρ ∝ n_k p_k makes the mixture the exact velocity of the pooled data: 3 to 1."""
    x0 = noise(2000)
    prior = torch.tensor([0.75, 0.25], dtype=torch.float64).expand(2000, 1, 2)
    terms = torch.zeros(2000, 1, 2, dtype=torch.int64)
    experts = [gaussian(1.5, 0.3), gaussian(-1.5, 0.3)]
    mixed = ensemble(FINE, experts)
    x1, found = mixed.integrate_energies(terms, prior, x0, unit(x0), draws())
    first = (x1 - 1.5).abs().amax(dim=1) < 1.2
    second = (x1 + 1.5).abs().amax(dim=1) < 1.2
    assert (first | second).double().mean() > 0.99
    assert first.double().mean().item() == pytest.approx(0.75, abs=0.03)
    assert (found[first, 0, 0] > found[first, 0, 1]).all()
    assert x1[first].std(dim=0).tolist() == pytest.approx([0.3, 0.3], rel=0.08)
