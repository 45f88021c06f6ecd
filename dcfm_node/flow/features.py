"""What a committee sees of samples: fixed maps, standardised, and their principal components."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

Map = Callable[[Tensor], Tensor]
"""Pictures (N, channels, height, width) -> features (N, d), float64."""
SIDE = 16
"""Pictures are averaged down to at most this many pixels a side."""
FEATURES = 256
"""Most features of a reader: the leading principal components."""
PROJECTED = 512
"""Most features before their principal components are taken; more are projected at random."""
SMALL = 2e-4
"""Added to mean squares before their logarithm."""
FAINT = 0.01
"""Added to the squared distance of paint from its ground."""
WILD = 1e6
"""Largest number of a draw that is looked at."""
DITHER = 0.1
"""Deviation of the noise that is added before a logarithm, in units of all samples' deviation. A
network's samples lack the fine noise of real ones; without dither, only that would be seen."""


def raw(x: Tensor) -> Tensor:
    """The numbers themselves."""
    return x.flatten(1)


def spectrum(x: Tensor) -> Tensor:
    """Logarithm of the power spectrum per channel. It does not depend on the place of a shape."""
    return _spectrum(_dithered(x))


def energy(x: Tensor) -> Tensor:
    """The power spectrum, and the local mean square, both as logarithms."""
    x = _dithered(x)
    local = local_energy(x, stride=2)
    return torch.cat([_spectrum(x), local.flatten(1)], dim=1)


