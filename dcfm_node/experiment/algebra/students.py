"""Composed laws of a student. Three silos hold coloured digits, and no silo holds the rest."""

from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from dcfm_node.domains.base import SplitSpec, queries
from dcfm_node.domains.digits import Digits, DigitsEvaluator
from dcfm_node.domains.distances import precision_recall
from dcfm_node.domains.settings import DigitsSettings
from dcfm_node.experiment.algebra.settings import Students
from dcfm_node.experiment.lab import Lab, Tell
from dcfm_node.experiment.lines import TrialSpec, named
from dcfm_node.experiment.results import Metrics
from dcfm_node.flow.correcting import Terms, composition
from dcfm_node.flow.guidance import OwnWeights
from dcfm_node.flow.labels import null_label
from dcfm_node.flow.losses import VelocityField, evaluate_terms
from dcfm_node.flow.networks import load
from dcfm_node.records.manifest import Manifest, Policy, Probes, Silo
from dcfm_node.samples import Combination, Samples


@dataclass(frozen=True)
class StudentDigits:
    """A student of DCFM-B, and what is asked of it.

    Attributes:
        network: the student's.
        null: its null label (2,).
        asked: labels (B, 2).
        real: samples of every combination, also of those that no silo holds.
        novel: these combinations.
    """

    network: VelocityField
    null: Tensor
    asked: Tensor
    real: Samples
    novel: frozenset[Combination]
    shape: tuple[int, ...] = field(default=(3, 8, 8))

    @classmethod
    def trained(cls, given: Students, spec: TrialSpec, tell: Tell) -> Self:
        """The student of a seed's split, distilled from its silos' experts."""
        split = Digits(DigitsSettings()).split(SplitSpec(seed=spec.seed))
        assert split.complete is not None
        run = posed(given, len(split.silos), spec.seed)
        lab = Lab(run, split, spec.out / "students" / str(spec.seed), "cpu", tell)
        student = lab.distil(lab.local(), 0)
        asked = torch.from_numpy(queries(list(run.space()), given.each))
        net, null = load(run, student.weights, "cpu"), null_label(run.cardinalities)
        return cls(net, null, asked, split.complete, frozenset(split.held_out))

    def terms(self, weight: float, *, joint: bool) -> Terms:
        """Velocities (B, m, 192) of ∅, the digit and the colour, or of the joint head alone."""
        size = len(self.asked)
        own = OwnWeights(
            torch.full((size, 2), weight),
            torch.zeros(size, 0, 2, dtype=torch.int64),
            torch.zeros(size, 0),
        )
        inner = composition(self.network, self.asked, self.null, None, own=own)

        def terms(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            x = x.reshape(-1, *self.shape)
            if joint:
                each, w = evaluate_terms(self.network, x, t, self.asked.unsqueeze(1)), torch.ones(1)
            else:
                each, w = inner(x, t)
            return each.flatten(2), w

        return terms

    def measure(self, x: Tensor) -> Metrics:
        """Of samples (B, 192) of combinations that some silo holds, and of others: the share that
        shows both values; distance from and recall of real ones."""
        drawn = Samples(x.reshape(-1, *self.shape).numpy(), self.asked.numpy())
        judge, found = DigitsEvaluator(), Metrics()
        for kind in ("known", "novel"):
            some, real = (self._of(kind, samples) for samples in (drawn, self.real))
            found[named("accuracy", kind)] = float(judge.right(some).mean())
            found[named("distance", kind)] = judge.distance(some, real)
            found[named("recall", kind)] = precision_recall(
                judge.features(real), judge.features(some)
            )[1]
        return found

    def _of(self, kind: str, samples: Samples) -> Samples:
        wanted = kind == "novel"
        rows = [i for i, c in enumerate(samples.c.tolist()) if (tuple(c) in self.novel) == wanted]
        return samples[rows]


def posed(given: Students, silos: int, seed: int) -> Manifest:
    """The run of the silos, with placeholder keys."""
    roster = (Silo(name=f"silo-{k:03}", key=k.to_bytes(32, "big")) for k in range(silos))
    return Manifest.model_validate(
        {
            "name": "students",
            "sample_shape": (3, 8, 8),
            "attributes": Digits.own_attributes,
            "standardise": "none",
            "network": given.network,
            "method": {
                "name": "dcfm",
                "seed": seed,
                "masks": given.masks,
                "local": given.local,
                "refine": given.local,
                "distil": given.distil,
            },
            "policy": Policy(),
            "probes": Probes(share=0.0),  # the split itself holds combinations back
            "roster": tuple(roster),
        }
    )
