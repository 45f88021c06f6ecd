"""From private samples to those of the flow, and back: the run's codec, then its scale."""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from dcfm_node import plugins
from dcfm_node.errors import ConfigError
from dcfm_node.flow.stages import EncodedSamples
from dcfm_node.networks.base import Codec, unit
from dcfm_node.networks.codecs import Identity
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.moments import MIN_SAMPLES, Moments, Scale
from dcfm_node.samples import Samples

FARTHEST = 1_000.0
"""Most deviations between a number and the mean (SPEC 6.13). Data of a silo of little weight, or
that stated no moments, may lie anywhere: squares of what is left must not overflow."""
CHUNK = 4096
"""Samples standardised in one batch."""


def codec_of(manifest: Manifest, file: Path | None) -> Codec:
    """The frozen codec of a run.

    Args:
        file: local path of the file that the manifest names by digest; None if it names none.

    Raises:
        UserError: the file is missing or has another digest.
    """
    codec = manifest.codec
    return plugins.make(codec.code, Codec, codec, file, manifest.sample_shape)  # type: ignore[type-abstract]


def moments_of(x: Tensor, groups: int) -> Moments | None:
    """Mean and deviation of each group of encoded samples (N, *flow_shape), float32 or uint8.

    Returns: None if there are no groups, or fewer than MIN_SAMPLES samples.
    """
    if not groups or len(x) < MIN_SAMPLES:
        return None

    def sums(of: Callable[[Tensor], Tensor]) -> Tensor:
        parts = (
            unit(part).double().reshape(len(part), groups, -1) for part in torch.split(x, CHUNK)
        )
        return torch.stack([of(part).sum(dim=(0, 2)) for part in parts]).sum(0)

    each = x[0].numel() // groups * len(x)
    mean = sums(lambda part: part) / each
    variance = sums(lambda part: (part - mean[:, None]).square()) / each
    return Moments(mean=tuple(mean.tolist()), deviation=tuple(variance.sqrt().tolist()))


def standardised(x: Tensor, scale: Scale | None) -> Tensor:
    """Encoded samples (N, *flow_shape), float32 or uint8, to what networks train on (SPEC 6.13),
    within `FARTHEST`. Without a scale, the same tensor."""
    if scale is None:
        return x
    mean, deviation = broadcast(scale, x.shape[1:])

    def scaled(part: Tensor) -> Tensor:
        z = (unit(part).double() - mean) / deviation
        return z.clamp(-FARTHEST, FARTHEST).float()

    return _parts(scaled, x)


def unstandardised(z: Tensor, scale: Scale | None) -> Tensor:
    """The inverse, for drawn samples (N, *flow_shape) on the CPU."""
    if scale is None:
        return z
    mean, deviation = broadcast(scale, z.shape[1:])
    return _parts(lambda part: (part.double() * deviation + mean).float(), z)


def broadcast(scale: Scale, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Mean and deviation, float64, in a shape that fits samples of this shape."""
    many = len(scale.mean)
    if many == math.prod(shape):
        to: tuple[int, ...] = tuple(shape)
    elif many in (1, shape[0]):
        to = (many, *(1 for _ in shape[1:]))
    else:
        raise ValueError(f"a scale of {many} groups does not fit samples of {tuple(shape)}")
    mean, deviation = (
        torch.tensor(part, dtype=torch.float64).reshape(to)
        for part in (scale.mean, scale.deviation)
    )
    return mean, deviation


def encoded_samples(data: Samples, codec: Codec | None = None) -> EncodedSamples:
    """A silo's samples after the codec. Without a codec, or with the identity, the tensors share
    the memory of the arrays."""
    x = torch.from_numpy(data.x)
    return EncodedSamples(encoded(codec, x) if codec else x, torch.from_numpy(data.c))


def encoded(codec: Codec, x: Tensor) -> Tensor:
    """Samples (N, *shape), float32 or uint8 -> (N, *flow_shape). The identity copies nothing.

    Raises:
        ConfigError: the codec makes something else than finite numbers of them.
    """
    if isinstance(codec, Identity):
        return x
    z = _parts(codec.encode, x, codec.chunk)
    if not z.isfinite().all():
        what = "the codec's file makes something else than finite numbers of this silo's samples"
        raise ConfigError(what, where="codec", fix="use another codec for the run; fit it again")
    return z


def decoded(codec: Codec, z: Tensor, scale: Scale | None) -> Tensor:
    """Drawn (N, *flow_shape) -> samples (N, *shape). The identity without a scale copies nothing.

    Args:
        scale: that the flow's training data were standardised by.
    """
    z = unstandardised(z, scale)
    return z if isinstance(codec, Identity) else _parts(codec.decode, z, codec.chunk)


def _parts(apply: Callable[[Tensor], Tensor], x: Tensor, rows: int = CHUNK) -> Tensor:
    with torch.no_grad():
        return torch.cat([apply(part) for part in torch.split(x, rows)])
