"""The interfaces of a network and of a codec: what a user's package brings of its own.

Both are named by a section of the manifest, whose `code` is a class of these.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dcfm_node.errors import ConfigError
from dcfm_node.records.settings import NetworkSettings


class Network(nn.Module, ABC):
    """What every silo and the student train: a module of points, times and labels.

    All silos make it from one seed, so that its initial weights are the same everywhere: it must
    draw nothing but through `torch.nn.init`. Its state must hold floating-point tensors alone, and
    no rows may depend on one another (no batch normalisation).

    Args of the constructor:
        settings: the manifest's section `network`.
        shape: of one sample, as the flow sees it.
        outputs: of one prediction; the path says it (`Path.prediction_shape`).
        cardinalities: |C_i|; the value |C_i| of attribute i is its null token.
    """

    @abstractmethod
    def __init__(
        self,
        settings: Any,
        shape: tuple[int, ...],
        outputs: tuple[int, ...],
        cardinalities: tuple[int, ...],
    ) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        """Outputs (B, *outputs) for points (B, *shape), times (B,) and labels (B, n) int64."""

    @classmethod
    def gating_network(
        cls, settings: NetworkSettings, shape: tuple[int, ...], experts: int
    ) -> nn.Module:
        """A module from points (B, *shape) and times (B,) to logits over experts (B, experts), for
        methods that weigh experts by a trained classifier (DDM).

        Raises:
            ConfigError: the network brings none.
        """
        raise ConfigError(
            f"network {settings.kind!r} has no gating network, which this method trains",
            where="network.kind",
            fix='choose another network, or method.routing = "label"',
        )


def unit(x: Tensor) -> Tensor:
    """Samples as networks see them: pixels in bytes, 0 to 255, as float32 in [-1, 1]. Kept as bytes
    they take a quarter of the memory."""
    return x.float() * (2.0 / 255.0) - 1.0 if x.dtype == torch.uint8 else x


class Codec(ABC):
    """A frozen encoder and decoder between a silo's samples and what the flow sees.

    Args of the constructor:
        settings: the manifest's section `codec`.
        file: the file of that digest, on this node; None where the codec has none.
        shape: of one sample.
    """

    @abstractmethod
    def __init__(self, settings: Any, file: Path | None, shape: tuple[int, ...]) -> None: ...

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Samples (N, *shape), float32 or pixels as bytes -> (N, *latent_shape)."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """What the flow drew (N, *latent_shape) -> samples (N, *shape), float32."""
