"""AutoencoderKL of diffusers (Rombach et al., 2022) as a codec, from files on this machine.

The package diffusers builds the layers, and nothing is downloaded. The manifest says what
config.json of such a folder does, so that the layers do not depend on a file that no digest names.
"""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from dcfm_node.errors import ConfigError
from dcfm_node.files import read_bounded
from dcfm_node.networks.base import Codec, unit
from dcfm_node.networks.codecs import MAX_BYTES, checked_tensors
from dcfm_node.networks.settings import AutoencoderKlSettings
from dcfm_node.wire.canonical import sha256

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
MAX_CONFIG_BYTES = 1 << 20
FIELDS = {
    "block_out_channels": "widths",
    "layers_per_block": "layers",
    "latent_channels": "channels",
    "in_channels": "colours",
    "norm_num_groups": "groups",
    "scaling_factor": "scaling",
    "shift_factor": "shift",
}
"""Field of config.json -> setting of the codec. Absent ones have diffusers' defaults."""
FIXED: dict[str, tuple[object, ...]] = {
    "_class_name": ("AutoencoderKL",),
    "act_fn": ("silu", None),
    "use_quant_conv": (True, None),
    "use_post_quant_conv": (True, None),
    "mid_block_add_attention": (True, None),
    "latents_mean": (None,),
    "latents_std": (None,),
}
"""Field of config.json -> what a codec can be; None: it is absent."""
DOWN, UP = "DownEncoderBlock2D", "UpDecoderBlock2D"


class AutoencoderKl(nn.Module, Codec):
    """The mean of the encoder's distribution, scaled, and the decoder. Grey images are shown to a
    codec of colours as equal channels, and come back as their mean."""

    chunk = 16

    def __init__(
        self, settings: AutoencoderKlSettings, file: Path | None, shape: tuple[int, ...]
    ) -> None:
        super().__init__()
        self._settings, self._grey = settings, shape[0] == 1 < settings.colours
        with torch.device("meta"):  # no memory before the file is compared
            self.inner = _layers(settings)
        wanted = {name: tuple(part.shape) for name, part in self.inner.state_dict().items()}
        held = checked_tensors(settings.digest, file, most=len(wanted) + 1)
        if {name: tuple(part.shape) for name, part in held.items()} != wanted:
            raise ConfigError(
                "the codec's tensors are not those of its settings",
                where=str(file),
                fix="take [codec] as 'dcfm-node domain codec --from' prints it; save files of old"
                " versions again with save_pretrained of diffusers",
            )
        self.inner.load_state_dict({name: p.float() for name, p in held.items()}, assign=True)
        self.eval().requires_grad_(False)

    def encode(self, x: Tensor) -> Tensor:
        """(N, channels, height, width) -> (N, *latent_shape)."""
        self.to(x.device)
        x = unit(x)
        if self._grey:
            x = x.expand(-1, self._settings.colours, -1, -1)
        z: Tensor = self.inner.encode(x).latent_dist.mode()
        return (z - self._settings.shift) * self._settings.scaling

    def decode(self, z: Tensor) -> Tensor:
        """(N, *latent_shape) -> (N, channels, height, width), clipped to [-1, 1]."""
        self.to(z.device)
        x: Tensor = self.inner.decode(z / self._settings.scaling + self._settings.shift).sample
        return (x.mean(dim=1, keepdim=True) if self._grey else x).clamp(-1.0, 1.0)


def settings_of(folder: Path) -> AutoencoderKlSettings:
    """The section `codec` of a run that uses a folder that diffusers saved.

    Raises:
        ConfigError: a file cannot be read, or is not of an AutoencoderKL that can be a codec.
    """
    config, weights = folder / CONFIG, folder / WEIGHTS
    fix = "give a folder that save_pretrained of diffusers' AutoencoderKL wrote"
    try:
        read: Any = json.loads(read_bounded(config, MAX_CONFIG_BYTES))
        digest = sha256(read_bounded(weights, MAX_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"cannot be read: {error}", where=str(folder), fix=fix) from error
    if not isinstance(read, dict):
        raise ConfigError("is not a table of settings", where=str(config), fix=fix)
    given = {ours: read[name] for name, ours in FIELDS.items() if read.get(name) is not None}
    blocks = len(given["widths"]) if isinstance(given.get("widths"), list) else 1
    fixed = FIXED | {
        "out_channels": (read.get("in_channels"),),
        "down_block_types": ([DOWN] * blocks,),
        "up_block_types": ([UP] * blocks,),
    }
    for name, may in fixed.items():
        if read.get(name) not in may:
            what = f"{name} is {read.get(name)!r:.100}; a codec has {may[0]!r:.100}"
            raise ConfigError(what, where=str(config), fix=fix)
    try:
        return AutoencoderKlSettings.model_validate({"file": digest, **given}, strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise ConfigError(what, where=str(config), fix=fix) from error


def _layers(settings: AutoencoderKlSettings) -> Any:
    if find_spec("diffusers") is None:
        raise ConfigError(
            "the codec 'autoencoder-kl' needs diffusers, which is not installed",
            where="codec.kind",
            fix="pip install 'dcfm-node[latent]'",
        )
    from diffusers import AutoencoderKL  # noqa: PLC0415 - an extra, and heavy

    many = len(settings.widths)
    return AutoencoderKL(
        in_channels=settings.colours,
        out_channels=settings.colours,
        down_block_types=(DOWN,) * many,
        up_block_types=(UP,) * many,
        block_out_channels=settings.widths,
        layers_per_block=settings.layers,
        latent_channels=settings.channels,
        norm_num_groups=settings.groups,
    )
