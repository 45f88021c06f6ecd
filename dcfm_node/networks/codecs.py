"""The package's own codecs: the identity, an affine projection (principal components), and the
lowest frequencies of series."""

import math
from itertools import islice
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from dcfm_node.errors import ConfigError
from dcfm_node.files import read_bounded
from dcfm_node.networks.base import Codec, unit
from dcfm_node.networks.settings import CosineSettings, IdentitySettings, LinearCodecSettings
from dcfm_node.wire.canonical import sha256

MAX_BYTES = 1 << 30
"""Largest size of a codec's file in bytes."""


class Identity(Codec):
    """Leaves samples unchanged."""

    def __init__(
        self, settings: IdentitySettings, file: Path | None, shape: tuple[int, ...]
    ) -> None:
        pass

    def encode(self, x: Tensor) -> Tensor:
        """The samples."""
        return x

    def decode(self, z: Tensor) -> Tensor:
        """The samples."""
        return z


class Linear(Codec):
    """z = A (x - b) and x = Aᵀ z + b, with orthonormal rows of A (features, numbers)."""

    def __init__(
        self, settings: LinearCodecSettings, file: Path | None, shape: tuple[int, ...]
    ) -> None:
        self._shape, self._latent = shape, settings.latent_shape(shape)
        held = checked_tensors(settings.digest, file, most=2)
        size = (math.prod(self._latent), math.prod(shape))
        found = {name: tuple(part.shape) for name, part in islice(held.items(), 3)}
        if found != {"matrix": size, "mean": size[1:]}:
            raise ConfigError(
                f"the codec holds {found}, which does not map samples {shape} to {self._latent}",
                where=str(file),
                fix="fit the codec to samples of this shape, and name its file in run.toml",
            )
        self._matrix, self._mean = held["matrix"].float(), held["mean"].float()

    def encode(self, x: Tensor) -> Tensor:
        """(N, *shape) -> (N, *latent_shape)."""
        centred = unit(x).flatten(1) - self._mean.to(x.device)
        return (centred @ self._matrix.T.to(x.device)).reshape(-1, *self._latent)

    def decode(self, z: Tensor) -> Tensor:
        """(N, *latent_shape) -> (N, *shape)."""
        flat = z.flatten(1) @ self._matrix.to(z.device) + self._mean.to(z.device)
        return flat.reshape(-1, *self._shape)


class Cosine(Codec):
    """z = A x and x = Aᵀ z for each channel; A has the lowest rows of the orthonormal DCT-II."""

    def __init__(self, settings: CosineSettings, file: Path | None, shape: tuple[int, ...]) -> None:
        channels, length = shape
        k, n = torch.arange(settings.keep).double()[:, None], torch.arange(length).double()
        rows = torch.cos(math.pi * (n + 0.5) * k / length) * math.sqrt(2 / length)
        rows[0] /= math.sqrt(2)
        self._rows, self._channels = rows.float(), channels

    def encode(self, x: Tensor) -> Tensor:
        """(N, channels, length) -> (N, channels x keep)."""
        return (unit(x) @ self._rows.T.to(x.device)).flatten(1)

    def decode(self, z: Tensor) -> Tensor:
        """(N, channels x keep) -> (N, channels, length)."""
        return z.reshape(len(z), self._channels, -1) @ self._rows.to(z.device)


def fit_linear(x: Tensor, features: int) -> bytes:
    """Make the file of a linear codec from the first principal components of samples (N, *shape).

    All silos need the file, so the samples must be public.

    Raises:
        ValueError: there are fewer samples or numbers than features.
    """
    flat = unit(x).flatten(1).double()
    if not 1 <= features <= min(flat.shape):
        raise ValueError(
            f"{features} features need at least as many samples and numbers, not {flat.shape}"
        )
    mean = flat.mean(dim=0)
    _, _, rows = torch.linalg.svd(flat - mean, full_matrices=False)
    parts = {"matrix": rows[:features], "mean": mean}
    return bytes(save({name: part.float().contiguous() for name, part in parts.items()}))


def checked_tensors(digest: bytes, file: Path | None, most: int) -> dict[str, Tensor]:
    """The tensors of the file that the manifest names.

    Args:
        most: number of tensors that are looked at; a codec that expects so many refuses more.

    Raises:
        ConfigError: there is no file, it has another digest, or its tensors are not finite numbers.
    """
    wanted = digest.hex()
    fix = f"get the file with SHA-256 {wanted} from the run's operator, and name it in node.toml"
    if file is None:
        raise ConfigError("the codec's file is not set", where="codec", fix=fix)
    try:
        data = read_bounded(file, MAX_BYTES)
        if sha256(data) != digest:
            found = sha256(data).hex()
            raise ConfigError(f"its SHA-256 is {found}, not {wanted}", where=str(file), fix=fix)
        held: dict[str, Tensor] = load(data)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ConfigError(f"cannot be read: {error}", where=str(file), fix=fix) from error
    for name, part in islice(held.items(), most):
        if part.dtype not in (torch.float32, torch.float64) or not part.isfinite().all():
            what = f"its tensor {name[:40]!r} holds something else than finite numbers"
            raise ConfigError(what, where=str(file), fix="fit the codec again")
    return held