def local_energy(x: Tensor, stride: int) -> Tensor:
    """Logarithm of the mean square around each place, (N, channels, height, width) if stride 1."""
    most = 3 if x.shape[2] > 1 else 5
    window = tuple(min(most, size - (size + 1) % 2) for size in x.shape[2:])
    margin = tuple(size // 2 for size in window)
    local = functional.avg_pool2d(x.square(), window, stride, margin, count_include_pad=False)
    return (local + SMALL).log()


def painted(x: Tensor) -> Tensor:
    """The shape that all channels share, its ground and its paint: where one shape is painted in
    one colour, each attribute shows in one of them."""
    shape, colours = _unpainted(x)
    return torch.cat([shape.flatten(1), colours], dim=1)


def stencil(x: Tensor) -> Tensor:
    """As `painted`, at any place: the logarithm of the shape's power spectrum."""
    shape, colours = _unpainted(x)
    return torch.cat([_spectrum(_dithered(shape[:, None])), colours], dim=1)


def paint(x: Tensor) -> Tensor:
    """The colours of what is painted on a ground: of the ground, and of the paint at its strongest,
    (N, 2 channels). The second lies from the first along the direction in which channels leave it,
    as far as a is at most: Σ a³ / Σ a² over places, whatever share of them is painted."""
    ground = _ground(x)
    axis, along = _leaving(x, ground)
    far = along.pow(3).sum(dim=(1, 2)) / (along.square().sum(dim=(1, 2)) + SMALL)
    return torch.cat([ground, ground + axis * far[:, None]], dim=1)


def _unpainted(x: Tensor) -> tuple[Tensor, Tensor]:
    """The shape, (N, height, width): 0 at the ground and 1 at the paint; and `paint`."""
    colours, channels = paint(x), x.shape[1]
    ground = colours[:, :channels]
    away = colours[:, channels:] - ground
    rest = x - ground[:, :, None, None]
    return _along(rest, away) / (away.square().sum(dim=1)[:, None, None] + FAINT), colours


def _leaving(x: Tensor, ground: Tensor) -> tuple[Tensor, Tensor]:
    """In which direction channels leave the ground most, (N, channels), and how far they do so at
    each place, (N, height, width)."""
    rest = x - ground[:, :, None, None]
    _, axes = torch.linalg.eigh(torch.einsum("nihw,njhw->nij", rest, rest))
    axis = axes[:, :, -1]
    return axis, _along(rest, axis)


def _along(x: Tensor, axis: Tensor) -> Tensor:
    """Pictures along a direction of channels (N, channels): (N, height, width)."""
    return torch.einsum("nihw,ni->nhw", x, axis)


def _ground(x: Tensor) -> Tensor:
    """The median of each channel along the border, (N, channels)."""
    sides = [x[:, :, 0], x[:, :, -1], x[:, :, :, 0], x[:, :, :, -1]]
    return torch.cat(sides, dim=2).median(dim=2).values


def _spectrum(x: Tensor) -> Tensor:
    power: Tensor = torch.fft.rfft2(x, norm="ortho").abs().square()
    return (power + SMALL).log().flatten(1)


def _dithered(x: Tensor) -> Tensor:
    draws = torch.Generator().manual_seed(len(x))
    return x + DITHER * torch.randn(x.shape, generator=draws, dtype=x.dtype)


MAPS: Mapping[str, Map] = {
    "raw": raw,
    "spectrum": spectrum,
    "energy": energy,
    "painted": painted,
    "stencil": stencil,
}


def maps_of(x: Tensor) -> list[str]:
    """Names of the maps that suit pictures (N, channels, height, width): paint takes several
    channels, or a plane."""
    paints = x.shape[1] > 1 or x.shape[2] > 1
    return [name for name in MAPS if paints or name not in ("painted", "stencil")]


@dataclass(frozen=True)
class Features:
    """A map, then standardised, then principal components.

    Attributes:
        name: of the map.
        scale: samples are divided by it.
        projection: (all features, PROJECTED), or None.
        mean: (d,), of what is mapped and projected.
        components: (d, at most FEATURES), which also standardise.
    """

    name: str
    scale: float
    projection: Tensor | None
    mean: Tensor
    components: Tensor

    @classmethod
    def fit(cls, name: str, x: Tensor, generator: torch.Generator) -> "Features":
        """Fit to pictures."""
        scale = max(float(x.std()), 1e-6)
        mapped = _mapped(name, x, scale)
        projection = None
        if mapped.shape[1] > PROJECTED:
            size = (mapped.shape[1], PROJECTED)
            projection = torch.randn(size, generator=generator, dtype=torch.float64)
            mapped = mapped @ projection
        mean, deviation = mapped.mean(dim=0), mapped.std(dim=0).clamp(min=1e-4)
        components = torch.diag(1 / deviation)
        if mapped.shape[1] > FEATURES:
            _, axes = torch.linalg.eigh(torch.cov(((mapped - mean) / deviation).T))
            components = components @ axes[:, -FEATURES:]
        return cls(name, scale, projection, mean, components)

    def __call__(self, x: Tensor) -> Tensor:
        """Pictures -> features (N, d)."""
        mapped = _mapped(self.name, x, self.scale)
        if self.projection is not None:
            mapped = mapped @ self.projection
        return (mapped - self.mean) @ self.components


def _mapped(name: str, x: Tensor, scale: float) -> Tensor:
    return MAPS[name](x / scale)


def bounded(x: Tensor) -> Tensor:
    """Draws of a network that may have diverged, as finite numbers within ±WILD."""
    return torch.nan_to_num(x, nan=WILD).clamp(-WILD, WILD)


def four_axes(x: Tensor) -> Tensor:
    """Samples (N, *shape) as (N, channels, height, width); vectors and series are one high."""
    if x.ndim == 4:
        return x
    return x[:, :, None] if x.ndim == 3 else x[:, None, None]


def pictures(x: Tensor) -> Tensor:
    """Samples (N, *shape) as pictures (`four_axes`), float64, of bounded size."""
    x = four_axes(x)
    high, wide = x.shape[2:]
    side = (min(high, SIDE), min(wide, SIDE))
    if high > 1 and side != (high, wide):
        x = functional.adaptive_avg_pool2d(x.float(), side)
    return x.double()
