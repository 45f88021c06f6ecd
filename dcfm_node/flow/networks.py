"""Velocity networks v(x, t, c): a residual MLP for vectors, a small U-Net for images."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from dcfm_node.flow.files import DTYPES
from dcfm_node.flow.path import to_velocity
from dcfm_node.networks.settings import MlpSettings, UnetSettings
from dcfm_node.records.manifest import Manifest

TIME_FEATURES = 32


def time_features(t: Tensor) -> Tensor:
    """Sines and cosines of t at octave-spaced frequencies, (B,) -> (B, TIME_FEATURES)."""
    frequencies = math.pi * torch.exp2(torch.linspace(-1, 5, TIME_FEATURES // 2, device=t.device))
    angles = t.unsqueeze(-1) * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class Condition(nn.Module):
    """Embeds time and label as one vector, the sum of an embedding for t and one per attribute."""

    def __init__(self, cardinalities: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.time = nn.Sequential(
            nn.Linear(TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width)
        )
        # The last row of each table is the attribute's null token.
        self.attributes = nn.ModuleList(nn.Embedding(size + 1, width) for size in cardinalities)

    def forward(self, t: Tensor, c: Tensor) -> Tensor:
        """Shapes (B,), (B, n) -> (B, width)."""
        embedded: Tensor = self.time(time_features(t))
        for i, table in enumerate(self.attributes):
            embedded = embedded + table(c[:, i])
        return embedded


class MlpBlock(nn.Module):
    """Residual block; the condition shifts and scales its hidden units."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, width)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        inner = self.inner(functional.silu(h + condition))
        out: Tensor = self.outer(functional.silu(inner))
        return h + out


class Mlp(nn.Module):
    """Residual MLP over the flattened sample."""

    def __init__(
        self, shape: tuple[int, ...], cardinalities: tuple[int, ...], width: int, depth: int
    ) -> None:
        super().__init__()
        features = math.prod(shape)
        self.condition = Condition(cardinalities, width)
        self.inlet = nn.Linear(features, width)
        self.blocks = nn.ModuleList(MlpBlock(width) for _ in range(depth))
        self.outlet = nn.Linear(width, features)
        self.skip = nn.Linear(TIME_FEATURES, features)
        nn.init.zeros_(self.skip.weight)
        nn.init.zeros_(self.skip.bias)

    def forward(self, x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        condition = self.condition(t, c)
        flat = x.flatten(1)
        h = self.inlet(flat)
        for block in self.blocks:
            h = block(h, condition)
        # Linear in x whatever the label, so that the field goes on as it should where no silo has
        # data: novel combinations live there.
        out: Tensor = self.outlet(functional.silu(h)) + self.skip(time_features(t)) * flat
        return out.reshape(x.shape)


class ConvBlock(nn.Module):
    """Residual 3x3 convolutions; the condition shifts and scales between them."""

    def __init__(self, inward: int, outward: int, condition: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(_groups(inward), inward)
        self.conv1 = nn.Conv2d(inward, outward, 3, padding=1)
        self.film = nn.Linear(condition, 2 * outward)
        self.norm2 = nn.GroupNorm(_groups(outward), outward)
        self.conv2 = nn.Conv2d(outward, outward, 3, padding=1)
        self.skip = nn.Conv2d(inward, outward, 1) if inward != outward else nn.Identity()

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        inner = self.conv1(functional.silu(self.norm1(h)))
        scale, shift = self.film(functional.silu(condition))[:, :, None, None].chunk(2, dim=1)
        inner = functional.silu(self.norm2(inner) * (1 + scale) + shift)
        out: Tensor = self.skip(h) + self.conv2(inner)
        return out


class UNet(nn.Module):
    """U-Net of `depth` resolutions; the base has `width` channels, the others twice as many."""

    def __init__(
        self, shape: tuple[int, ...], cardinalities: tuple[int, ...], width: int, depth: int
    ) -> None:
        super().__init__()
        channels = [width] + [2 * width] * (depth - 1)
        condition = 4 * width
        self.condition = Condition(cardinalities, condition)
        self.inlet = nn.Conv2d(shape[0], width, 3, padding=1)
        steps = list(zip(channels[:1] + channels[:-1], channels, strict=True))
        self.down = nn.ModuleList(ConvBlock(a, b, condition) for a, b in steps)
        self.middle = ConvBlock(channels[-1], channels[-1], condition)
        self.up = nn.ModuleList(ConvBlock(2 * b, a, condition) for a, b in reversed(steps))
        self.norm = nn.GroupNorm(_groups(width), width)
        self.outlet = nn.Conv2d(width, shape[0], 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        condition = self.condition(t, c)
        h: Tensor = self.inlet(x)
        kept = []
        for level, block in enumerate(self.down):
            if level:
                h = functional.avg_pool2d(h, 2, ceil_mode=True)
            h = block(h, condition)
            kept.append(h)
        h = self.middle(h, condition)
        for block in self.up:
            side = kept.pop()
            h = functional.interpolate(h, size=side.shape[-2:], mode="nearest")
            h = block(torch.cat([h, side], dim=1), condition)
        out: Tensor = self.outlet(functional.silu(self.norm(h)))
        return out


class Velocity(nn.Module):
    """v(x, t, c) from a network that predicts either the velocity or the clean sample x̂_1."""

    def __init__(self, net: nn.Module, predict: str) -> None:
        super().__init__()
        self.net = net
        self.predict = predict

    def forward(self, x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        """Shapes (B, *sample_shape), (B,), (B, n) -> (B, *sample_shape)."""
        out: Tensor = self.net(x, t, c)
        return to_velocity(out, x, t) if self.predict == "sample" else out


def build(manifest: Manifest) -> Velocity:
    """The run's velocity network on the CPU, the same initial weights in every silo."""
    settings = manifest.network
    assert isinstance(settings, MlpSettings | UnetSettings)
    kind = Mlp if settings.kind == "mlp" else UNet
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(manifest.method.seed)
        net = kind(manifest.sample_shape, manifest.cardinalities, settings.width, settings.depth)
    return Velocity(net, settings.predict)


def schema(manifest: Manifest) -> dict[str, tuple[str, tuple[int, ...]]]:
    """What a snapshot must hold: tensor name -> (safetensors dtype, shape). Allocates nothing."""
    with torch.device("meta"):
        net = build(manifest)
    dtype = DTYPES[manifest.transfer.precision]
    return {name: (dtype, tuple(tensor.shape)) for name, tensor in net.state_dict().items()}


def _groups(channels: int) -> int:
    return math.gcd(8, channels)
