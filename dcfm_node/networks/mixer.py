"""A patch mixer, for images and series (MLP-Mixer: Tolstikhin et al., 2021)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from dcfm_node.networks.base import Network
from dcfm_node.networks.blocks import Condition, no_label
from dcfm_node.networks.settings import MixerSettings, patch_side
from dcfm_node.records.settings import NetworkSettings

MARGIN = 1
"""Numbers around a patch that it sees too."""
LOCAL = 16
"""Features of every place for the convolutions."""


class Mixer(Network):
    """Residual layers that mix the places of patches and their features in turn; then convolutions,
    which draw lines whole that cross patches.

    Samples are images (channels, height, width) or series (channels, length).
    """

    def __init__(
        self,
        settings: MixerSettings,
        shape: tuple[int, ...],
        outputs: tuple[int, ...],
        cardinalities: tuple[int, ...],
    ) -> None:
        super().__init__(settings, shape, outputs, cardinalities)
        self.condition = Condition(cardinalities, 2 * settings.width)
        self.trunk = Trunk(shape, settings.width, settings.depth)
        self.patches = self.trunk.patches
        self.out_proj = nn.Linear(settings.width, LOCAL * self.patches.area)
        conv = nn.Conv1d if len(shape) == 2 else nn.Conv2d
        self.conv_in = conv(shape[0], LOCAL, 3, padding=1)
        self.conv = conv(LOCAL, LOCAL, 3, padding=1)
        self.conv_out = conv(LOCAL, outputs[0], 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        h = self.patches.join(self.out_proj(self.trunk(x, self.condition(t, c))))
        h = functional.silu(h + self.conv_in(x))
        h = functional.silu(h + self.conv(h))
        out: Tensor = self.conv_out(h)
        return out

    @classmethod
    def gating_network(
        cls, settings: NetworkSettings, shape: tuple[int, ...], experts: int
    ) -> "GatingMixer":
        """The same mixer without labels."""
        assert isinstance(settings, MixerSettings)
        return GatingMixer(experts, shape, settings.width, settings.depth)


class GatingMixer(nn.Module):
    """Logits over K experts from an image or a series: the mixer without a label."""

    def __init__(self, experts: int, shape: tuple[int, ...], width: int, depth: int) -> None:
        super().__init__()
        self.time = Condition((), 2 * width)
        self.trunk = Trunk(shape, width, depth)
        self.out_proj = nn.Linear(width, experts)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Shapes (B, *shape), (B,) -> (B, K)."""
        out: Tensor = self.out_proj(self.trunk(x, self.time(t, no_label(t))).mean(dim=1))
        return out


class Trunk(nn.Module):
    """Features of every patch: points (B, *shape), condition (B, 2 width) -> (B, m, width)."""

    def __init__(self, shape: tuple[int, ...], width: int, depth: int) -> None:
        super().__init__()
        self.patches = Patches(shape)
        self.in_proj = nn.Linear(shape[0] * self.patches.seen, width)
        self.places = nn.Parameter(torch.empty(self.patches.many, width))
        nn.init.normal_(self.places, std=0.02)
        self.blocks = nn.ModuleList(MixerBlock(self.patches.many, width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        h = self.in_proj(self.patches.cut(x)) + self.places
        condition = functional.silu(condition)
        for block in self.blocks:
            h = block(h, condition)
        out: Tensor = self.norm(h)
        return out


class MixerBlock(nn.Module):
    """Two residual layers, over the m places and over the features. The condition shifts and scales
    what enters them and scales what leaves them (adaLN: Peebles and Xie, 2023)."""

    def __init__(self, places: int, width: int) -> None:
        super().__init__()
        self.over_places = _layers(places)
        self.over_features = _layers(width)
        self.film = nn.Linear(2 * width, 6 * width)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """Shapes (B, m, width), (B, 2 width) -> (B, m, width)."""
        film = self.film(condition).unsqueeze(1).chunk(6, dim=-1)
        mixed = self.over_places(_shifted(h, film[0], film[1]).transpose(1, 2)).transpose(1, 2)
        h = h + (1 + film[2]) * mixed
        out: Tensor = h + (1 + film[5]) * self.over_features(_shifted(h, film[3], film[4]))
        return out


class Patches:
    """Cuts samples (B, channels, n, ...) into m patches, and joins patches.

    Sizes that are not a multiple of a patch's side are padded with zeros.

    Attributes:
        area: numbers of one channel in a patch.
        seen: those with a margin of MARGIN around it.
        many: m.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._side, self._sizes = patch_side(shape), shape[1:]
        self._grid = [math.ceil(n / self._side) for n in self._sizes]
        self.area, self.many = math.prod(self._side for _ in self._grid), math.prod(self._grid)
        self.seen = math.prod(self._side + 2 * MARGIN for _ in self._grid)

    def cut(self, x: Tensor) -> Tensor:
        """(B, channels, n, ...) -> (B, m, channels * seen)."""
        axes = range(len(self._grid))
        lacking = [self._side * g - n for g, n in zip(self._grid, self._sizes, strict=True)]
        x = functional.pad(x, [each for n in reversed(lacking) for each in (MARGIN, MARGIN + n)])
        for axis in axes:
            x = x.unfold(2 + axis, self._side + 2 * MARGIN, self._side)
        places = [2 + i for i in axes]
        within = [2 + len(axes) + i for i in axes]
        return x.permute(0, *places, 1, *within).reshape(x.shape[0], self.many, -1)

    def join(self, patches: Tensor) -> Tensor:
        """Patches (B, m, channels * area) -> (B, channels, n, ...)."""
        axes = range(len(self._grid))
        split = patches.reshape(patches.shape[0], *self._grid, -1, *(self._side for _ in axes))
        channels = 1 + len(axes)
        apart = split.permute(0, channels, *(n for i in axes for n in (1 + i, channels + 1 + i)))
        whole = apart.reshape(*apart.shape[:2], *(self._side * g for g in self._grid))
        return whole[(slice(None), slice(None), *(slice(n) for n in self._sizes))]


def _layers(size: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, 2 * size), nn.SiLU(), nn.Linear(2 * size, size))


def _shifted(h: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Features of mean 0 and variance 1, scaled and shifted."""
    return functional.layer_norm(h, h.shape[-1:]) * (1 + scale) + shift
