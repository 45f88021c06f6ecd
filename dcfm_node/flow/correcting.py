"""Samplers that correct the bias of a composed flow, on the linear path.

Eq. 5 of DCFM adds velocities Σ_j w_j v_j with Σ_j w_j = 1. Its score Σ_j w_j ∇log p_t,j is that of
the composed law q_t ∝ Π_j p_t,j^w_j, but its flow does not carry q_0 to q_t: the product of noised
laws is not the noised product. So integrating it ends elsewhere (Du et al., 2023). Three cures:

- `langevin`: after each Euler step, moves x + δ s + √(2δ) ξ that leave q_t invariant as δ → 0.
- `mala`: the same moves, accepted or refused (Metropolis and Hastings). The energy difference is
  the line integral of the score by the trapezoidal rule, which is exact for Gaussian laws; a field
  has no energy itself.
- `smc`: sequential Monte Carlo. By the continuity equation of each p_j, a particle that follows the
  composed flow has the Feynman-Kac weight

      d log W / dt = -t / (1 - t) Σ_j w_j |v_j - v|²,    v = Σ_j w_j v_j.

  The divergences cancel because v is linear in the v_j, and the scores are (t v_j - x) / (1 - t)
  (Eq. 6 of DCFM), so the weight costs no evaluation. Particles of one label are resampled where
  fewer than half of them count, and one Langevin move makes copies differ (Skreta et al., 2025).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from dcfm_node.flow.guidance import Guide, OwnWeights
from dcfm_node.flow.labels import Counts, absent_label, null_label
from dcfm_node.flow.losses import VelocityField, evaluate_terms
from dcfm_node.flow.networks import Weights, load
from dcfm_node.flow.sampling import (
    CHUNK,
    Corrector,
    Sampler,
    noise,
    own_terms,
    run_guide,
    term_weights,
)
from dcfm_node.flow.watching import last_of
from dcfm_node.paths.base import on_device, path_of, spread
from dcfm_node.paths.linear import MIN_REMAINING, LinearPath, score
from dcfm_node.records.manifest import Manifest

Terms = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Velocities (B, m, *shape) of the terms and their weights (B, m) or (m,), whose sum over terms is
1, at points (B, *shape) and times (B,)."""
LEAST_COUNTING = 0.5
"""Share of particles that must count (their effective number), else they are resampled."""


