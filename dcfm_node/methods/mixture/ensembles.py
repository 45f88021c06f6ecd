"""Sampling from independent experts as a mixture: DDM and DFD.

The velocity is the mixture Σ_k ρ_k v_k(x, t, c), or the composition (Eq. 5 of DCFM) of the mixtures
of terms c^{i} and ∅. The weights ρ_k:

| routing | ρ_k of a term c | source |
| --- | --- | --- |
| `label` | ∝ n_k(c), the published label counts | DDM as in the DCFM paper |
| `trained` | p(k given x_t, t), a gating network (`gating`) | DDM (McAllister et al., 2025) |
| `energy` | ∝ n_k(c) exp(-E_k(x_t, t, c)) (`energy`) | DFD (Hahn and Lee, 2025) |

A term's energy is E_k = -log p_k,t(x | c), and its prior is the count n_k(c). As n_k p_k(x, c) =
n_k(c) p_k(x | c), the mixture is exactly the velocity of the silos' pooled data given the term. An
expert without samples of a value, whose token is untrained, gets weight 0; with an unconditional
density it would not. If no silo holds c, the prior uses the counts of single values, as in
`Router.joint_weights`. A guided mixture (`flow.guidance`) also has the mixture at ∅ as a term.

DDM can also switch: at every step each sample follows one expert, drawn with probability ρ_k. DFD
cannot, because every expert's energy changes along the whole path.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Self

import torch
from torch import Tensor, nn

from dcfm_node.flow.guidance import Guide, OwnWeights
from dcfm_node.flow.inpainting import Given
from dcfm_node.flow.labels import absent_label, null_label
from dcfm_node.flow.losses import VelocityField
from dcfm_node.flow.networks import Weights, load
from dcfm_node.flow.routing import Router
from dcfm_node.flow.sampling import (
    Sampler,
    Teacher,
    at_once,
    mixed,
    noise,
    own_terms,
    run_guide,
)
from dcfm_node.flow.watching import last_of
from dcfm_node.methods.mixture import energy, gating
from dcfm_node.paths.base import Field, Path, composition_weights, on_device, path_of, spread
from dcfm_node.records.manifest import Manifest

Rule = Literal["joint", "composed"]
Routing = Literal["label", "trained", "energy"]
Weigh = Callable[[Tensor, Tensor], Tensor]
"""Weights (B, m, K) of the experts for each of m terms, at points (B, *shape) and times (B,)."""
Guided = Callable[[Tensor], Tensor]
"""Guidance weights (B, m - 1) at times (B,) of the terms but ∅, for fixed labels."""


def sample_ensemble(
    manifest: Manifest,
    experts: Sequence[Teacher],
    labels: Tensor,
    *,
    rule: Rule,
    routing: Routing,
    top_k: int | None = None,
    gate: Weights | None = None,
    seed: int,
    given: Given | None = None,
    sampler: Sampler | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw one sample per label (B, n) from a mixture of experts.

    Args: as `Ensemble.load`, and `given`: numbers of the samples that are given, if any, and
        `sampler`: how else samples are drawn.

    Returns: (B, *flow_shape) on the CPU. The seed decides all draws.
    """
    ensemble = Ensemble.load(
        manifest, experts, rule=rule, routing=routing, top_k=top_k, gate=gate, device=device
    )
    return ensemble.sample(labels, seed, given, sampler)


