"""A small U-Net, for images."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from dcfm_node.networks.base import Network
from dcfm_node.networks.blocks import Condition, ConvBlock, groups, no_label
from dcfm_node.networks.settings import UnetSettings
from dcfm_node.records.settings import NetworkSettings


class UNet(Network):
    """U-Net of `depth` resolutions; the finest has `width` channels, the others twice as many."""

    def __init__(
        self,
        settings: UnetSettings,
        shape: tuple[int, ...],
        outputs: tuple[int, ...],
        cardinalities: tuple[int, ...],
    ) -> None:
        super().__init__(settings, shape, outputs, cardinalities)
        width, depth = settings.width, settings.depth
        channels = [width] + [2 * width] * (depth - 1)
        condition = 4 * width
        self.condition = Condition(cardinalities, condition)
        self.in_proj = nn.Conv2d(shape[0], width, 3, padding=1)
        steps = list(zip(channels[:1] + channels[:-1], channels, strict=True))
        self.down = nn.ModuleList(ConvBlock(a, b, condition) for a, b in steps)
        self.middle = ConvBlock(channels[-1], channels[-1], condition)
        self.up = nn.ModuleList(ConvBlock(2 * b, a, condition) for a, b in reversed(steps))
        self.norm = nn.GroupNorm(groups(width), width)
        self.out_proj = nn.Conv2d(width, outputs[0], 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        condition = self.condition(t, c)
        h: Tensor = self.in_proj(x)
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
    """Logits over K experts from an image: the encoder half of the U-Net."""

    def __init__(self, experts: int, shape: tuple[int, ...], width: int, depth: int) -> None:
        super().__init__()
        self.time = Condition((), 4 * width)
        self.in_proj = nn.Conv2d(shape[0], width, 3, padding=1)
        self.down = nn.ModuleList(
            ConvBlock(width * (1 + (level > 1)), width * (1 + (level > 0)), 4 * width)
            for level in range(depth)
        )
        self.out_proj = nn.Linear(width * (1 + (depth > 1)), experts)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Shapes (B, *shape), (B,) -> (B, K)."""
        condition = self.time(t, no_label(t))
        h = self.in_proj(x)
        for level, block in enumerate(self.down):
            h = block(functional.avg_pool2d(h, 2, ceil_mode=True) if level else h, condition)
        out: Tensor = self.out_proj(functional.silu(h).mean(dim=(2, 3)))
        return out
