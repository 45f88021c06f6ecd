"""Sampling from one network or several experts, by the joint head or by composition.

The manifest's guidance weights apply to samples (`flow.guidance`), not to scores.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dcfm_node.flow.guidance import Guide, guide_of
from dcfm_node.flow.inpainting import Given
from dcfm_node.flow.labels import Counts, absent_label, marginal_terms, null_label
from dcfm_node.flow.losses import VelocityField, evaluate_terms
from dcfm_node.flow.networks import Weights, load
from dcfm_node.flow.routing import Router, choose
from dcfm_node.flow.watching import last_of
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
    path: Path,
    field: VelocityField,
    null: Tensor,
    guide: Guide | None = None,
    absent: Tensor | None = None,
) -> VelocityField:
    """Eq. 5 of DCFM: v(∅) + Σ_i w_i [v(c^{i}) - v(∅)], all terms in one batched forward pass.

    Args:
        absent: as in `marginal_terms`.
    """

    def composition(x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        terms = evaluate_terms(field, x, t, marginal_terms(c, null, absent))
        return path.compose(terms, term_weights(guide, c, t))

    return composition


def guided(
    path: Path, field: VelocityField, null: Tensor, guide: Guide | None = None
) -> VelocityField:
    """Classifier-free guidance of the joint head, v(∅) + w [v(c) - v(∅)] (Ho, Salimans, 2022).

    Only rows whose weight is not 1 need a second evaluation, at the null label.
    """
    if guide is None:
        return field

    def guidance(x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        w = guide(c, t)
        rows = (w != 1.0).squeeze(1).nonzero().squeeze(1)
        empty = null.expand(len(rows), -1)
        both = field(torch.cat([x, x[rows]]), torch.cat([t, t[rows]]), torch.cat([c, empty]))
        v, terms = both[: len(x)], torch.stack([both[len(x) :], both[rows]], dim=1)
        return v.index_copy(0, rows, path.compose(terms, composition_weights(w[rows])))

    return guidance


def term_weights(guide: Guide | None, c: Tensor, t: Tensor) -> Tensor:
    """Weights of the terms ∅, c^{1}, ..., c^{n}: (B, n + 1), or (n + 1,) without guidance."""
    w = torch.ones(c.shape[-1], device=t.device) if guide is None else guide(c, t)
    return composition_weights(w)


def student_field(
    manifest: Manifest,
    weights: Weights,
    device: torch.device | str,
    *,
    composed: bool | None = None,
    guide: Guide | None = None,
) -> VelocityField:
    """The field of a student or a single expert.

    Args:
        composed: True uses Eq. 5 of DCFM, False the joint head, None `manifest.method.composed`.
        guide: weights of Eq. 5 of DCFM; all 1 if None.
    """
    path, net = path_of(manifest), load(manifest, weights, device)
    null = null_label(manifest.cardinalities, device)
    if _through(manifest, composed):
        return _composed(path, net, null, guide, absent_label(manifest, device))
    return guided(path, net, null, guide)


_composed = composed  # `student_field` has an argument of that name


def _through(manifest: Manifest, composed: bool | None) -> bool:
    return manifest.method.composed if composed is None else composed


def run_guide(
    manifest: Manifest,
    counts: Iterable[Counts] | None,
    device: torch.device | str,
    *,
    composed: bool | None = None,
) -> Guide | None:
    """The run's guidance weights, as `guide_of`; None if all are 1."""
    method, through = manifest.method, _through(manifest, composed)
    return guide_of(
        method.guidance, manifest.cardinalities, counts, composed=through, device=device
    )


