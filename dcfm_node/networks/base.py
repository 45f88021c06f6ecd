"""The interfaces of a network and a codec, which another package can implement.

A section of the manifest names each; its `code` is a subclass of one of these.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dcfm_node.errors import ConfigError
from dcfm_node.records.settings import NetworkSettings


class Network(nn.Module, ABC):
    """The network that every silo and the student train, a function of points, times and labels.

    All silos make it from one seed, so the constructor must draw its initial weights with
    `torch.nn.init` only. All state must be floating point, and rows must not depend on each other
    (no batch normalisation).

    Args of the constructor:
        settings: the manifest's section `network`.
        shape: of one sample, after the codec.
        outputs: shape of one prediction (`Path.prediction_shape`).
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
        """A module from points (B, *shape) and times (B,) to logits of experts (B, experts), for
        methods that weight experts with a trained classifier (DDM).

        Args:
            shape: of one prediction (`Path.prediction_shape`); for numbers that of one sample.

        Raises:
            ConfigError: the network does not provide one.
        """
        raise ConfigError(
            f"network {settings.kind!r} has no gating network, but this method needs one",
            where="network.kind",
            fix='choose another network, or method.routing = "label"',
        )


def unit(x: Tensor) -> Tensor:
    """Convert uint8 pixels, 0 to 255, to float32 in [-1, 1]; float samples stay unchanged. Stored
    as uint8, pixels take a quarter of the memory."""
    return x.float() * (2.0 / 255.0) - 1.0 if x.dtype == torch.uint8 else x


class Codec(ABC):
    """A frozen encoder and decoder between a silo's samples and the samples of the flow.

    Args of the constructor:
        settings: the manifest's section `codec`.
        file: local path of the file with the digest in the settings; None if the codec has none.
        shape: of one sample.

    Attributes:
        chunk: most samples that are encoded or decoded at once; default 4096.
    """

    chunk: ClassVar[int] = 4_096

    @abstractmethod
    def __init__(self, settings: Any, file: Path | None, shape: tuple[int, ...]) -> None: ...

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Samples (N, *shape), float32 or uint8 pixels -> (N, *latent_shape)."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Samples of the flow (N, *latent_shape) -> samples (N, *shape), float32."""
