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
from typing import Literal

import torch
from torch import Tensor

from dcfm_node.flow import energy, owners
from dcfm_node.flow.labels import marginal_terms, null_label
from dcfm_node.flow.losses import Velocities
from dcfm_node.flow.path import spread
from dcfm_node.flow.routing import Router
from dcfm_node.flow.sampling import CHUNK, Teacher, Weights, load
from dcfm_node.flow.solvers import Field, integrate
from dcfm_node.records.manifest import Manifest, Method

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

    Args:
        rule: `joint` mixes v_k(c); `composed` mixes the terms of Eq. 5.
        top: experts kept at every evaluation, the heaviest, renormalised; all if None.
        router: weights of the trained router, for `trained` alone.

    Returns: (B, *sample_shape) float32 on the CPU, a function of the seed.
    """
    if (router is not None) != (routing == "trained"):
        raise ValueError("a trained router goes with routing 'trained' and with no other")
    nets = [load(manifest, expert.weights, device) for expert in experts]
    counts = Router([expert.counts for expert in experts], manifest.cardinalities, device)
    judge = None if router is None else owners.load_router(manifest, len(nets), router, device)
    null = null_label(manifest.cardinalities, device)
    draws = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(labels), *manifest.sample_shape, generator=draws)
    probes = energy.probes(manifest.sample_shape, len(labels), draws)
    method, done = manifest.method, [noise[:0]]
    for start in range(0, len(labels), CHUNK):
        part = slice(start, start + CHUNK)
        x0, c = noise[part].to(device), labels[part].to(device)
        joint = rule == "joint"
        terms = c.unsqueeze(1) if joint else marginal_terms(c, null)
        prior = counts.joint_weights(c).unsqueeze(1) if joint else counts.marginal_weights(terms)
        with torch.no_grad():
            if routing == "energy":
                e = probes[:, part].to(device)
                x1, _ = integrate_energies(nets, terms, prior, x0, e, method=method, top=top)
            else:
                weigh = _constant(prior) if judge is None else _judged(judge, terms.shape[1])
                field = mixture(nets, terms, weigh, top)
                x1 = integrate(field, x0, method.solver_steps, method.solver)
        done.append(x1.cpu())
    return torch.cat(done)


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


def integrate_energies(
    experts: Sequence[Velocities],
    terms: Tensor,
    prior: Tensor,
    x0: Tensor,
    probes: Tensor,
    *,
    method: Method,
    top: int | None = None,
) -> tuple[Tensor, Tensor]:
    """DFD: the sample at t = 1 and log p_k of every term there, (B, *shape) and (B, m, K).

    The log densities are further coordinates of the state that any solver steps.

    Args:
        terms, prior: labels (B, m, n), and what each expert weighs before energies (B, m, K).
        probes: of the divergence, (P, B, *shape).
    """
    shape, split = x0.shape[1:], x0[0].numel()
    e = probes.repeat_interleave(terms.shape[1], dim=1)

    def field(state: Tensor, t: Tensor) -> Tensor:
        x = state[:, :split].reshape(-1, *shape)
        rows = _rows(x, t, terms)
        found = [energy.with_divergence(expert, *rows, e) for expert in experts]
        each = torch.stack([_by_term(velocity, terms) for velocity, _ in found], dim=2)
        density = state[:, split:].reshape(prior.shape)
        weights = torch.softmax(prior.log() + density, dim=-1)
        motion = compose(_mix(sparse(weights, top), each))
        moved = motion.repeat_interleave(terms.shape[1], dim=0)
        rates = [energy.density_rate(v, d, rows[0], rows[1], moved) for v, d in found]
        rate = torch.stack([_by_term(one, terms) for one in rates], dim=2)
        return torch.cat([motion.flatten(1), rate.flatten(1)], dim=1)

    start = energy.noise_density(x0).unsqueeze(1).expand(-1, prior[0].numel())
    state = torch.cat([x0.flatten(1), start], dim=1)
    state = integrate(field, state, method.solver_steps, method.solver)
    return state[:, :split].reshape(x0.shape), state[:, split:].reshape(prior.shape)


def _rows(x: Tensor, t: Tensor, terms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Points, times and labels of all terms, B m rows each."""
    m = terms.shape[1]
    return x.repeat_interleave(m, dim=0), t.repeat_interleave(m), terms.flatten(0, 1)


def _by_term(many: Tensor, terms: Tensor) -> Tensor:
    return many.reshape(*terms.shape[:2], *many.shape[1:])


def _mix(weights: Tensor, each: Tensor) -> Tensor:
    """Σ_k ρ_k v_k: (B, m, K) and (B, m, K, *shape) -> (B, m, *shape)."""
    return (spread(weights, each) * each).sum(dim=2)


def _constant(prior: Tensor) -> Weigh:
    return lambda x, t: prior


def _judged(judge: torch.nn.Module, m: int) -> Weigh:
    """ρ_k(x_t, t) of the trained router, the same for every term."""
    return lambda x, t: torch.softmax(judge(x, t), dim=-1).unsqueeze(1).expand(-1, m, -1)
