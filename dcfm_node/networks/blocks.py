"""Parts of the package's own networks."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

TIME_FEATURES = 32
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d}
"""By number of axes: 1 for series (channels, length), 2 for images (channels, height, width)."""


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


class ConvBlock(nn.Module):
    """Residual convolutions of size 3 over one axis or two; the condition shifts and scales between
    them."""

    def __init__(self, axes: int, inward: int, outward: int, condition: int) -> None:
        super().__init__()
        convolution = CONVOLUTIONS[axes]
        self.norm1 = nn.GroupNorm(groups(inward), inward)
        self.conv1 = convolution(inward, outward, 3, padding=1)
        self.film = nn.Linear(condition, 2 * outward)
        self.norm2 = nn.GroupNorm(groups(outward), outward)
        self.conv2 = convolution(outward, outward, 3, padding=1)
        self.skip = convolution(inward, outward, 1) if inward != outward else nn.Identity()

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        inner = self.conv1(functional.silu(self.norm1(h)))
        film = self.film(functional.silu(condition))
        scale, shift = film.reshape(*film.shape, *(1,) * (h.ndim - 2)).chunk(2, dim=1)
        inner = functional.silu(self.norm2(inner) * (1 + scale) + shift)
        out: Tensor = self.skip(h) + self.conv2(inner)
        return out


def halved(h: Tensor) -> Tensor:
    """Means over pairs of neighbours along every axis: (B, channels, n, ...) -> (B, channels,
    ceil(n / 2), ...)."""
    pool = functional.avg_pool1d if h.ndim == 3 else functional.avg_pool2d
    return pool(h, 2, ceil_mode=True)


def groups(channels: int) -> int:
    """Groups of a group normalisation: the largest divisor of the channels among 1, 2, 4 and 8."""
    return math.gcd(8, channels)


def no_label(t: Tensor) -> Tensor:
    """Labels (B, 0) without attributes, for times (B,)."""
    return torch.empty(len(t), 0, dtype=torch.int64, device=t.device)
