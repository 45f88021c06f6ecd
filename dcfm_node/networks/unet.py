"""A small U-Net, for images and series."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from dcfm_node.networks.base import Network
from dcfm_node.networks.blocks import (
    CONVOLUTIONS,
    Condition,
    ConvBlock,
    groups,
    halved,
    no_label,
)
from dcfm_node.networks.settings import UnetSettings
from dcfm_node.records.settings import NetworkSettings


class UNet(Network):
    """U-Net of `depth` resolutions; the finest has `width` channels, the others twice as many.

    Samples are images (channels, height, width) or series (channels, length).
    """

    def __init__(
        self,
        settings: UnetSettings,
        shape: tuple[int, ...],
        outputs: tuple[int, ...],
        cardinalities: tuple[int, ...],
    ) -> None:
        super().__init__(settings, shape, outputs, cardinalities)
        width, depth, axes = settings.width, settings.depth, len(shape) - 1
        channels = [width] + [2 * width] * (depth - 1)
        condition = 4 * width
        self.condition = Condition(cardinalities, condition)
        self.in_proj = CONVOLUTIONS[axes](shape[0], width, 3, padding=1)
        steps = list(zip(channels[:1] + channels[:-1], channels, strict=True))
        self.down = nn.ModuleList(ConvBlock(axes, a, b, condition) for a, b in steps)
        self.middle = ConvBlock(axes, channels[-1], channels[-1], condition)
        self.up = nn.ModuleList(ConvBlock(axes, 2 * b, a, condition) for a, b in reversed(steps))
        self.norm = nn.GroupNorm(groups(width), width)
        self.out_proj = CONVOLUTIONS[axes](width, outputs[0], 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        condition = self.condition(t, c)
        h: Tensor = self.in_proj(x)
        kept = []
        for level, block in enumerate(self.down):
            h = block(halved(h) if level else h, condition)
            kept.append(h)
        h = self.middle(h, condition)
        for block in self.up:
            side = kept.pop()
            h = functional.interpolate(h, size=side.shape[2:], mode="nearest")
            h = block(torch.cat([h, side], dim=1), condition)
        out: Tensor = self.out_proj(functional.silu(self.norm(h)))
        return out

    @classmethod
    def gating_network(
        cls, settings: NetworkSettings, shape: tuple[int, ...], experts: int
    ) -> "GatingUNet":
        """The encoder half of the same U-Net, without labels."""
        assert isinstance(settings, UnetSettings)
        return GatingUNet(experts, shape, settings.width, settings.depth)


class GatingUNet(nn.Module):
    """Logits over K experts from an image or a series: the encoder half of the U-Net."""

    def __init__(self, experts: int, shape: tuple[int, ...], width: int, depth: int) -> None:
        super().__init__()
        self.time = Condition((), 4 * width)
        axes = len(shape) - 1
        self.in_proj = CONVOLUTIONS[axes](shape[0], width, 3, padding=1)
        self.down = nn.ModuleList(
            ConvBlock(axes, width * (1 + (level > 1)), width * (1 + (level > 0)), 4 * width)
            for level in range(depth)
        )
        self.out_proj = nn.Linear(width * (1 + (depth > 1)), experts)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Shapes (B, *shape), (B,) -> (B, K)."""
        condition = self.time(t, no_label(t))
        h = self.in_proj(x)
        for level, block in enumerate(self.down):
            h = block(halved(h) if level else h, condition)
        out: Tensor = self.out_proj(functional.silu(h).flatten(2).mean(dim=2))
        return out