@dataclass(frozen=True)
class Ensemble:
    """Experts on a device, and the rule that mixes them."""

    manifest: Manifest
    path: Path
    experts: Sequence[VelocityField]
    counts: Router
    null: Tensor
    rule: Rule
    top_k: int | None
    energies: bool
    judge: nn.Module | None
    guide: Guide | None = None
    """Guidance weights of samples; None if all are 1."""

    @classmethod
    def load(
        cls,
        manifest: Manifest,
        experts: Sequence[Teacher],
        *,
        rule: Rule,
        routing: Routing,
        top_k: int | None = None,
        gate: Weights | None = None,
        device: torch.device | str = "cpu",
    ) -> Self:
        """Put experts on the device.

        Args:
            rule: `joint` mixes v_k(c); `composed` mixes the terms of Eq. 5 of DCFM.
            top_k: number of experts with the largest weights to keep, renormalised; all if None.
            gate: weights of the gating network, only for routing `trained`.
        """
        if (gate is not None) != (routing == "trained"):
            raise ValueError("weights of a gating network are needed with routing 'trained' only")
        counts = [expert.counts for expert in experts]
        return cls(
            manifest,
            path_of(manifest),
            [load(manifest, expert.weights, device) for expert in experts],
            Router(counts, manifest.cardinalities, device),
            null_label(manifest.cardinalities, device),
            rule,
            top_k,
            energies=routing == "energy",
            judge=None if gate is None else gating.load(manifest, gate, device),
            guide=run_guide(manifest, counts, device, composed=rule == "composed"),
        )

    def sample(
        self,
        labels: Tensor,
        seed: int,
        given: Given | None = None,
        sampler: Sampler | None = None,
    ) -> Tensor:
        """Draw one sample per label (B, n) with the run's guidance weights, on the CPU.

        Args:
            given: numbers of the samples that are given, if any.
            sampler: how else samples are drawn.

        Raises:
            ValueError: energies weight the experts, and the sampler switches.
        """
        own = None if sampler is None else sampler.own
        if own is not None and self.rule == "joint":
            through = run_guide(self.manifest, self.counts.counts, self.null.device, composed=True)
            return replace(self, rule="composed", guide=through).sample(
                labels, seed, given, sampler
            )
        switch = sampler is not None and sampler.switch
        if switch and self.energies:
            raise ValueError("energies need every expert at every step")
        draws, device = torch.Generator().manual_seed(seed), self.null.device
        x0 = noise(self.manifest, len(labels), draws)
        probes = energy.probes(tuple(x0.shape[1:]), len(labels), draws)
        done, there = [x0[:0]], on_device(draws, device)
        switching = on_device(torch.Generator().manual_seed(seed + 1), device) if switch else None
        rows = at_once(self.manifest)
        for start in range(0, len(labels), rows):
            part = slice(start, start + rows)
            at, c, e = (given.to(device) for given in (x0[part], labels[part], probes[:, part]))
            with torch.no_grad():
                known = given and given.rows(part).to(device)
                mine = own and own.rows(part).to(device)
                x = self._integrate(at, c, e, there, given=known, own=mine, switching=switching)
                done.append(x.cpu())
        return torch.cat(done)

    def velocity(self, x: Tensor, t: Tensor, c: Tensor, motion: Tensor) -> Tensor:
        """The mixture's predictions at points x (B, *shape), with guidance weights of 1.

        Args:
            motion: (B, *shape), velocity of the straight paths from noise to the points; energies
                are integrated along them. Not used without energies.
        """
        terms, prior = self._terms(c, guided=False)
        if not self.energies:
            return self._field(terms, prior)(x, t)
        draws = torch.Generator().manual_seed(0)
        e = energy.probes(tuple(x.shape[1:]), len(x), draws).to(x.device)
        x0 = x - spread(t, x) * motion

        def field(density: Tensor, s: Tensor) -> Tensor:
            now = s * t
            at = Located(x0 + spread(now, x) * motion, now, density.reshape(prior.shape))
            _, rates = self._step(terms, prior, at, e, top_k=None, motion=motion)
            return rates.flatten(1) * t.unsqueeze(1)

        steps = self.manifest.method.solver_steps
        start = start_density(x0, prior)
        density = self.path.integrate(field, start, steps, "heun", draws)
        at = Located(x, t, density.reshape(prior.shape))
        return self._step(terms, prior, at, e, top_k=self.top_k)[0]

    def predicted(self, x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        """The mixture's predictions at labels c (B, n) of which all attributes, one or none are
        set, without guidance. Not for energies."""
        full = (c != self.null).all(dim=1, keepdim=True)
        joint, alone = self.counts.joint_weights(c), self.counts.marginal_weights(c)
        prior = torch.where(full, joint, alone).unsqueeze(1)
        return self._field(c.unsqueeze(1), prior)(x, t)

    def _integrate(
        self,
        x0: Tensor,
        c: Tensor,
        e: Tensor,
        draws: torch.Generator,
        *,
        given: Given | None,
        own: OwnWeights | None,
        switching: torch.Generator | None,
    ) -> Tensor:
        terms, prior = self._terms(c, guided=self.guide is not None, own=own)
        w = None if self.guide is None else partial(self.guide, c)
        if own is not None:
            w = partial(_over, own, w)
        if self.energies:
            return self.integrate_energies(terms, prior, x0, e, draws, w=w, given=given)[0]
        method = self.manifest.method
        field = self._field(terms, prior, w, switching)
        if given is not None:
            field = given.field(field)
        return last_of(self.path.trajectory(field, x0, method.solver_steps, method.solver, draws))

    def integrate_energies(
        self,
        terms: Tensor,
        prior: Tensor,
        x0: Tensor,
        probes: Tensor,
        draws: torch.Generator,
        *,
        w: Guided | None = None,
        given: Given | None = None,
    ) -> tuple[Tensor, Tensor]:
        """DFD: the sample at t = 1 and log p_k of every term there, (B, *shape) and (B, m, K).

        The log densities are additional coordinates of the solver's state.

        Args:
            terms, prior: labels (B, m, n), and the weights of experts before energies (B, m, K).
            probes: of the divergence, (P, B, *shape).
        """
        split, method = x0[0].numel(), self.manifest.method

        def field(state: Tensor, t: Tensor) -> Tensor:
            x, density = state[:, :split].reshape(x0.shape), state[:, split:].reshape(prior.shape)
            at = Located(x, t, density)
            motion, rates = self._step(terms, prior, at, probes, top_k=self.top_k, w=w)
            if given is not None:
                motion = given.towards(motion, x, t)
            return torch.cat([motion.flatten(1), rates.flatten(1)], dim=1)

        state = torch.cat([x0.flatten(1), start_density(x0, prior)], dim=1)
        state = last_of(
            self.path.trajectory(field, state, method.solver_steps, method.solver, draws)
        )
        return state[:, :split].reshape(x0.shape), state[:, split:].reshape(prior.shape)

    def _step(
        self,
        terms: Tensor,
        prior: Tensor,
        at: "Located",
        probes: Tensor,
        *,
        top_k: int | None,
        motion: Tensor | None = None,
        w: Guided | None = None,
    ) -> tuple[Tensor, Tensor]:
        """DFD's velocity (B, *shape), and the rates of all log densities (B, m, K) for points that
        move with `motion`, or with DFD's velocity if None."""
        m = terms.shape[1]
        rows = at.x.repeat_interleave(m, dim=0), at.t.repeat_interleave(m), terms.flatten(0, 1)
        e = probes.repeat_interleave(m, dim=1)
        found = [energy.with_divergence(expert, *rows, e) for expert in self.experts]
        each = torch.stack([_by_term(velocity, terms) for velocity, _ in found], dim=2)
        shares = torch.softmax(prior.log() + at.density, dim=-1)
        velocities = self.path.mix(sparse(shares, top_k), each)
        velocity = _composed(self.path, velocities, None if w is None else w(at.t))
        moved = (velocity if motion is None else motion).repeat_interleave(m, dim=0)
        rates = [energy.density_rate(v, d, rows[0], rows[1], moved) for v, d in found]
        return velocity, torch.stack([_by_term(rate, terms) for rate in rates], dim=2)

    def _terms(
        self, c: Tensor, *, guided: bool, own: OwnWeights | None = None
    ) -> tuple[Tensor, Tensor]:
        """Labels (B, m, n) of the rule, and the experts' weights by label counts (B, m, K)."""
        if self.rule == "composed":
            absent = absent_label(self.manifest, self.null.device)
            terms = own_terms(c, self.null, own, absent)
            return terms, self.counts.marginal_weights(terms)
        terms, prior = c.unsqueeze(1), self.counts.joint_weights(c).unsqueeze(1)
        if not guided:
            return terms, prior
        empty = self.null.expand_as(terms)
        shares = self.counts.marginal_weights(empty)
        return torch.cat([empty, terms], dim=1), torch.cat([shares, prior], dim=1)

    def _field(
        self,
        terms: Tensor,
        prior: Tensor,
        w: Guided | None = None,
        switching: torch.Generator | None = None,
    ) -> Field:
        """The field weighted by label counts, or by the gating network, equally for every term."""
        judge, (_, m, k) = self.judge, prior.shape

        def weigh(x: Tensor, t: Tensor) -> Tensor:
            if judge is None:
                return prior
            return torch.softmax(judge(x, t)[:, :k], dim=-1).unsqueeze(1).expand(-1, m, -1)

        return mixture(self.path, self.experts, terms, weigh, self.top_k, w=w, switching=switching)


def sparse(weights: Tensor, top_k: int | None) -> Tensor:
    """Keep the `top_k` largest of K weights and renormalise, (..., K) -> (..., K)."""
    if top_k is None or top_k >= weights.shape[-1]:
        return weights
    if top_k < 1:
        raise ValueError(f"top_k must be at least 1, not {top_k}")
    heaviest = weights.topk(top_k, dim=-1)
    kept = torch.zeros_like(weights).scatter(-1, heaviest.indices, heaviest.values)
    return kept / kept.sum(dim=-1, keepdim=True)


def mixture(
    path: Path,
    experts: Sequence[VelocityField],
    terms: Tensor,
    weigh: Weigh,
    top_k: int | None = None,
    *,
    w: Guided | None = None,
    switching: torch.Generator | None = None,
) -> Field:
    """DDM's field for terms (B, m, n): ∅ and all c^{i}, ∅ and c, or c alone; `switching` as in
    `sampling.mixed`."""

    def field(x: Tensor, t: Tensor) -> Tensor:
        shares = sparse(weigh(x, t), top_k)
        found = mixed(path, experts, x, t, terms, shares=shares, switching=switching)
        return _composed(path, found, None if w is None else w(t))

    return field


@dataclass(frozen=True)
class Located:
    """Points x (B, *shape), times (B,), and log p_k of every term there (B, m, K)."""

    x: Tensor
    t: Tensor
    density: Tensor


def start_density(x0: Tensor, prior: Tensor) -> Tensor:
    """log N(x_0; 0, I) for every term and expert, (B, m K)."""
    return energy.noise_density(x0).unsqueeze(1).expand(-1, prior[0].numel())


def _composed(path: Path, terms: Tensor, w: Tensor | None = None) -> Tensor:
    """Compose terms (B, m, *prediction_shape), with guidance weights (B, m - 1), or 1 if None; a
    single term is not composed."""
    w = torch.ones(terms.shape[1] - 1, device=terms.device) if w is None else w
    return path.compose(terms, composition_weights(w))


def _over(own: OwnWeights, w: Guided | None, t: Tensor) -> Tensor:
    """The weights of samples with some of their own, as `Guided`; the run's are 1 without w."""
    return own.over(torch.ones_like(own.toward[0]) if w is None else w(t))


def _by_term(many: Tensor, terms: Tensor) -> Tensor:
    return many.reshape(*terms.shape[:2], *many.shape[1:])
