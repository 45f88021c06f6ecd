"""One problem with one seed: what each model learns from each number of samples."""

import time
from functools import partial

import numpy as np
import torch
from torch import Tensor

from dcfm_node.experiment.factorised.problems import Sum
from dcfm_node.experiment.factorised.settings import TRUTH, VALUES, Factorised, Kind
from dcfm_node.experiment.lines import NOISE_SEED, TrialSpec, named
from dcfm_node.experiment.results import Metrics, Row
from dcfm_node.experiment.rows import RowsTrial
from dcfm_node.flow import stages
from dcfm_node.flow.sampling import sample
from dcfm_node.flow.stages import EncodedSamples
from dcfm_node.flow.trainer import Callbacks
from dcfm_node.records.manifest import Attribute, Manifest, Policy, Probes, Silo
from dcfm_node.samples import Labels, Samples


class FactorisedTrial(RowsTrial):
    """Runs the trial of a specification; its partition is the problem's name."""

    def __init__(self, spec: TrialSpec, given: Factorised) -> None:
        (problem,) = (one for one in given.problem if one.name == spec.partition)
        inputs = given.model_dump_json(exclude={"problem", "sizes", "seeds", "title"})
        super().__init__(spec, given.lineup, inputs + problem.model_dump_json())
        self._given = given
        self._problem = Sum.drawn(problem, given.sigma, spec.seed)

    def row(self, variant: str) -> Row:
        """The model's accuracy and distance, for known and novel combinations."""
        if variant == TRUTH:
            rng = np.random.default_rng(NOISE_SEED + self._spec.seed)
            asked = self._problem.asked(self._given.each)
            metrics = self._measured(
                {kind: self._problem.draw(c, rng) for kind, c in asked.items()}
            )
            return self._row(variant, TRUTH, metrics, 0.0)
        kind, size = self._given.variants[variant]
        began = time.process_time()
        drawn, learnt = self._learnt(kind, self._data(size))
        seconds = time.process_time() - began
        metrics = {"size": float(size), **learnt, **self._measured(drawn)}
        return self._row(variant, kind.name, metrics, seconds)

    def _row(self, variant: str, rule: str, metrics: Metrics, seconds: float) -> Row:
        spec = self._spec
        return Row(
            method=variant,
            partition=spec.partition,
            seed=spec.seed,
            rule=rule,
            metrics=metrics,
            cost={"cpu_seconds": seconds},
        )

    def _data(self, size: int) -> Samples:
        """The first samples of every known combination: more samples include the fewer."""
        known = np.array(self._problem.known)
        rng = np.random.default_rng(self._spec.seed)
        c: Labels = np.concatenate([known] * size)
        return self._problem.draw(c, rng)

    def _learnt(self, kind: Kind, data: Samples) -> tuple[dict[str, Samples], Metrics]:
        """Draws of the trained model, and what training measured."""
        run, device = posed(self._problem, self._given, kind, self._spec.seed), self._device
        held = self._problem.draw(data.c, np.random.default_rng([self._spec.seed, 1]))
        encoded = partial(_encoded, one_label=kind.one_label)
        callbacks = Callbacks(
            device=device, progress=lambda done, total, _: self._tell(kind.name, done, total)
        )
        outcome = stages.local(
            run, encoded(data), encoded(held), seed=self._spec.seed, callbacks=callbacks
        )
        drawn = {}
        for name, c in self._problem.asked(self._given.each).items():
            labels, seed = _labels(c, one=kind.one_label), NOISE_SEED + self._spec.seed
            x = sample(run, outcome.weights, labels, seed=seed, device=device)
            drawn[name] = Samples(x.numpy(), c)
        return drawn, {"train_loss": outcome.metrics["train_loss"]}

    def _measured(self, drawn: dict[str, Samples]) -> Metrics:
        return {
            named(metric, kind): value
            for kind, samples in drawn.items()
            for metric, value in self._problem.measure(samples).items()
        }


def posed(problem: Sum, given: Factorised, kind: Kind, seed: int) -> Manifest:
    """The run in which one silo holds all data."""
    ways = {"ci_weight": kind.ci_weight, "product_share": kind.product_share}
    stage = given.training.model_copy(update=ways)
    return Manifest.model_validate(
        {
            "name": given.name,
            "sample_shape": problem.effects.shape[2:],
            "attributes": (_whole(problem),) if kind.one_label else problem.attributes,
            "standardise": "none",
            "network": given.network,
            "method": {
                "name": "dcfm",
                "seed": seed,
                "masks": kind.masks,
                "composed": kind.composed,
                "local": stage,
                "refine": stage,
                "distil": stage,
            },
            "policy": Policy(),
            "probes": Probes(share=0.0),
            "roster": (Silo(name="silo-000", key=bytes(32)),),
        }
    )


def _whole(problem: Sum) -> Attribute:
    """The attribute whose values are the combinations."""
    count = VALUES ** len(problem.attributes)
    return Attribute(name="combination", values=tuple(f"c{i}" for i in range(count)))


def _labels(c: Labels, *, one: bool) -> Tensor:
    """Values of all attributes (N, n), or the combination's place (N, 1) among all."""
    if one:
        c = (c @ VALUES ** np.arange(c.shape[1]))[:, None]
    return torch.from_numpy(c)


def _encoded(data: Samples, *, one_label: bool) -> EncodedSamples:
    return EncodedSamples(torch.from_numpy(data.x), _labels(data.c, one=one_label))
