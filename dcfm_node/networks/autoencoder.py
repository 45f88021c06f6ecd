"""A small convolutional autoencoder: the codec of latent flow matching on grey or colour images."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from dcfm_node.errors import ConfigError
from dcfm_node.networks.base import Codec, unit
from dcfm_node.networks.blocks import groups
from dcfm_node.networks.codecs import checked_tensors
from dcfm_node.networks.settings import AutoencoderSettings

BATCH, LEARNING_RATE = 32, 2e-3
NOISE = 0.05
"""Deviation of the noise on latents in training, so that the decoder forgives a flow's errors."""
LATENT_WEIGHT = 1e-3
"""Weight of the mean square of latents in the loss, which keeps them near zero."""


class _Block(nn.Module):
    """Residual convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups(width), width)
        self.inner = nn.Conv2d(width, width, 3, padding=1)
        self.outer = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        inner: Tensor = self.outer(functional.silu(self.inner(functional.silu(self.norm(h)))))
        return h + inner


class Autoencoder(nn.Module, Codec):
    """Encoder and decoder of images (channels, height, width) in [-1, 1].

    Layers move squares of pixels into channels, so that no convolution sees the full resolution.
    Latents have about zero mean and unit deviation on the images that it was fitted to.
    """

    chunk = 256

    def __init__(
        self, settings: AutoencoderSettings, file: Path | None, shape: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        with torch.device("meta"):  # no memory before the file is compared
            self._build(settings, shape)
        held = checked_tensors(settings.digest, file, most=len(self.state_dict()) + 1)
        wanted = {name: tuple(part.shape) for name, part in self.state_dict().items()}
        if {name: tuple(part.shape) for name, part in held.items()} != wanted:
            raise ConfigError(
                "the codec's tensors are not those of its settings and the run's sample_shape",
                where=str(file),
                fix="set channels, width and halvings under [codec] as the codec was fitted with",
            )
        floats = {name: part.float() for name, part in held.items()}
        self.load_state_dict(floats, assign=True)
        self.eval().requires_grad_(False)

    def _build(self, settings: AutoencoderSettings, shape: tuple[int, ...]) -> None:
        wide, channels = settings.width, settings.channels
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        inward = shape[0]
        # Full resolution costs most and is smooth: the first layer takes squares of 4 x 4 pixels.
        sides = [2] if settings.halvings == 1 else [4, *[2] * (settings.halvings - 2)]
        for level, side in enumerate(sides):
            outward = wide * (1 + (level > 0))
            down += [
                nn.PixelUnshuffle(side),
                nn.Conv2d(side * side * inward, outward, 3, padding=1),
                _Block(outward),
            ]
            up = [
                _Block(outward),
                nn.Conv2d(outward, side * side * inward, 3, padding=1),
                nn.PixelShuffle(side),
                *up,
            ]
            inward = outward
        self.encoder = nn.Sequential(*down, nn.Conv2d(inward, channels, 1))
        self.decoder = nn.Sequential(nn.Conv2d(channels, inward, 3, padding=1), *up)
        for name, value in (("mean", 0.0), ("deviation", 1.0)):
            self.register_buffer(name, torch.full((channels, 1, 1), value))

    def encode(self, x: Tensor) -> Tensor:
        """(N, channels, height, width) -> (N, *latent_shape)."""
        self.to(x.device)
        z: Tensor = (self.encoder(unit(x)) - self.mean) / self.deviation
        return z

    def decode(self, z: Tensor) -> Tensor:
        """(N, *latent_shape) -> (N, channels, height, width), clipped to [-1, 1]."""
        self.to(z.device)
        x: Tensor = self.decoder(z * self.deviation + self.mean)
        return x.clamp(-1.0, 1.0)


class _Fitted(Autoencoder):
    """One that is being fitted, and has no file yet."""

    def __init__(self, settings: AutoencoderSettings, shape: tuple[int, ...]) -> None:
        nn.Module.__init__(self)
        self._build(settings, shape)


def fit_autoencoder(
    x: Tensor,
    settings: AutoencoderSettings,
    *,
    steps: int,
    seed: int = 0,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> bytes:
    """Make the file of an autoencoder from images (N, channels, height, width), float32 or bytes.

    All silos need the file, so the images must be public. Images are mirrored at random.

    Args:
        settings: channels, width and halvings; the file that they name is not looked at.
        tell: called with the steps done, and in all.

    Raises:
        ValueError: there are no images, or the settings do not fit their shape.
    """
    if not len(x) or settings.unfit(tuple(x.shape[1:])):
        raise ValueError(settings.unfit(tuple(x.shape[1:])) or "no image to fit a codec to")
    with _seeded(seed):
        net = _Fitted(settings, tuple(x.shape[1:]))
    draws = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(net.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, steps)
    for step in range(steps):
        batch = unit(x[torch.randint(len(x), (BATCH,), generator=draws)])
        mirrored = torch.rand(BATCH, 1, 1, 1, generator=draws) < 0.5
        batch = torch.where(mirrored, batch.flip(3), batch)
        z = net.encoder(batch)
        noised = z + NOISE * torch.randn(z.shape, generator=draws)
        loss = functional.mse_loss(net.decoder(noised), batch) + LATENT_WEIGHT * z.square().mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
        tell(step + 1, steps)
    _standardise(net.eval(), x)
    return bytes(save({name: part.contiguous() for name, part in net.state_dict().items()}))


@torch.no_grad()
def _standardise(net: Autoencoder, x: Tensor) -> None:
    z = torch.cat([net.encode(part) for part in torch.split(x, net.chunk)])
    net.mean = z.mean(dim=(0, 2, 3))[:, None, None]
    net.deviation = z.std(dim=(0, 2, 3), correction=0).clamp(min=1e-6)[:, None, None]


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def error_of(codec: Codec, x: Tensor) -> float:
    """Root mean square error of images (N, *shape) that went through a codec, as a share of the
    range from black to white."""
    with torch.no_grad():
        parts = [
            (codec.decode(codec.encode(part)) - unit(part)).square().mean(dim=(1, 2, 3))
            for part in torch.split(x, codec.chunk)
        ]
    return math.sqrt(torch.cat(parts).mean().item()) / 2.0
