"""The torch halves of DDM and DFD: independent experts, and a student that is their ensemble.

The student's snapshot holds the tensors of every teacher, and of the gating network if the run
trains one. Label counts are in the silos' records, not in the file.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dcfm_node.errors import ConfigError, Failed
from dcfm_node.flow import metrics, stages
from dcfm_node.flow.inpainting import Given
from dcfm_node.flow.labels import Counts
from dcfm_node.flow.losses import VelocityField
from dcfm_node.flow.method import Learner, SiloData, Start
from dcfm_node.flow.networks import Schema, Weights
from dcfm_node.flow.sampling import Sampler, Teacher
from dcfm_node.flow.stages import EncodedSamples, Outcome
from dcfm_node.flow.trainer import Callbacks
from dcfm_node.methods.mixture import gating
from dcfm_node.methods.mixture.ensembles import Ensemble, Routing
from dcfm_node.methods.mixture.schedule import Ddm, Mixture
from dcfm_node.paths.base import path_of
from dcfm_node.paths.linear import LinearPath
from dcfm_node.records.ensemble import of_expert, of_router
from dcfm_node.records.manifest import Manifest


class MixtureLearner(Learner):
    """What DDM and DFD share."""

    routing: Routing

    def train(self, silo: SiloData, start: Start, *, seed: int, callbacks: Callbacks) -> Outcome:
        """Stage I."""
        return stages.local(
            self.manifest, silo.train, silo.holdout, init=start.init, seed=seed, callbacks=callbacks
        )

    def student(self, teachers: Sequence[Teacher], *, seed: int, callbacks: Callbacks) -> Outcome:
        """Put all experts into one snapshot."""
        tensors = {
            of_expert(teacher.name, name): tensor
            for teacher in sorted(teachers, key=lambda teacher: teacher.name)
            for name, tensor in teacher.weights.items()
        }
        return Outcome(tensors, {"experts": float(len(teachers))})

    def sample(
        self,
        tensors: Weights,
        labels: Tensor,
        *,
        counts: Mapping[str, Counts],
        seed: int,
        given: Given | None = None,
        sampler: Sampler | None = None,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Draw samples from the mixture."""
        return self.ensemble(tensors, counts, device).sample(labels, seed, given, sampler)

    def field(
        self,
        tensors: Weights,
        *,
        counts: Mapping[str, Counts],
        device: torch.device | str = "cpu",
    ) -> VelocityField:
        """The mixture's predictions; energies, which follow a path, are refused."""
        if self.routing == "energy":
            return super().field(tensors, counts=counts, device=device)
        return self.ensemble(tensors, counts, device).predicted

    def score(
        self,
        tensors: Weights,
        holdout: EncodedSamples,
        *,
        counts: Mapping[str, Counts],
        reference: Weights | None,
        device: torch.device | str = "cpu",
    ) -> dict[str, float]:
        """The mixture's error."""
        ensemble, path = self.ensemble(tensors, counts, device), path_of(self.manifest)
        rows = metrics.holdout_rows(stages.points_of(self.manifest, holdout, device))
        target = rows.target(rows.c)

        def field(x: Tensor, t: Tensor, c: Tensor) -> Tensor:
            return ensemble.velocity(x, t, c, target)

        found = {"holdout_loss": metrics.velocity_error(path, field, rows)}
        return found | stages.reference_score(self.manifest, reference, rows, device)

    def ensemble(
        self, tensors: Weights, counts: Mapping[str, Counts], device: torch.device | str
    ) -> Ensemble:
        """The mixture that the manifest sets, with experts sorted by their silos' names."""
        method = self.manifest.method
        assert isinstance(method, Mixture)
        return Ensemble.load(
            self.manifest,
            [
                Teacher(silo, _under(of_expert(silo, ""), tensors), counts[silo])
                for silo in sorted(counts)
            ],
            rule="composed" if method.composed else "joint",
            routing=self.routing,
            top_k=method.top_k or None,
            gate=_under(of_router(""), tensors) if self.routing == "trained" else None,
            device=device,
        )


class DdmLearner(MixtureLearner):
    """Label counts or a gating network weight the experts."""

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        assert isinstance(manifest.method, Ddm)
        self.routing = manifest.method.routing

    def student(self, teachers: Sequence[Teacher], *, seed: int, callbacks: Callbacks) -> Outcome:
        """Put all experts into one snapshot, and train a gating network if the run has one."""
        teachers = sorted(teachers, key=lambda teacher: teacher.name)
        made = super().student(teachers, seed=seed, callbacks=callbacks)
        if self.routing == "label":
            return made
        gate = gating.train_gating(self.manifest, teachers, seed=seed, callbacks=callbacks)
        tensors = {of_router(name): tensor for name, tensor in gate.weights.items()}
        return Outcome(made.weights | tensors, made.metrics | gate.metrics)

    def beside_experts(self) -> Schema:
        """Schema of the gating network; empty if the run has none."""
        return gating.schema(self.manifest) if self.routing == "trained" else {}


class DfdLearner(MixtureLearner):
    """Energies weight the experts; they are known only on the linear path."""

    routing = "energy"

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        if not isinstance(path_of(manifest), LinearPath):
            raise ConfigError(
                f"method 'dfd' needs energies, which path {manifest.path.kind!r} does not give",
                where="path.kind",
                fix='set path.kind = "linear", or choose another method',
            )


def _under(prefix: str, tensors: Weights) -> Weights:
    found = {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    if not found:
        raise Failed(
            f"the student holds no tensor {prefix}*",
            fix="fetch the student again: dcfm-node student fetch --latest --out DIR",
        )
    return {name.removeprefix(prefix): tensor for name, tensor in found.items()}
