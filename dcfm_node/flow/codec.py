"""The codec of a run: encodes private samples for the flow, and decodes drawn samples."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from dcfm_node import plugins
from dcfm_node.flow.stages import EncodedSamples
from dcfm_node.networks.base import Codec
from dcfm_node.networks.codecs import Identity
from dcfm_node.records.manifest import Manifest
from dcfm_node.samples import Samples

CHUNK = 4096
"""Samples encoded or decoded in one batch."""


def codec_of(manifest: Manifest, file: Path | None) -> Codec:
    """The frozen codec of a run.

    Args:
        file: local path of the file that the manifest names by digest; None if it names none.

    Raises:
        UserError: the file is missing or has another digest.
    """
    codec = manifest.codec
    return plugins.make(codec.code, Codec, codec, file, manifest.sample_shape)  # type: ignore[type-abstract]


def encoded_samples(data: Samples, codec: Codec | None = None) -> EncodedSamples:
    """A silo's samples after the codec. Without a codec, or with the identity, the tensors share
    the memory of the arrays."""
    x = torch.from_numpy(data.x)
    return EncodedSamples(encoded(codec, x) if codec else x, torch.from_numpy(data.c))


def encoded(codec: Codec, x: Tensor) -> Tensor:
    """Samples (N, *shape), float32 or uint8 -> (N, *flow_shape). The identity copies nothing."""
    return x if isinstance(codec, Identity) else _parts(codec.encode, x)


def decoded(codec: Codec, z: Tensor) -> Tensor:
    """Drawn (N, *flow_shape) -> samples (N, *shape). The identity copies nothing."""
    return z if isinstance(codec, Identity) else _parts(codec.decode, z)


def _parts(apply: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([apply(part) for part in torch.split(x, CHUNK)])
