"""The torch half of a method: how experts are trained, and what a student is made of.

The pure half, `dcfm_node.swarm.method`, decides who trains when and from what.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dcfm_node import plugins
from dcfm_node.flow import sampling, stages
from dcfm_node.flow.labels import Counts
from dcfm_node.flow.networks import Schema, Weights
from dcfm_node.flow.sampling import Teacher
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
    """What a silo trains from; the pure half says which of these a round has.

    Attributes:
        round: 0-based; Stage I is round 0.
        init: weights to start from; the run's common initial weights if None.
        anchor: the student to refine against.
        teachers: published experts, this silo's own among them where the pure half names it.
    """

    round: int = 0
    init: Weights | None = None
    anchor: Weights | None = None
    teachers: Sequence[Teacher] = ()


class Learner(ABC):
    """A method in torch, for one run. What is not overridden is right for a student that is one
    network of the run's kind.

    Weights are flat dicts of contiguous float32 tensors on the CPU. All results are functions of
    the arguments: two nodes with the same inputs and seed get the same weights.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest

    @abstractmethod
    def train(self, silo: SiloData, start: Start, *, seed: int, callbacks: Callbacks) -> Outcome:
        """A silo's expert of one round. The metrics go into its record: `holdout_loss`, the error
        on the hold-out, is what convergence is judged by."""

    @abstractmethod
    def student(self, teachers: Sequence[Teacher], *, seed: int, callbacks: Callbacks) -> Outcome:
        """What the elected node makes of all experts, without data."""

    def sample(
        self,
        tensors: Weights,
        labels: Tensor,
        *,
        counts: Mapping[str, Counts],
        seed: int,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Draw one sample per label (B, n) from a student, by the run's own rule.

        Args:
            counts: label counts of the student's teachers, by silo.

        Returns: (B, *flow_shape) on the CPU; a codec is still to decode it.

        Raises:
            Failed: the student lacks a tensor of one of these silos.
        """
        return sampling.sample(self.manifest, tensors, labels, seed=seed, device=device)

    def score(
        self,
        tensors: Weights,
        holdout: EncodedSamples,
        *,
        counts: Mapping[str, Counts],
        reference: Weights | None,
        device: torch.device | str = "cpu",
    ) -> dict[str, float]:
        """Error of a student on a silo's hold-out data, by the rule it is sampled with.

        Args:
            counts: as in `sample`.
            reference: the silo's own expert.

        Returns: `holdout_loss`, and with a reference `reference_loss`, its joint head's error on
            the same draws (SPEC 6.7).
        """
        return stages.score(self.manifest, tensors, holdout, reference=reference, device=device)

    def beside_experts(self) -> Schema:
        """What an ensemble holds beside its experts' tensors, without the prefix (SPEC 5.1.4)."""
        return {}

    def checkpoint(self) -> Schema:
        """What a checkpoint of an unfinished student holds; empty if nobody can go on from one."""
        return {}


def learner_of(manifest: Manifest) -> Learner:
    """The torch half of a run's method."""
    return plugins.make(manifest.method.code, Learner, manifest)  # type: ignore[type-abstract]
