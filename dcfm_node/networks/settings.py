"""The package's own networks and codecs: their sections of run.toml. Pure."""

import math
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, FailFast, Field, model_validator

from dcfm_node.records.base import Digest
from dcfm_node.records.settings import CodecSettings, NetworkSettings, Reads, Shape

Width = Annotated[int, Field(ge=8, le=4_096)]
Depth = Annotated[int, Field(ge=1, le=16)]
MAX_PATCHES = 64
"""Most patches that a mixer cuts a sample into."""


def _from_hex(value: Any) -> Any:
    """Convert a digest from the hex text in run.toml."""
    try:
        return bytes.fromhex(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("write 64 hex digits, as sha256sum prints them") from None


class MlpSettings(NetworkSettings):
    """A residual MLP over the flattened sample."""

    code: ClassVar[str] = "dcfm_node.networks.mlp:Mlp"
    reads: ClassVar[Reads] = "numbers"
    kind: Literal["mlp"] = "mlp"
    width: Width = 256
    """Hidden units."""
    depth: Depth = 3
    """Residual blocks."""

    @property
    def summary(self) -> str:
        return f"width {self.width}, depth {self.depth}"

    def least_numbers(self, shape: tuple[int, ...]) -> int:
        return 2 * math.prod(shape) * self.width

    def widest(self, shape: tuple[int, ...]) -> int:
        return self.width


class UnetSettings(NetworkSettings):
    """A U-Net for images (channels, height, width) and series (channels, length)."""

    code: ClassVar[str] = "dcfm_node.networks.unet:UNet"
    reads: ClassVar[Reads] = "numbers"
    kind: Literal["unet"] = "unet"
    width: Width = 32
    """Channels of the finest resolution; the others have twice as many. Default 32."""
    depth: Depth = 3
    """Resolutions."""

    @property
    def summary(self) -> str:
        return f"width {self.width}, depth {self.depth}"

    def least_numbers(self, shape: tuple[int, ...]) -> int:
        return 2 * math.prod(3 for _ in shape[1:]) * shape[0] * self.width

    def widest(self, shape: tuple[int, ...]) -> int:
        return self.width * math.prod(shape[1:])

    def problem(self, shape: tuple[int, ...]) -> str:
        return _spatial(self.kind, shape)


class MixerSettings(NetworkSettings):
    """A patch mixer for images (channels, height, width) and series (channels, length)."""

    code: ClassVar[str] = "dcfm_node.networks.mixer:Mixer"
    reads: ClassVar[Reads] = "numbers"
    kind: Literal["mixer"] = "mixer"
    width: Width = 64
    """Features of a patch. Default 64."""
    depth: Depth = 3
    """Residual blocks."""

    @property
    def summary(self) -> str:
        return f"width {self.width}, depth {self.depth}"

    def least_numbers(self, shape: tuple[int, ...]) -> int:
        return 2 * shape[0] * math.prod(patch_side(shape) for _ in shape[1:]) * self.width

    def widest(self, shape: tuple[int, ...]) -> int:
        return 2 * MAX_PATCHES * self.width

    def problem(self, shape: tuple[int, ...]) -> str:
        return _spatial(self.kind, shape)


class TransformerSettings(NetworkSettings):
    """A transformer over the places of a sample, for paths of tokens."""

    code: ClassVar[str] = "dcfm_node.networks.transformer:Transformer"
    reads: ClassVar[Reads] = "tokens"
    kind: Literal["transformer"] = "transformer"
    width: Width = 64
    """Features of a place. Default 64."""
    depth: Depth = 2
    """Blocks of attention. Default 2."""
    causal: bool = False
    """Whether a place reads those before it alone, as path.kind = "autoregressive" needs. It then
    does not read the time. Default false."""

    @property
    def summary(self) -> str:
        return f"width {self.width}, depth {self.depth}"

    def least_numbers(self, shape: tuple[int, ...]) -> int:
        # Each block has 12 layers of width x width, or wider ones that count as several.
        return math.prod(shape) * self.width + 12 * self.depth * self.width**2

    def widest(self, shape: tuple[int, ...]) -> int:
        return 3 * math.prod(shape) * self.width


def patch_side(shape: tuple[int, ...]) -> int:
    """Side of a mixer's patches: the least power of 2, from 2, that cuts a sample (channels, ...)
    into at most `MAX_PATCHES`."""
    side = 2
    while math.prod(math.ceil(n / side) for n in shape[1:]) > MAX_PATCHES:
        side *= 2
    return side


def _spatial(kind: str, shape: tuple[int, ...]) -> str:
    """Why a network of images and series does not fit samples of this shape; empty if it fits."""
    if len(shape) > 1:
        return ""
    return (
        f"network.kind {kind!r} needs sample_shape = [channels, height, width] or "
        "[channels, length]; use 'mlp' for vectors"
    )


class IdentitySettings(CodecSettings):
    """No codec: samples stay unchanged."""

    code: ClassVar[str] = "dcfm_node.networks.codecs:Identity"
    kind: Literal["identity"] = "identity"


class CosineSettings(CodecSettings):
    """The lowest frequencies of every channel of a series (a discrete cosine transform, DCT-II).

    It needs no file and no data: silos agree on it by its settings. Smooth series, such as the
    movement of a robot, lose little; noise and steps do.
    """

    code: ClassVar[str] = "dcfm_node.networks.codecs:Cosine"
    kind: Literal["cosine"] = "cosine"
    keep: Annotated[int, Field(ge=1, le=4_096)]
    """Frequencies of each channel, from 0. The flow sees a vector of channels x keep numbers."""

    def latent_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0] * self.keep,)

    def unfit(self, shape: tuple[int, ...]) -> str:
        if len(shape) == 2 and self.keep <= shape[1]:
            return ""
        return (
            f"codec.keep: {self.keep} frequencies need sample_shape = [channels, length] with at"
            f" least that length, not {list(shape)}"
        )


