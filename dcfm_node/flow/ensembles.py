"""Sampling from independent experts as a mixture: DDM and DFD.

Velocity: Σ_k ρ_k v_k(x, t, c), or Eq. 5 with every term c^{i} and ∅ mixed so. Who weighs:

| routing | ρ_k of a term c | source |
| --- | --- | --- |
| `label` | ∝ n_k(c), the published label counts | DDM as run in the paper |
| `trained` | p(k given x_t, t), a classifier (`flow.owners`) | DDM, McAllister et al. |
| `energy` | ∝ n_k(c) exp(-E_k(x_t, t, c)) (`flow.energy`) | DFD, Hahn and Lee |

The energy of a term is that of its own label, E_k = -log p_k,t(x | c), and its prior the count
n_k(c) of that label: n_k p_k(x, c) = n_k(c) p_k(x | c), so the mixture is exactly the velocity of
the silos' pooled data given the term, and an expert that never saw a value, whose token is
untrained, weighs nothing. An unconditional density would let such an expert answer. Where no silo
saw c, the prior falls back on counts of its single values, as in `Router.joint_weights`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor, nn

from dcfm_node.flow import energy, owners
from dcfm_node.flow.labels import marginal_terms, null_label
from dcfm_node.flow.losses import Velocities
from dcfm_node.flow.path import spread
from dcfm_node.flow.routing import Router
from dcfm_node.flow.sampling import CHUNK, Teacher, Weights, load
from dcfm_node.flow.solvers import Field, integrate
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.settings import MethodSettings

Rule = Literal["joint", "composed"]
Routing = Literal["label", "trained", "energy"]
Weigh = Callable[[Tensor, Tensor], Tensor]
"""Weights (B, m, K) of the experts for each of m terms, at points (B, *shape) and times (B,)."""


def sample_ensemble(
    manifest: Manifest,
    experts: Sequence[Teacher],
    labels: Tensor,
    *,
    rule: Rule,
    routing: Routing,
    top: int | None = None,
    router: Weights | None = None,
    seed: int,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw one sample per label (B, n) from a mixture of experts.

    Args: as `Ensemble.load`.

    Returns: (B, *sample_shape) float32 on the CPU, a function of the seed.
    """
    ensemble = Ensemble.load(
        manifest, experts, rule=rule, routing=routing, top=top, router=router, device=device
    )
    return ensemble.sample(labels, seed)


@dataclass(frozen=True)
class Ensemble:
    """Experts on a device, and how they are mixed."""

    experts: Sequence[Velocities]
    counts: Router
    null: Tensor
    shape: tuple[int, ...]
    method: MethodSettings
    rule: Rule
    top: int | None
    energies: bool
    judge: nn.Module | None

    @classmethod
    def load(
        cls,
        manifest: Manifest,
        experts: Sequence[Teacher],
        *,
        rule: Rule,
        routing: Routing,
        top: int | None = None,
        router: Weights | None = None,
        device: torch.device | str = "cpu",
    ) -> Self:
        """Put experts on the device.

        Args:
            rule: `joint` mixes v_k(c); `composed` mixes the terms of Eq. 5.
            top: experts kept at every evaluation, the heaviest, renormalised; all if None.
            router: weights of the trained router, for `trained` alone.
        """
        if (router is not None) != (routing == "trained"):
            raise ValueError("a trained router goes with routing 'trained' and with no other")
        return cls(
            [load(manifest, expert.weights, device) for expert in experts],
            Router([expert.counts for expert in experts], manifest.cardinalities, device),
            null_label(manifest.cardinalities, device),
            manifest.sample_shape,
            manifest.method,
            rule,
            top,
            energies=routing == "energy",
            judge=None if router is None else owners.load_router(manifest, router, device),
        )

    def sample(self, labels: Tensor, seed: int) -> Tensor:
        """One sample per label (B, n), on the CPU."""
        draws, device = torch.Generator().manual_seed(seed), self.null.device
        noise = torch.randn(len(labels), *self.shape, generator=draws)
        probes = energy.probes(self.shape, len(labels), draws)
        done = [noise[:0]]
        for start in range(0, len(labels), CHUNK):
            part = slice(start, start + CHUNK)
            x0, c, e = noise[part], labels[part], probes[:, part]
            with torch.no_grad():
                done.append(self._integrate(x0.to(device), c.to(device), e.to(device)).cpu())
        return torch.cat(done)

    def velocity(self, x: Tensor, t: Tensor, c: Tensor, motion: Tensor) -> Tensor:
        """The mixture at points x (B, *shape) of straight paths, which moved there with `motion`.

        Energies are followed along those paths, from the noise x - t `motion`.
        """
        terms, prior = self._terms(c)
        if not self.energies:
            return mixture(self.experts, terms, self._weigh(prior), self.top)(x, t)
        draws = torch.Generator().manual_seed(0)
        e = energy.probes(self.shape, len(x), draws).to(x.device)
        x0 = x - spread(t, x) * motion

        def field(density: Tensor, s: Tensor) -> Tensor:
            now = s * t
            at = Located(x0 + spread(now, x) * motion, now, density.reshape(prior.shape))
            _, rates = step_energies(self.experts, terms, prior, at, e, top=None, motion=motion)
            return rates.flatten(1) * t.unsqueeze(1)

        density = integrate(field, start_density(x0, prior), self.method.solver_steps, "heun")
        at = Located(x, t, density.reshape(prior.shape))
        return step_energies(self.experts, terms, prior, at, e, top=self.top)[0]

    def _integrate(self, x0: Tensor, c: Tensor, e: Tensor) -> Tensor:
        terms, prior = self._terms(c)
        if self.energies:
            return integrate_energies(
                self.experts, terms, prior, x0, e, method=self.method, top=self.top
            )[0]
        field = mixture(self.experts, terms, self._weigh(prior), self.top)
        return integrate(field, x0, self.method.solver_steps, self.method.solver)

    def _terms(self, c: Tensor) -> tuple[Tensor, Tensor]:
        """Labels (B, m, n) of the rule, and the experts' weights by label counts (B, m, K)."""
        if self.rule == "joint":
            return c.unsqueeze(1), self.counts.joint_weights(c).unsqueeze(1)
        terms = marginal_terms(c, self.null)
        return terms, self.counts.marginal_weights(terms)

    def _weigh(self, prior: Tensor) -> Weigh:
        """By label counts, or by the trained router, which weighs every term alike."""
        judge, (_, m, k) = self.judge, prior.shape
        if judge is None:
            return lambda x, t: prior
        return lambda x, t: torch.softmax(judge(x, t)[:, :k], dim=-1).unsqueeze(1).expand(-1, m, -1)


