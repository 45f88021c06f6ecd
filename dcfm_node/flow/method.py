"""The torch half of a method: trains experts and makes students.

The pure half, `dcfm_node.swarm.method`, decides which silo trains when, and from which weights.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dcfm_node import plugins
from dcfm_node.errors import ConfigError
from dcfm_node.flow import networks, sampling, stages
from dcfm_node.flow.correcting import sample_corrected
from dcfm_node.flow.inpainting import Given
from dcfm_node.flow.labels import Counts
from dcfm_node.flow.losses import VelocityField
from dcfm_node.flow.networks import Schema, Weights
from dcfm_node.flow.sampling import Sampler, Teacher
from dcfm_node.flow.stages import EncodedSamples, Outcome
from dcfm_node.flow.trainer import Callbacks
from dcfm_node.records.manifest import Manifest


@dataclass(frozen=True)
class SiloData:
    """A silo's private samples: `train` to learn from, `holdout` to measure on."""

    name: str
    train: EncodedSamples
    holdout: EncodedSamples


@dataclass(frozen=True)
class Start:
    """Inputs of a silo's training; the pure half says which of them a round uses.

    Attributes:
        round: from 0, which is Stage I.
        init: weights to start from; the run's common initial weights if None.
        anchor: the interim student to refine against.
        teachers: published experts, including this silo's own if the pure half names it.
    """

    round: int = 0
    init: Weights | None = None
    anchor: Weights | None = None
    teachers: Sequence[Teacher] = ()


class Learner(ABC):
    """A method in torch, for one run. The defaults fit a student that is one network of the run.

    Weights are flat dicts of contiguous float32 tensors on the CPU. All results depend only on the
    arguments: two nodes with the same inputs and seed get the same weights.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest

    @abstractmethod
    def train(self, silo: SiloData, start: Start, *, seed: int, callbacks: Callbacks) -> Outcome:
        """Train a silo's expert of one round. The metrics go into its record; `holdout_loss`, the
        error on the hold-out, decides convergence."""

    @abstractmethod
    def student(self, teachers: Sequence[Teacher], *, seed: int, callbacks: Callbacks) -> Outcome:
        """Make the student from all experts, on the elected node, without data."""

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
        """Draw one sample per label (B, n) from a student, with the run's rule and its guidance
        weights (SPEC 6.15).

        Args:
            counts: silo -> label counts, for every teacher of the student.
            given: numbers of the samples that are given, if any.
            sampler: how else samples are drawn. A corrector does not know `given`.

        Returns: (B, *flow_shape) on the CPU, not yet decoded by the codec.

        Raises:
            Failed: the student lacks a tensor of a silo in `counts`.
        """
        if sampler is not None and sampler.correct is not None:
            return sample_corrected(
                self.manifest,
                tensors,
                labels,
                counts=counts.values(),
                seed=seed,
                sampler=sampler,
                device=device,
            )
        return sampling.sample(
            self.manifest,
            tensors,
            labels,
            counts=counts.values(),
            seed=seed,
            given=given,
            sampler=sampler,
            device=device,
        )

    def field(
        self,
        tensors: Weights,
        *,
        counts: Mapping[str, Counts],
        device: torch.device | str = "cpu",
    ) -> VelocityField:
        """Predictions of a student at labels of which all attributes, one or none are set, without
        guidance: what several students are composed of (`flow.product`).

        Args: as of `sample`.

        Raises:
            ConfigError: the student is an ensemble, and this method does not say what it predicts.
        """
        if self.manifest.method.ensemble:
            raise ConfigError(
                f"a student of {self.manifest.method.name} needs all its experts along a whole"
                " path, so it cannot be a part of a product",
                where="compose",
                fix="leave it out",
            )
        return networks.load(self.manifest, tensors, device)

    def score(
        self,
        tensors: Weights,
        holdout: EncodedSamples,
        *,
        counts: Mapping[str, Counts],
        reference: Weights | None,
        device: torch.device | str = "cpu",
    ) -> dict[str, float]:
        """Error of a student on a silo's hold-out data, with the rule that samples it. Guidance
        weights are 1, because the error is that of a velocity, and guidance changes velocities.

        Args:
            counts: as in `sample`.
            reference: the silo's own expert.

        Returns: `holdout_loss`; with a reference also `reference_loss`, the error of its joint
            head on the same draws (SPEC 6.7).
        """
        return stages.score(self.manifest, tensors, holdout, reference=reference, device=device)

    def beside_experts(self) -> Schema:
        """Schema of an ensemble's tensors besides its experts', without prefix (SPEC 5.1.4)."""
        return {}

    def checkpoint(self) -> Schema:
        """Schema of a checkpoint of an unfinished student; empty if no node can resume from one."""
        return {}


def learner_of(manifest: Manifest) -> Learner:
    """The torch half of a run's method."""
    return plugins.make(manifest.method.code, Learner, manifest)  # type: ignore[type-abstract]