def sample_corrected(
    manifest: Manifest,
    weights: Weights,
    labels: Tensor,
    *,
    counts: Iterable[Counts] | None,
    seed: int,
    sampler: Sampler,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw one sample per label (B, n) from a student, with composition and `sampler.correct`.

    Args: as `sampling.sample`.

    Returns: (B, *flow_shape) on the CPU. Samples of one label depend on each other with `smc`.

    Raises:
        ValueError: the path is not linear, or weights change with t, whose law `smc` does not know.
    """
    guidance = manifest.method.guidance
    if not isinstance(path_of(manifest), LinearPath):
        raise ValueError("only the linear path gives the scores that a corrector needs")
    if not guidance.null and (guidance.from_t, guidance.to_t) != (0.0, 1.0):
        raise ValueError("a corrector needs guidance weights that hold at all times t")
    assert sampler.correct is not None
    null, own = null_label(manifest.cardinalities, device), sampler.own
    absent = absent_label(manifest, device)
    net = load(manifest, weights, device)
    guide = run_guide(manifest, counts, device, composed=True)
    draws = torch.Generator().manual_seed(seed)
    x0 = noise(manifest, len(labels), draws)
    there, groups, done = on_device(draws, torch.device(device)), _groups(labels, own), [x0[:0]]
    with torch.no_grad():
        for start in range(0, len(x0), CHUNK):
            part = slice(start, start + CHUNK)
            mine = own and own.rows(part).to(device)
            terms = composition(net, labels[part].to(device), null, guide, own=mine, absent=absent)
            states = corrected(
                terms,
                groups[part].to(device),
                x0[part].to(device),
                manifest.method.solver_steps,
                how=sampler.correct,
                draws=there,
            )
            done.append(last_of(states).cpu())
    return torch.cat(done)


def composition(
    field: VelocityField,
    c: Tensor,
    null: Tensor,
    guide: Guide | None,
    *,
    own: OwnWeights | None,
    absent: Tensor | None = None,
) -> Terms:
    """The terms of Eq. 5 of DCFM for labels c (B, n), each with its weight. Arguments as of
    `sampling.composed`."""
    labels = own_terms(c, null, own, absent)

    def terms(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return evaluate_terms(field, x, t, labels), term_weights(guide, c, t, own)

    return terms


def _groups(labels: Tensor, own: OwnWeights | None) -> Tensor:
    """A number for each row, the same for rows with the same labels and weights, (B,)."""
    parts = [labels.double()]
    if own is not None:
        against = [own.toward.nan_to_num(-1.0), own.away.flatten(1), own.against]
        parts += [part.double() for part in against]
    numbers: Tensor
    _, numbers = torch.unique(torch.cat(parts, dim=1), dim=0, return_inverse=True)
    return numbers


@dataclass(frozen=True)
class At:
    """Points of a composed flow, (B, *shape), and there its velocity, its law's score, and the rate
    (B,) of the log weights of particles that follow the velocity."""

    x: Tensor
    v: Tensor
    score: Tensor
    rate: Tensor

    def where(self, taken: Tensor, other: "At") -> "At":
        """Rows of this where `taken` (B,), else of the other."""
        mine, theirs = (self.x, self.v, self.score), (other.x, other.v, other.score)
        pairs = zip(mine, theirs, strict=True)
        x, v, s = (torch.where(spread(taken, a), a, b) for a, b in pairs)
        return At(x, v, s, torch.where(taken, self.rate, other.rate))


Flow = Callable[[Tensor, Tensor], At]
"""A composed flow at points (B, *shape) and times (B,)."""


def corrected(
    terms: Terms,
    groups: Tensor,
    x0: Tensor,
    steps: int,
    *,
    how: Corrector,
    draws: torch.Generator,
) -> Iterator[Tensor]:
    """`followed`, of the terms of Eq. 5 of DCFM."""
    return followed(partial(_evaluated, terms), groups, x0, steps, how=how, draws=draws)


def followed(
    flow: Flow,
    groups: Tensor,
    x0: Tensor,
    steps: int,
    *,
    how: Corrector,
    draws: torch.Generator,
    unit: Tensor | float = 1.0,
) -> Iterator[Tensor]:
    """States at t = 0, 1/steps, ..., 1, as `Path.trajectory`; the flow moves by Euler's rule.

    One evaluation a step and one for each move.

    Args:
        groups: (B,), the same number for particles of one label, which are resampled together.
        draws: on the device.
        unit: variance of the law at t = 0, which broadcasts over x0; moves are larger where it is.
    """
    h, x = 1 / steps, x0
    log_weight = x0.new_zeros(len(x0))
    here = flow(x, _times(x, 0.0))
    yield x
    for i in range(1, steps + 1):
        x, t = here.x + h * here.v, i * h
        if how.kind == "smc":
            log_weight = log_weight + h * here.rate
            x, log_weight = resampled(x, log_weight, groups, draws, always=i == steps)
        if i < steps:
            here = flow(x, _times(x, t))
            for _ in range(how.moves):
                here = _moved(flow, here, t, how, draws, unit=unit)
            x = here.x
        yield x


def _evaluated(terms: Terms, x: Tensor, t: Tensor) -> At:
    each, w = terms(x, t)
    w = spread(w.expand(each.shape[:2]), each)
    v = (w * each).sum(dim=1)
    apart = (w * (each - v.unsqueeze(1)).square()).flatten(1).sum(dim=1)
    return At(x, v, score(v, x, t), -t / (1 - t).clamp(min=MIN_REMAINING) * apart)


def _moved(
    flow: Flow, here: At, t: float, how: Corrector, draws: torch.Generator, *, unit: Tensor | float
) -> At:
    """A Langevin move at time t < 1."""
    when, delta = _times(here.x, t), how.size * max(1 - t, MIN_REMAINING) ** 2 * unit
    noise = torch.randn(here.x.shape, generator=draws, device=here.x.device, dtype=here.x.dtype)
    there = flow(here.x + delta * here.score + (2 * delta) ** 0.5 * noise, when)
    if how.kind != "mala":
        return there
    way = there.x - here.x
    gain = (here.score + there.score) * way / 2
    forth, home = (way - delta * here.score).square(), (way + delta * there.score).square()
    gain = (gain + (forth - home) / (4 * delta)).flatten(1).sum(dim=1)
    u = torch.rand(len(gain), generator=draws, device=gain.device, dtype=gain.dtype)
    return there.where(u.log() < gain, here)


def resampled(
    x: Tensor, log_weight: Tensor, groups: Tensor, draws: torch.Generator, *, always: bool = False
) -> tuple[Tensor, Tensor]:
    """Draw the particles of each group anew by their weights, systematically, where too few count
    or `always`; then their log weights are 0. Shapes (B, *shape) and (B,)."""
    x, log_weight = x.clone(), log_weight.clone()
    for group in sorted(set(groups.tolist())):
        rows = (groups == group).nonzero().squeeze(1)
        shares = torch.softmax(log_weight[rows], dim=0)
        counting = 1 / shares.square().sum()
        if not always and counting >= LEAST_COUNTING * len(rows):
            continue
        u = torch.rand((), generator=draws, device=x.device, dtype=x.dtype)
        places = (torch.arange(len(rows), device=x.device) + u) / len(rows)
        chosen = torch.searchsorted(shares.cumsum(dim=0), places).clamp(max=len(rows) - 1)
        x[rows], log_weight[rows] = x[rows[chosen]], 0.0
    return x, log_weight


def _times(x: Tensor, t: float) -> Tensor:
    return torch.full(x.shape[:1], t, device=x.device, dtype=x.dtype)