def sample(
    manifest: Manifest,
    weights: Weights,
    labels: Tensor,
    *,
    counts: Iterable[Counts] | None = None,
    composed: bool | None = None,
    seed: int,
    given: Given | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw one sample per label (B, n) from a student or a single expert, with the manifest's
    guidance weights.

    Args:
        counts: label counts of all silos that taught, which tell known combinations from novel
            ones; None only if both have the same weight.
        composed: as in `student_field`.
        given: numbers of the samples that are given, if any.

    Returns: (B, *flow_shape) on the CPU. The noise depends only on the seed.

    Raises:
        ValueError: the counts are needed and missing.
    """
    guide = run_guide(manifest, counts, device, composed=composed)
    field = student_field(manifest, weights, device, composed=composed, guide=guide)
    draws = torch.Generator().manual_seed(seed)
    x0 = noise(manifest, len(labels), draws)
    return solve(manifest, field, labels, x0, draws=draws, given=given, device=device)


def sample_routed(
    manifest: Manifest,
    experts: Sequence[Teacher],
    labels: Tensor,
    *,
    rule: Literal["joint", "composed"],
    seed: int,
    given: Given | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw one sample per label (B, n) from several experts, weighted by their label counts, with
    the manifest's guidance weights.

    Args:
        rule: `joint` draws one expert per sample by r_k(c); `composed` mixes marginal terms by
            r_k(c_i) and composes them (Eq. 5 of DCFM).

    Returns: (B, *flow_shape) on the CPU.
    """
    nets = [load(manifest, expert.weights, device) for expert in experts]
    counts = [expert.counts for expert in experts]
    router = Router(counts, manifest.cardinalities, device)
    guide = run_guide(manifest, counts, device, composed=rule == "composed")
    path, null = path_of(manifest), null_label(manifest.cardinalities, device)
    draws = torch.Generator().manual_seed(seed)
    x0 = noise(manifest, len(labels), draws)
    if rule == "composed":
        field = routed(path, nets, router, null, guide, absent=absent_label(manifest, device))
        return solve(manifest, field, labels, x0, draws=draws, given=given, device=device)
    picks = torch.Generator().manual_seed(seed + 1)
    which = choose(router.joint_weights(labels.to(device)).cpu(), picks)
    out = torch.empty_like(x0)
    for k, net in enumerate(nets):
        rows = (which == k).nonzero().squeeze(-1)
        field = guided(path, net, null, guide)
        part = None if given is None else given.rows(rows)
        out[rows] = solve(
            manifest, field, labels[rows], x0[rows], draws=draws, given=part, device=device
        )
    return out


def routed(
    path: Path,
    experts: Sequence[VelocityField],
    router: Router,
    null: Tensor,
    guide: Guide | None = None,
    *,
    absent: Tensor | None = None,
) -> VelocityField:
    """Composition (Eq. 5 of DCFM) of mixtures of experts: Σ_k r_k(c_i) v_k(c^{i}) and
    Σ_k (n_k/N) v_k(∅).

    Args:
        absent: as in `marginal_terms`.
    """

    def field(x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        terms = marginal_terms(c, null, absent)
        each = [evaluate_terms(expert, x, t, terms) for expert in experts]
        mixed = path.mix(router.marginal_weights(terms), torch.stack(each, dim=2))
        return path.compose(mixed, term_weights(guide, c, t))

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
    given: Given | None = None,
    device: torch.device | str,
) -> Tensor:
    """Samples (B, *flow_shape) for labels (B, n) from noise x0 of the same shape, on the CPU.

    Args:
        draws: generator on the host for further random draws of the path.
        given: numbers of the samples that are given, if any.
    """
    method, path, done = manifest.method, path_of(manifest), [x0[:0]]
    there = on_device(draws, torch.device(device))
    with torch.no_grad():
        for start in range(0, len(x0), CHUNK):
            part = slice(start, start + CHUNK)
            at = _at(field, labels[part].to(device), given and given.rows(part).to(device))
            states = path.trajectory(
                at, x0[part].to(device), method.solver_steps, method.solver, there
            )
            done.append(last_of(states).cpu())
    return torch.cat(done)


def _at(field: VelocityField, c: Tensor, given: Given | None) -> Field:
    def at(x: Tensor, t: Tensor) -> Tensor:
        return field(x, t, c)

    return at if given is None else given.field(at)
