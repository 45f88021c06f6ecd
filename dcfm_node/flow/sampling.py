"""Sampling from one network or several experts, by the joint head or by composition.

The manifest's guidance weights apply to samples (`flow.guidance`), not to scores.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from dcfm_node.flow.guidance import Guide, OwnWeights, guide_of
from dcfm_node.flow.inpainting import Given
from dcfm_node.flow.labels import Counts, absent_label, marginal_terms, null_label
from dcfm_node.flow.losses import VelocityField, evaluate_terms
from dcfm_node.flow.networks import Weights, load
from dcfm_node.flow.routing import Router, choose, chosen
from dcfm_node.flow.watching import last_of
from dcfm_node.paths.base import Field, Path, composition_weights, on_device, path_of
from dcfm_node.records.manifest import Manifest

CHUNK, MOST_NUMBERS = 1024, 1 << 25
"""Samples integrated in one batch; numbers that all terms of tokens have in one (`at_once`)."""


@dataclass(frozen=True)
class Teacher:
    """A published expert: its silo's name, its weights and the silo's label counts."""

    name: str
    weights: Weights
    counts: Counts


@dataclass(frozen=True)
class Corrector:
    """How the bias of a composed flow is corrected (`flow.correcting`).

    Attributes:
        moves: Langevin moves after each step of the flow; each is one evaluation of the terms.
        size: of a move, δ in units of (1 - t)², the variance of the noise that is left.
    """

    kind: Literal["langevin", "mala", "smc"]
    moves: int = 1
    size: float = 0.3


@dataclass(frozen=True)
class Sampler:
    """What differs from a run's own rule when samples are drawn.

    Attributes:
        switch: at every step each sample follows one expert, drawn by the router, in place of the
            experts' average.
        own: weights that samples have of their own. All samples are then composed.
        correct: corrects the composed flow of one network. All samples are then composed.
    """

    switch: bool = False
    own: OwnWeights | None = None
    correct: Corrector | None = None


def composed(
    path: Path,
    field: VelocityField,
    null: Tensor,
    guide: Guide | None = None,
    *,
    own: OwnWeights | None = None,
    absent: Tensor | None = None,
) -> VelocityField:
    """Eq. 5 of DCFM: v(∅) + Σ_i w_i [v(c^{i}) - v(∅)], all terms in one batched forward pass.

    Args:
        own: weights of the samples that the field is asked for, in this order.
        absent: as in `marginal_terms`.
    """

    def composition(x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        terms = evaluate_terms(field, x, t, own_terms(c, null, own, absent))
        return path.compose(terms, term_weights(guide, c, t, own))

    return composition


def own_terms(
    c: Tensor, null: Tensor, own: OwnWeights | None, absent: Tensor | None = None
) -> Tensor:
    """The labels ∅, c^{1}, ..., c^{n}, and those to move away from: (B, n) -> (B, m, n).

    Args:
        absent: as in `marginal_terms`.
    """
    terms = marginal_terms(c, null, absent)
    return terms if own is None else torch.cat([terms, own.away], dim=1)


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


def term_weights(
    guide: Guide | None, c: Tensor, t: Tensor, own: OwnWeights | None = None
) -> Tensor:
    """Weights of the terms of `own_terms`: (B, m), or (m,) where all rows have the same."""
    w = torch.ones(c.shape[-1], device=t.device) if guide is None else guide(c, t)
    return composition_weights(w if own is None else own.over(w))


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
        return _composed(path, net, null, guide, absent=absent_label(manifest, device))
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
    sampler: Sampler | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw one sample per label (B, n) from a student or a single expert, with the manifest's
    guidance weights.

    Args:
        counts: label counts of all silos that taught, which tell known combinations from novel
            ones; None only if both have the same weight.
        composed: as in `student_field`.
        given: numbers of the samples that are given, if any.
        sampler: how else samples are drawn.

    Returns: (B, *flow_shape) on the CPU. The noise depends only on the seed.

    Raises:
        ValueError: the counts are needed and missing, or the sampler switches between experts.
    """
    if sampler is not None and sampler.switch:
        raise ValueError("one network has no experts to switch between")
    own = None if sampler is None else sampler.own
    composed = composed if own is None else True
    guide = run_guide(manifest, counts, device, composed=composed)
    if own is None:
        field = student_field(manifest, weights, device, composed=composed, guide=guide)
    else:
        net, null = load(manifest, weights, device), null_label(manifest.cardinalities, device)
        absent = absent_label(manifest, device)
        rule = partial(_composed, path_of(manifest), net, null, guide, absent=absent)
        field, labels = _numbered(rule, labels, own.to(device))
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
    sampler: Sampler | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw one sample per label (B, n) from several experts, weighted by their label counts, with
    the manifest's guidance weights.

    Args:
        rule: `joint` draws one expert per sample by r_k(c); `composed` mixes marginal terms by
            r_k(c_i) and composes them (Eq. 5 of DCFM).
        sampler: how else samples are drawn; `joint` has nothing to switch.

    Returns: (B, *flow_shape) on the CPU.
    """
    own = None if sampler is None else sampler.own
    rule = rule if own is None else "composed"
    nets = [load(manifest, expert.weights, device) for expert in experts]
    counts = [expert.counts for expert in experts]
    router = Router(counts, manifest.cardinalities, device)
    guide = run_guide(manifest, counts, device, composed=rule == "composed")
    path, null = path_of(manifest), null_label(manifest.cardinalities, device)
    draws = torch.Generator().manual_seed(seed)
    picks = torch.Generator().manual_seed(seed + 1)
    x0 = noise(manifest, len(labels), draws)
    if rule == "composed":
        absent, switching = absent_label(manifest, device), None
        if sampler is not None and sampler.switch:
            switching = on_device(picks, torch.device(device))
        mix = partial(routed, path, nets, router, null, guide, absent=absent, switching=switching)
        if own is None:
            field = mix()
        else:
            field, labels = _numbered(mix, labels, own.to(device))
        return solve(manifest, field, labels, x0, draws=draws, given=given, device=device)
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
    own: OwnWeights | None = None,
    absent: Tensor | None = None,
    switching: torch.Generator | None = None,
) -> VelocityField:
    """Composition (Eq. 5 of DCFM) of mixtures of experts: Σ_k r_k(c_i) v_k(c^{i}) and
    Σ_k (n_k/N) v_k(∅).

    Args:
        own, absent: as in `composed`.
        switching: as in `mixed`.
    """

    def field(x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        terms = own_terms(c, null, own, absent)
        shares = router.marginal_weights(terms)
        found = mixed(path, experts, x, t, terms, shares=shares, switching=switching)
        return path.compose(found, term_weights(guide, c, t, own))

    return field


def mixed(
    path: Path,
    experts: Sequence[VelocityField],
    x: Tensor,
    t: Tensor,
    terms: Tensor,
    *,
    shares: Tensor,
    switching: torch.Generator | None = None,
) -> Tensor:
    """The mixture of K experts for each term: (B, m, *prediction_shape).

    Args:
        terms, shares: labels (B, m, n), and the experts' weights (B, m, K).
        switching: generator on the device. With it each term has the prediction of one expert,
            drawn with probabilities `shares` (arXiv:2606.15835): its mean is the mixture, at a K-th
            of the evaluations. All terms of a sample share one random number, so that they are the
            same expert's where the shares are equal.
    """
    if switching is None:
        each = [evaluate_terms(expert, x, t, terms) for expert in experts]
        return path.mix(shares, torch.stack(each, dim=2))
    u = torch.rand(len(x), generator=switching, device=x.device)
    which = chosen(shares, u.unsqueeze(1).expand(shares.shape[:2]))
    m = terms.shape[1]
    found: Tensor | None = None
    for k, expert in enumerate(experts):
        rows = (which == k).flatten().nonzero().squeeze(1)
        if not len(rows):
            continue
        sample = rows // m
        part = expert(x[sample], t[sample], terms.flatten(0, 1)[rows])
        if found is None:
            found = part.new_empty((len(x) * m, *part.shape[1:]))
        found[rows] = part
    assert found is not None
    return found.reshape(*terms.shape[:2], *found.shape[1:])


def _numbered(
    rule: Callable[..., VelocityField], labels: Tensor, own: OwnWeights
) -> tuple[VelocityField, Tensor]:
    """A field whose labels are places in the request, and these places (B, 1): so that it finds the
    weights of the rows that it is asked for."""
    c = labels.to(own.toward.device)

    def field(x: Tensor, t: Tensor, places: Tensor) -> Tensor:
        rows = places.squeeze(1)
        return rule(own=own.rows(rows))(x, t, c[rows])

    return field, torch.arange(len(labels)).unsqueeze(1)


def noise(manifest: Manifest, rows: int, draws: torch.Generator) -> Tensor:
    """Initial noise x_0 of `rows` samples, (rows, *flow_shape) on the CPU."""
    return path_of(manifest).source((rows, *manifest.flow_shape), draws, "cpu")


def at_once(manifest: Manifest) -> int:
    """Samples in one batch: fewer of tokens, with a number for each place, token and term."""
    each = manifest.path.alphabet * math.prod(manifest.flow_shape) * (1 + len(manifest.attributes))
    return max(1, min(CHUNK, MOST_NUMBERS // each)) if each else CHUNK


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
    there, rows = on_device(draws, torch.device(device)), at_once(manifest)
    with torch.no_grad():
        for start in range(0, len(x0), rows):
            part = slice(start, start + rows)
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
