"""One mixture with one seed: how far each sampler is from the exact flow of the averaged field."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from dcfm_node.domains.base import Split
from dcfm_node.experiment.lab import Lab
from dcfm_node.experiment.lines import TrialSpec
from dcfm_node.experiment.results import Metrics, Row
from dcfm_node.experiment.rows import RowsTrial
from dcfm_node.experiment.switching.laws import (
    average_law,
    levels,
    noise_quantiles,
    switching_law,
    w2,
)
from dcfm_node.experiment.switching.mixtures import Mixture
from dcfm_node.experiment.switching.settings import EXACT, Mixtures, Switching
from dcfm_node.flow.labels import null_label
from dcfm_node.flow.losses import VelocityField
from dcfm_node.flow.networks import load
from dcfm_node.methods.mixture import gating
from dcfm_node.methods.mixture.ensembles import mixture
from dcfm_node.paths.base import Field
from dcfm_node.paths.linear import LinearPath
from dcfm_node.paths.settings import LinearPathSettings
from dcfm_node.records.manifest import Attribute, Manifest, Policy, Probes, Silo
from dcfm_node.records.settings import Masks
from dcfm_node.samples import Samples

MASKS = Masks(full=0.4, marginal=0.1, null=0.5)
"""Only the null label is sampled; the router learns on paths of full labels."""


@dataclass(frozen=True)
class Experts:
    """K fields without labels, and the router: exact ones in float64, trained ones in float32."""

    fields: Sequence[VelocityField]
    weigh: Callable[[Tensor, Tensor], Tensor]
    label: Tensor
    dtype: torch.dtype
    path: LinearPath

    def parts(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """As `laws.Parts`."""
        points, when = x[:, None].to(self.dtype), t.to(self.dtype)
        c = self.label.expand(len(x), -1)
        each = torch.cat([field(points, when, c) for field in self.fields], dim=1)
        return self.weigh(points, when).double(), each.double()

    def sampled(self, rows: int, switching: torch.Generator | None = None) -> Field:
        """The field of the package's own sampler."""
        terms = self.label.expand(rows, 1, -1)

        def weigh(x: Tensor, t: Tensor) -> Tensor:
            return self.weigh(x, t).unsqueeze(1)

        return mixture(self.path, self.fields, terms, weigh, switching=switching)

    def integrate(self, x0: Tensor, steps: int, solver: str, *, seed: int | None = None) -> Tensor:
        """Samples (B, d) from noise; each step follows one expert if there is a seed."""
        draws = None if seed is None else torch.Generator().manual_seed(seed)
        field, at = self.sampled(len(x0), draws), x0.to(self.dtype)
        with torch.no_grad():
            return self.path.integrate(field, at, steps, solver, torch.Generator()).double()


