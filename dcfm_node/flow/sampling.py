"""Sampling from one network or several experts, by the joint head or by composition."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dcfm_node.flow.labels import Counts, marginal_terms, null_label
from dcfm_node.flow.losses import VelocityField, evaluate_terms
from dcfm_node.flow.networks import Weights, load
from dcfm_node.flow.routing import Router, choose
from dcfm_node.paths.base import Field, Path, composition_weights, on_device, path_of
from dcfm_node.records.manifest import Manifest

CHUNK = 1024
"""Samples integrated in one batch."""


@dataclass(frozen=True)
class Teacher:
    """A published expert: its silo's name, its weights and the silo's label counts."""

    name: str
    weights: Weights
    counts: Counts


def composed(
    path: Path, field: VelocityField, null: Tensor, guidance: float = 1.0
) -> VelocityField:
    """Eq. 5 of DCFM: v(∅) + Σ_i w [v(c^{i}) - v(∅)], all terms in one batched forward pass."""
    weights = composition_weights(len(null), guidance).to(null.device)

    def composition(x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        terms = evaluate_terms(field, x, t, marginal_terms(c, null))
        return path.compose(terms, weights)

    return composition


def guided(path: Path, field: VelocityField, null: Tensor, guidance: float) -> VelocityField:
    """Classifier-free guidance of the joint head, v(∅) + w [v(c) - v(∅)] (Ho, Salimans, 2022)."""
    if guidance == 1.0:
        return field
    weights = composition_weights(1, guidance).to(null.device)

    def guide(x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        terms = torch.stack([null.expand_as(c), c], dim=1)
        return path.compose(evaluate_terms(field, x, t, terms), weights)

    return guide


def student_field(
    manifest: Manifest,
    weights: Weights,
    device: torch.device | str,
    *,
    composed: bool | None = None,
    guidance: float = 1.0,
) -> VelocityField:
    """The field that samples a student or a single expert.

    Args:
        composed: True uses Eq. 5 of DCFM, False the joint head, None `manifest.method.composed`.
        guidance: w of Eq. 5 of DCFM; default 1.
    """
    through = manifest.method.composed if composed is None else composed
    rule = _composed if through else guided
    null = null_label(manifest.cardinalities, device)
    return rule(path_of(manifest), load(manifest, weights, device), null, guidance)


_composed = composed  # `student_field` has an argument of that name


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

    Args: as `student_field`.

    Returns: (B, *flow_shape) on the CPU. The noise depends only on the seed.
    """
    field = student_field(manifest, weights, device, composed=composed, guidance=guidance)
    draws = torch.Generator().manual_seed(seed)
    x0 = noise(manifest, len(labels), draws)
    return solve(manifest, field, labels, x0, draws=draws, device=device)


def sample_routed(
    manifest: Manifest,
    experts: Sequence[Teacher],
    labels: Tensor,
    *,
    rule: Literal["joint", "composed"],
    seed: int,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw one sample per label (B, n) from several experts, weighted by their label counts.

    Args:
        rule: `joint` draws one expert per sample by r_k(c); `composed` mixes marginal terms by
            r_k(c_i) and composes them (Eq. 5 of DCFM).

    Returns: (B, *flow_shape) on the CPU.
    """
    nets = [load(manifest, expert.weights, device) for expert in experts]
    router = Router([expert.counts for expert in experts], manifest.cardinalities, device)
    draws = torch.Generator().manual_seed(seed)
    x0 = noise(manifest, len(labels), draws)
    if rule == "composed":
        field = routed(path_of(manifest), nets, router, null_label(manifest.cardinalities, device))
        return solve(manifest, field, labels, x0, draws=draws, device=device)
    picks = torch.Generator().manual_seed(seed + 1)
    which = choose(router.joint_weights(labels.to(device)).cpu(), picks)
    out = torch.empty_like(x0)
    for k, net in enumerate(nets):
        rows = (which == k).nonzero().squeeze(-1)
        out[rows] = solve(manifest, net, labels[rows], x0[rows], draws=draws, device=device)
    return out


def routed(
    path: Path, experts: Sequence[VelocityField], router: Router, null: Tensor
) -> VelocityField:
    """Composition (Eq. 5 of DCFM) of mixtures of experts: Σ_k r_k(c_i) v_k(c^{i}) and
    Σ_k (n_k/N) v_k(∅)."""
    weights = composition_weights(len(null)).to(null.device)

    def field(x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        terms = marginal_terms(c, null)
        each = [evaluate_terms(expert, x, t, terms) for expert in experts]
        mixed = path.mix(router.marginal_weights(terms), torch.stack(each, dim=2))
        return path.compose(mixed, weights)

    return field


def noise(manifest: Manifest, rows: int, draws: torch.Generator) -> Tensor:
    """Initial noise x_0 of `rows` samples, (rows, *flow_shape) on the CPU."""
    return path_of(manifest).source((rows, *manifest.flow_shape), draws, "cpu")


def solve(
    manifest: Manifest,
    field: VelocityField,
    labels: Tensor,
    x0: Tensor,
    *,
    draws: torch.Generator,
    device: torch.device | str,
) -> Tensor:
    """Samples (B, *flow_shape) for labels (B, n) from noise x0 of the same shape, on the CPU.

    Args:
        draws: generator on the host for further random draws of the path.
    """
    method, path, done = manifest.method, path_of(manifest), [x0[:0]]
    there = on_device(draws, torch.device(device))
    with torch.no_grad():
        for start, label in zip(torch.split(x0, CHUNK), torch.split(labels, CHUNK), strict=True):
            at = _at(field, label.to(device))
            x1 = path.integrate(at, start.to(device), method.solver_steps, method.solver, there)
            done.append(x1.cpu())
    return torch.cat(done)


def _at(field: VelocityField, c: Tensor) -> Field:
    return lambda x, t: field(x, t, c)
