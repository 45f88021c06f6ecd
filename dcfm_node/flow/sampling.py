"""Sampling: a student directly or through Eq. 5, and experts routed by label counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dcfm_node.flow import networks
from dcfm_node.flow.labels import Counts, marginal_terms, null_label
from dcfm_node.flow.losses import Velocities
from dcfm_node.flow.path import spread
from dcfm_node.flow.routing import Router, choose
from dcfm_node.flow.solvers import integrate
from dcfm_node.records.manifest import Manifest

CHUNK = 1024
"""Samples integrated at once."""

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Teacher:
    """A published expert: its silo's name, its weights, and how often the silo holds each label."""

    name: str
    weights: Weights
    counts: Counts


def load(manifest: Manifest, weights: Weights, device: torch.device | str) -> networks.Velocity:
    """The frozen network of a snapshot, on the device."""
    net = networks.build(manifest)
    net.load_state_dict(weights)
    return net.to(device).eval().requires_grad_(False)


def composed(velocities: Velocities, null: Tensor, guidance: float = 1.0) -> Velocities:
    """Eq. 5: v(∅) + Σ_i w [v(c^{i}) - v(∅)], all terms in one batched forward."""

    def field(x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        terms = _terms(velocities, x, t, c, null)
        return terms[:, 0] + guidance * (terms[:, 1:] - terms[:, :1]).sum(dim=1)

    return field


def guided(velocities: Velocities, null: Tensor, guidance: float) -> Velocities:
    """Classifier-free guidance of the joint head: v(∅) + w [v(c) - v(∅)]."""
    if guidance == 1.0:
        return velocities

    def field(x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        nothing = velocities(x, t, null.expand_as(c))
        return nothing + guidance * (velocities(x, t, c) - nothing)

    return field


def routed(experts: Sequence[Velocities], router: Router, null: Tensor) -> Velocities:
    """Eq. 5 whose terms are mixtures of experts: Σ_k r_k(c_i) v_k(c^{i}), Σ_k (n_k/N) v_k(∅)."""

    def field(x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        shares = router.marginal_weights(marginal_terms(c, null))
        mixed = sum(
            spread(shares[..., k], x.unsqueeze(1)) * _terms(expert, x, t, c, null)
            for k, expert in enumerate(experts)
        )
        assert isinstance(mixed, Tensor)
        return mixed[:, 0] + (mixed[:, 1:] - mixed[:, :1]).sum(dim=1)

    return field


def sample(
    manifest: Manifest,
    weights: Weights,
    labels: Tensor,
    *,
    composed: bool | None = None,
    seed: int,
    guidance: float = 1.0,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw one sample per label (B, n) from a student or a single expert.

    Args:
        composed: through Eq. 5, or from the joint head; `manifest.method.composed` if None.
        guidance: w of Eq. 5.

    Returns: (B, *sample_shape) float32 on the CPU. The noise is a function of the seed alone.
    """
    net = load(manifest, weights, device)
    null = null_label(manifest.cardinalities, device)
    through = manifest.method.composed if composed is None else composed
    field = (_composed if through else guided)(net, null, guidance)
    return _solve(manifest, field, labels, _noise(manifest, len(labels), seed), device)


_composed = composed  # `sample` has an argument of that name


def sample_routed(
    manifest: Manifest,
    experts: Sequence[Teacher],
    labels: Tensor,
    *,
    rule: Literal["joint", "composed"],
    seed: int,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw one sample per label (B, n) from several experts by their label counts.

    Args:
        rule: `joint` picks one expert per sample by r_k(c); `composed` mixes marginal terms by
            r_k(c_i) and samples through Eq. 5.

    Returns: (B, *sample_shape) float32 on the CPU.
    """
    nets = [load(manifest, expert.weights, device) for expert in experts]
    router = Router([expert.counts for expert in experts], manifest.cardinalities, device)
    noise = _noise(manifest, len(labels), seed)
    if rule == "composed":
        null = null_label(manifest.cardinalities, device)
        return _solve(manifest, routed(nets, router, null), labels, noise, device)
    draws = torch.Generator().manual_seed(seed + 1)
    which = choose(router.joint_weights(labels.to(device)).cpu(), draws)
    out = torch.empty_like(noise)
    for k, net in enumerate(nets):
        rows = (which == k).nonzero().squeeze(-1)
        out[rows] = _solve(manifest, net, labels[rows], noise[rows], device)
    return out


def _terms(velocities: Velocities, x: Tensor, t: Tensor, c: Tensor, null: Tensor) -> Tensor:
    """v at ∅ and every c^{i}: (B, n + 1, *shape)."""
    labels = marginal_terms(c, null)
    m = labels.shape[1]
    many = velocities(x.repeat_interleave(m, dim=0), t.repeat_interleave(m), labels.flatten(0, 1))
    return many.reshape(len(x), m, *x.shape[1:])


def _noise(manifest: Manifest, rows: int, seed: int) -> Tensor:
    return torch.randn(rows, *manifest.sample_shape, generator=torch.Generator().manual_seed(seed))


def _solve(
    manifest: Manifest, field: Velocities, labels: Tensor, noise: Tensor, device: torch.device | str
) -> Tensor:
    method, done = manifest.method, [torch.empty_like(noise[:0])]
    with torch.no_grad():
        for x0, label in zip(torch.split(noise, CHUNK), torch.split(labels, CHUNK), strict=True):
            c = label.to(device)

            def at(x: Tensor, t: Tensor, c: Tensor = c) -> Tensor:
                return field(x, t, c)

            x1 = integrate(at, x0.to(device), method.solver_steps, method.solver)
            done.append(x1.cpu())
    return torch.cat(done)