class SwitchingTrial(RowsTrial):
    """Runs the trial of a specification; its partition is the problem's name."""

    def __init__(self, spec: TrialSpec, given: Switching) -> None:
        self._given = given
        self._problem, self._kind = given.posed[spec.partition]
        inputs = given.model_dump_json(exclude={"problem", "steps", "seeds", "title"})
        inputs += self._problem.model_dump_json(exclude={"fields"})
        super().__init__(spec, given.lineup, inputs)
        self._mixture = _mixture(self._problem, spec.seed)

    def row(self, variant: str) -> Row:
        """The sampler's distances and cost."""
        rule, steps = self._given.variants[variant]
        experts, noise = self._experts, self._noise
        seed = self._spec.seed if rule == "switch" else None
        began = time.process_time()
        found = experts.integrate(noise, steps, "euler", seed=seed)
        seconds = time.process_time() - began
        each = 1 if rule == "switch" else len(experts.fields)
        metrics: Metrics = {
            "steps": float(steps),
            "evaluations": float(steps * each),
            "coupled": w2(found, self._exact) * self._problem.dims**0.5,
        }
        if self._problem.dims == 1:
            metrics |= {"w2": self._law(rule, steps), "bias": self._bias}
        return Row(
            method=variant,
            partition=self._spec.partition,
            seed=self._spec.seed,
            rule=rule,
            metrics=metrics,
            cost={"microseconds": 1e6 * seconds / len(noise)},
        )

    def _law(self, rule: str, steps: int) -> float:
        """W2 of the sampler's law from that of the exact flow."""
        given, parts = self._given, self._experts.parts
        with torch.no_grad():
            if rule == "average":
                law = average_law(parts, noise_quantiles(given.quantiles), steps)
            else:
                law = switching_law(parts, steps, given.grid, given.quantiles)
        return w2(law, self._limit)

    @cached_property
    def _noise(self) -> Tensor:
        draws = torch.Generator().manual_seed(self._spec.seed)
        shape = (self._given.samples, self._problem.dims)
        return torch.randn(shape, generator=draws, dtype=torch.float64)

    @cached_property
    def _exact(self) -> Tensor:
        """Where the flow of the averaged field carries the noise."""
        return self._experts.integrate(self._noise, self._given.fine, "rk4")

    @cached_property
    def _limit(self) -> Tensor:
        """Quantiles of the law that both samplers approach."""
        start = noise_quantiles(self._given.quantiles)[:, None]
        return self._experts.integrate(start, self._given.fine, "rk4").flatten().sort().values

    @cached_property
    def _bias(self) -> float:
        """W2 of that law from the data's: the ε of the theorem."""
        return w2(self._limit, self._mixture.quantiles(levels(self._given.quantiles)))

    @cached_property
    def _experts(self) -> Experts:
        path = LinearPath(LinearPathSettings(), "velocity")
        known = self._mixture
        if self._kind == EXACT:
            fields = [known.field(k) for k in range(known.silos)]
            label = torch.zeros(1, dtype=torch.int64)
            return Experts(fields, known.router, label, torch.float64, path)
        run, split = posed(known, self._given, self._spec.seed)
        lab = Lab(run, split, self._spec.out / "trained", "cpu", self._tell)
        made = lab.local(ci=False)
        judge = gating.load(run, lab.router(made).weights, "cpu")

        def weigh(x: Tensor, t: Tensor) -> Tensor:
            return torch.softmax(judge(x, t)[:, : known.silos], dim=1)

        fields = [load(run, one.weights, "cpu") for one in made]
        return Experts(fields, weigh, null_label(run.cardinalities), torch.float32, path)


def posed(known: Mixture, given: Switching, seed: int) -> tuple[Manifest, Split]:
    """The run that trains experts and router of a mixture, and its silos' data; the one attribute
    is the mode."""
    rng = np.random.default_rng(seed)
    drawn = [known.draw(k, given.data, rng) for k in range(known.silos)]
    silos = tuple(Samples(x.astype(np.float32), mode[:, None]) for x, mode in drawn)
    modes, dims = known.centres.shape
    attribute = Attribute(name="mode", values=tuple(f"m{i}" for i in range(modes)))
    plain = given.training.model_copy(update={"ci_weight": 0.0})
    run = Manifest.model_validate(
        {
            "name": given.name,
            "sample_shape": (dims,),
            "attributes": (attribute,),
            "standardise": "none",
            "network": given.network,
            "method": {
                "name": "ddm",
                "routing": "trained",
                "seed": seed,
                "masks": MASKS,
                "local": plain,
                "distil": plain,
            },
            "policy": Policy(),
            "probes": Probes(share=0.0),
            "roster": tuple(
                Silo(name=f"silo-{k:03}", key=k.to_bytes(32, "big")) for k in range(len(silos))
            ),
        }
    )
    return run, Split(run.attributes, (dims,), silos, ())


def _mixture(given: Mixtures, seed: int) -> Mixture:
    return Mixture.drawn(
        dims=given.dims,
        modes=given.modes,
        sigma=given.sigma,
        silos=given.silos,
        overlap=given.overlap,
        seed=seed,
    )
