"""Fits a codec to the public samples of a domain."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from dcfm_node.errors import UserError
from dcfm_node.files import replacing
from dcfm_node.networks.settings import AutoencoderSettings, LinearCodecSettings
from dcfm_node.records.base import Model
from dcfm_node.records.settings import CodecSettings
from dcfm_node.samples import Stored
from dcfm_node.wire.canonical import pack, sha256

NO_FILE = bytes(32)
SEED = 0


class CodecFit(Model):
    """Which codec to fit, and how."""

    kind: Literal["autoencoder", "linear"] = "autoencoder"
    """A convolutional autoencoder, or principal components."""
    features: Annotated[int, Field(ge=1, le=4_096)] = 256
    """Principal components, 1 to 4096; default 256."""
    channels: Annotated[int, Field(ge=1, le=64)] = 4
    """Channels of an encoded image of the autoencoder, 1 to 64; default 4."""
    width: Annotated[int, Field(ge=8, le=256)] = 32
    """Channels of its first layers, 8 to 256; default 32."""
    halvings: Annotated[int, Field(ge=1, le=6)] = 3
    """How often it halves height and width, 1 to 6; default 3."""
    steps: Annotated[int, Field(ge=1, le=1_000_000)] = 2_000
    """Training steps of the autoencoder, 1 to 1000000; default 2000."""

    def section(self, digest: bytes) -> CodecSettings:
        """The section `codec` of a run that uses the file with this digest."""
        if self.kind == "linear":
            return LinearCodecSettings(file=digest, shape=(self.features,))
        return AutoencoderSettings(
            file=digest, channels=self.channels, width=self.width, halvings=self.halvings
        )


class Fitted(NamedTuple):
    """A fitted codec: the section `codec` of a run that uses it, and its file."""

    section: CodecSettings
    file: Path


def fit_codec(
    public: Stored,
    wish: CodecFit,
    folder: Path,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Fitted:
    """A codec of these samples (N, *shape), from the folder if it was fitted to the same before.

    Args:
        tell: called with the steps done, and in all.

    Raises:
        UserError: there are too few samples, or the settings do not fit their shape.
    """
    said = wish.model_dump()
    used = said if wish.kind == "autoencoder" else {"features": wish.features}
    key = sha256(pack([wish.kind, used, list(public.shape)]), public.tobytes())
    file = folder / f"codec-{key.hex()[:16]}.safetensors"
    if not file.exists():
        made = _fitted(public, wish, tell)
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(file) as scratch:
            scratch.write_bytes(made)
    return Fitted(wish.section(sha256(file.read_bytes())), file)


def _fitted(public: Stored, wish: CodecFit, tell: Callable[[int, int], None]) -> bytes:
    import torch

    from dcfm_node.networks.autoencoder import fit_autoencoder
    from dcfm_node.networks.codecs import fit_linear

    x, settings = torch.from_numpy(public), wish.section(NO_FILE)
    try:
        if isinstance(settings, AutoencoderSettings):
            return fit_autoencoder(x, settings, steps=wish.steps, seed=SEED, tell=tell)
        return fit_linear(x, wish.features)
    except ValueError as error:
        what = f"no codec can be fitted to {len(x)} public samples: {error}"
        raise UserError(what, fix="choose other settings, or give more public samples") from error