def sparse(weights: Tensor, top: int | None) -> Tensor:
    """Keep the heaviest `top` of K experts and renormalise, (..., K) -> (..., K)."""
    if top is None or top >= weights.shape[-1]:
        return weights
    if top < 1:
        raise ValueError(f"top must be at least 1, not {top}")
    heaviest = weights.topk(top, dim=-1)
    kept = torch.zeros_like(weights).scatter(-1, heaviest.indices, heaviest.values)
    return kept / kept.sum(dim=-1, keepdim=True)


def compose(mixed: Tensor) -> Tensor:
    """Eq. 5 of terms (B, 1 + n, *shape), ∅ first; a single term (B, 1, *shape) is itself."""
    return mixed[:, 0] + (mixed[:, 1:] - mixed[:, :1]).sum(dim=1)


def mixture(
    experts: Sequence[Velocities], terms: Tensor, weigh: Weigh, top: int | None = None
) -> Field:
    """DDM's velocity of the terms (B, m, n)."""

    def field(x: Tensor, t: Tensor) -> Tensor:
        rows = _rows(x, t, terms)
        each = torch.stack([_by_term(expert(*rows), terms) for expert in experts], dim=2)
        return compose(_mix(sparse(weigh(x, t), top), each))

    return field


@dataclass(frozen=True)
class Located:
    """Points x (B, *shape), times (B,), and log p_k of every term there (B, m, K)."""

    x: Tensor
    t: Tensor
    density: Tensor


def integrate_energies(
    experts: Sequence[Velocities],
    terms: Tensor,
    prior: Tensor,
    x0: Tensor,
    probes: Tensor,
    *,
    method: MethodSettings,
    top: int | None = None,
) -> tuple[Tensor, Tensor]:
    """DFD: the sample at t = 1 and log p_k of every term there, (B, *shape) and (B, m, K).

    The log densities are further coordinates of the state that any solver steps.

    Args:
        terms, prior: labels (B, m, n), and what each expert weighs before energies (B, m, K).
        probes: of the divergence, (P, B, *shape).
    """
    split = x0[0].numel()

    def field(state: Tensor, t: Tensor) -> Tensor:
        x, density = state[:, :split].reshape(x0.shape), state[:, split:].reshape(prior.shape)
        at = Located(x, t, density)
        motion, rates = step_energies(experts, terms, prior, at, probes, top=top)
        return torch.cat([motion.flatten(1), rates.flatten(1)], dim=1)

    state = torch.cat([x0.flatten(1), start_density(x0, prior)], dim=1)
    state = integrate(field, state, method.solver_steps, method.solver)
    return state[:, :split].reshape(x0.shape), state[:, split:].reshape(prior.shape)


def start_density(x0: Tensor, prior: Tensor) -> Tensor:
    """log N(x_0; 0, I) for every term and expert, (B, m K)."""
    return energy.noise_density(x0).unsqueeze(1).expand(-1, prior[0].numel())


def step_energies(
    experts: Sequence[Velocities],
    terms: Tensor,
    prior: Tensor,
    at: Located,
    probes: Tensor,
    *,
    top: int | None,
    motion: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """DFD's velocity (B, *shape), and the rates of all log densities (B, m, K) where the points
    move with `motion`, or with that velocity if None."""
    m = terms.shape[1]
    rows = _rows(at.x, at.t, terms)
    e = probes.repeat_interleave(m, dim=1)
    found = [energy.with_divergence(expert, *rows, e) for expert in experts]
    each = torch.stack([_by_term(velocity, terms) for velocity, _ in found], dim=2)
    weights = torch.softmax(prior.log() + at.density, dim=-1)
    velocity = compose(_mix(sparse(weights, top), each))
    moved = (velocity if motion is None else motion).repeat_interleave(m, dim=0)
    rates = [energy.density_rate(v, d, rows[0], rows[1], moved) for v, d in found]
    return velocity, torch.stack([_by_term(rate, terms) for rate in rates], dim=2)


def _rows(x: Tensor, t: Tensor, terms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Points, times and labels of all terms, B m rows each."""
    m = terms.shape[1]
    return x.repeat_interleave(m, dim=0), t.repeat_interleave(m), terms.flatten(0, 1)


def _by_term(many: Tensor, terms: Tensor) -> Tensor:
    return many.reshape(*terms.shape[:2], *many.shape[1:])


def _mix(weights: Tensor, each: Tensor) -> Tensor:
    """Σ_k ρ_k v_k: (B, m, K) and (B, m, K, *shape) -> (B, m, *shape)."""
    return (spread(weights, each) * each).sum(dim=2)