class AutoencoderSettings(CodecSettings):
    """A small convolutional autoencoder of images; `dcfm-node domain codec` fits its file."""

    code: ClassVar[str] = "dcfm_node.networks.autoencoder:Autoencoder"
    kind: Literal["autoencoder"] = "autoencoder"
    file: Annotated[Digest, BeforeValidator(_from_hex)]
    """SHA-256 of the safetensors file with the weights."""
    channels: Annotated[int, Field(ge=1, le=64)] = 4
    """Channels of an encoded image, 1 to 64; default 4."""
    width: Annotated[int, Field(ge=8, le=256)] = 32
    """Channels of the first layers, 8 to 256; default 32. The others have twice as many."""
    halvings: Annotated[int, Field(ge=1, le=6)] = 3
    """How often height and width are halved, 1 to 6; default 3."""

    @property
    def digest(self) -> bytes:
        return self.file

    def latent_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        _, height, width = shape
        return (self.channels, height >> self.halvings, width >> self.halvings)

    def unfit(self, shape: tuple[int, ...]) -> str:
        side = 1 << self.halvings
        if len(shape) == 3 and not shape[1] % side and not shape[2] % side:
            return ""
        return (
            f"codec.halvings: {self.halvings} halvings need sample_shape = [channels, height,"
            f" width], both multiples of {side}, not {list(shape)}"
        )


class AutoencoderKlSettings(CodecSettings):
    """AutoencoderKL of the package diffusers, which the extra `latent` installs.
    `dcfm-node domain codec --from` reads the settings from a folder on this machine."""

    code: ClassVar[str] = "dcfm_node.networks.autoencoder_kl:AutoencoderKl"
    kind: Literal["autoencoder-kl"] = "autoencoder-kl"
    file: Annotated[Digest, BeforeValidator(_from_hex)]
    """SHA-256 of diffusion_pytorch_model.safetensors."""
    widths: Annotated[
        tuple[Annotated[int, Field(ge=1, le=1_024)], ...],
        Field(min_length=1, max_length=6),
        FailFast(),
    ]
    """Channels of each block, 1 to 6 of 1 to 1024: block_out_channels. Each but the last halves
    height and width."""
    layers: Annotated[int, Field(ge=1, le=4)] = 1
    """Layers of each block, 1 to 4; default 1: layers_per_block."""
    channels: Annotated[int, Field(ge=1, le=64)] = 4
    """Channels of an encoded image, 1 to 64; default 4: latent_channels."""
    colours: Annotated[int, Field(ge=1, le=4)] = 3
    """Channels of an image, 1 to 4; default 3: in_channels. Grey images fit 3."""
    groups: Annotated[int, Field(ge=1, le=256)] = 32
    """Groups of its normalisations, 1 to 256; default 32: norm_num_groups."""
    scaling: Annotated[float, Field(gt=0.0, le=1_000.0)] = 0.18215
    """Factor of what the encoder makes, above 0, at most 1000; default 0.18215: scaling_factor."""
    shift: Annotated[float, Field(ge=-1_000.0, le=1_000.0)] = 0.0
    """Taken from it before, -1000 to 1000; default 0: shift_factor."""

    @model_validator(mode="after")
    def _grouped(self) -> Self:
        if odd := [width for width in self.widths if width % self.groups]:
            raise ValueError(f"groups: {odd[0]} channels cannot be split into {self.groups} groups")
        return self

    @property
    def digest(self) -> bytes:
        return self.file

    def latent_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        _, height, width = shape
        halvings = len(self.widths) - 1
        return (self.channels, height >> halvings, width >> halvings)

    def unfit(self, shape: tuple[int, ...]) -> str:
        side = 1 << (len(self.widths) - 1)
        fits = len(shape) == 3 and not shape[1] % side and not shape[2] % side
        if fits and (shape[0] == self.colours or (shape[0], self.colours) == (1, 3)):
            return ""
        return (
            f"codec: it needs sample_shape = [{self.colours}, height, width], both multiples of"
            f" {side}, not {list(shape)}"
        )


class LinearCodecSettings(CodecSettings):
    """An affine projection z = A (x - b) with orthonormal rows of A (principal components)."""

    code: ClassVar[str] = "dcfm_node.networks.codecs:Linear"
    kind: Literal["linear"] = "linear"
    file: Annotated[Digest, BeforeValidator(_from_hex)]
    """SHA-256 of the safetensors file with A as `matrix` (features, numbers) and b as `mean`
    (numbers,)."""
    shape: Shape
    """Shape of an encoded sample."""

    @property
    def digest(self) -> bytes:
        return self.file

    def latent_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.shape
