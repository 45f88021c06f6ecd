"""What a committee sees of samples: fixed maps, standardised, and their principal components."""

import math
from collections.abc import Callable, Mapping, Sequence
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
LEAST = 0.1
"""Added to numbers before their logarithm, in units of all samples' deviation."""
FAINT = 0.01
"""Added to the squared distance of paint from its ground."""
SHADOW = 0.3
"""What is farther than this from the ground, 0, towards the paint, 1, belongs to a shape."""
CELLS, FINE, SPAN = 6, 3, 2.0
"""Cells of a shape's frame a side, places that each averages a side, and half the frame's side in
root mean squares of the shape's radius."""
POLAR, RINGS, WEDGES = 32, 8, 12
"""Frequencies a side of `polar_power`, and its bins."""
WILD = 1e6
"""Largest number of a draw that is looked at."""
DITHER = 0.1
"""Deviation of the noise that is added before a logarithm, in units of all samples' deviation. A
network's samples lack the fine noise of real ones; without dither, only that would be seen."""


def raw(x: Tensor) -> Tensor:
    """The numbers themselves."""
    return x.flatten(1)


def logs(x: Tensor) -> Tensor:
    """Logarithms of how far numbers are from the least one, 0: where attributes multiply."""
    return (x.flatten(1).clamp(min=0) + LEAST).log()


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


def stencil(x: Tensor) -> Tensor:
    """The shape that all channels share, at any place, as the logarithm of its power spectrum; its
    ground and its paint. Where one shape is painted in one colour, each attribute shows in one."""
    shape, colours = unpainted(x)
    return torch.cat([_spectrum(_dithered(shape[:, None])), colours], dim=1)


def framed(x: Tensor) -> Tensor:
    """The shape in a frame of its own place and size, and both: where one shape differs in place,
    size and colour, each attribute shows in some of them."""
    shape, colours = unpainted(x)
    place, radius = frame(shape)
    u = (torch.arange(CELLS * FINE, dtype=x.dtype) + 0.5) / (CELLS * FINE) * 2 - 1
    down, across = (place[:, i, None] + SPAN * radius[:, None] * u for i in (0, 1))
    seen = sampled(shape[:, None], down[:, :, None], across[:, None, :], "border", "bilinear")
    seen = functional.avg_pool2d(seen, FINE)
    sizes = shape.new_tensor(shape.shape[1:])
    return torch.cat([seen.flatten(1), 2 * radius.log()[:, None], place / sizes, colours], dim=1)


def frame(shape: Tensor) -> tuple[Tensor, Tensor]:
    """The centre of mass of shapes (N, height, width), in pixels (N, 2), and the root of the mean
    square distance from it, (N,)."""
    mass = (shape - SHADOW).clamp(0, 1) + 1e-5
    mass = mass / mass.sum(dim=(1, 2), keepdim=True)
    down, across = (torch.arange(n, dtype=mass.dtype) for n in shape.shape[1:])
    place = torch.stack([mass.sum(dim=2) @ down, mass.sum(dim=1) @ across], dim=1)
    square = mass.sum(dim=2) @ down.square() + mass.sum(dim=1) @ across.square()
    return place, (square - place.square().sum(dim=1)).clamp(min=0.25).sqrt()


def sampled(
    x: Tensor, down: Tensor, across: Tensor, beyond: str, between: str = "bicubic"
) -> Tensor:
    """Pictures (N, channels, height, width) at rows and columns (N or 1, h, w), in pixels:
    (N, channels, h, w).

    Args:
        beyond: what lies beyond the border: "zeros", "border" or "reflection".
        between: how numbers between pixels are found: "bilinear" or "bicubic".
    """
    high, wide = x.shape[2:]
    at = [(2 * across + 1) / wide - 1, (2 * down + 1) / high - 1]
    grid = torch.stack([of.expand(len(x), *_wider(down, across)) for of in at], dim=-1)
    return functional.grid_sample(x, grid, between, beyond, align_corners=False)


def _wider(down: Tensor, across: Tensor) -> tuple[int, int]:
    return max(down.shape[1], across.shape[1]), max(down.shape[2], across.shape[2])


def polar(x: Tensor) -> Tensor:
    """Power by width of waves, and by direction against the mean of all, each as logarithms: for
    stripes that differ in both."""
    power = polar_power(_dithered(x))
    rings, wedges = (
        (
            torch.einsum("nchw,khw->nck", power, of / (of.sum((1, 2), keepdim=True) + 1e-9)) + SMALL
        ).log()
        for of in polar_bins(x.shape, RINGS, WEDGES)
    )
    if wedges.shape[2]:
        wedges = wedges - wedges.mean(dim=2, keepdim=True)
    return torch.cat([rings.flatten(1), wedges.flatten(1)], dim=1)


def polar_power(x: Tensor) -> Tensor:
    """The power spectrum of pictures that fade to their border, at POLAR frequencies a side; of
    rows, at as many as they have numbers, if that is more."""
    size = _polar_size(x.shape)
    if x.shape[2] > 1:
        high, wide = x.shape[2:]
        x = functional.adaptive_avg_pool2d(x, (min(high, POLAR), min(wide, POLAR)))
    x = (x - x.mean(dim=(2, 3), keepdim=True)) * _fade(x.shape[2])[:, None] * _fade(x.shape[3])
    found: Tensor = torch.fft.fft2(x, s=size, norm="ortho")
    return found.abs().square()


def polar_bins(shape: Sequence[int], rings: int, wedges: int) -> tuple[Tensor, Tensor]:
    """Which share of each frequency of `polar_power` belongs to which width, in equal steps of its
    logarithm, (rings, h, w), and to which direction, (wedges, h, w); rows have no directions.

    Args:
        shape: of the pictures, (N, channels, height, width).
    """
    size, most = _polar_size(shape), 2 ** octaves(shape)
    down, across = (torch.fft.fftfreq(n, dtype=torch.float64) for n in size)
    radius = 2 * most * torch.hypot(down[:, None], across)
    far = radius.clamp(1, most).log2() / octaves(shape) * (rings - 1)
    turn = torch.atan2(down[:, None], across) / math.pi * wedges
    ring = torch.arange(rings)[:, None, None]
    wedge = torch.arange(wedges if size[0] > 1 else 0)[:, None, None]
    apart = (turn - wedge + wedges / 2) % wedges - wedges / 2
    return (
        (1 - (far - ring).abs()).clamp(min=0) * (radius > 0),
        (1 - apart.abs()).clamp(min=0) * (radius > 1),
    )


def octaves(shape: Sequence[int]) -> float:
    """Between the first and the last ring of `polar_bins`."""
    return math.log2(max(_polar_size(shape)) / 2)


def _polar_size(shape: Sequence[int]) -> list[int]:
    high, wide = shape[2:]
    return [POLAR, POLAR] if high > 1 else [1, max(POLAR, wide)]


def _fade(size: int) -> Tensor:
    """A Hann window without its zeros."""
    if size == 1:
        return torch.ones(1, dtype=torch.float64)
    return torch.hann_window(size + 2, periodic=False, dtype=torch.float64)[1:-1]


def trend(x: Tensor) -> Tensor:
    """The plane that is nearest to a picture, or the line for a series; and the logarithm of the
    power spectrum of what is left."""
    high, wide = x.shape[2:]
    down, across = (torch.linspace(-0.5, 0.5, n, dtype=x.dtype) for n in (high, wide))
    parts = [torch.ones(high, wide, dtype=x.dtype), across.expand(high, wide)]
    parts += [down[:, None].expand(high, wide)] if high > 1 else []
    axes, _ = torch.linalg.qr(torch.stack(parts).flatten(1).T)
    found = x.flatten(2) @ axes
    rest = (x.flatten(2) - found @ axes.T).reshape(x.shape)
    return torch.cat([found.flatten(1), spectrum(rest)], dim=1)


def paint(x: Tensor) -> Tensor:
    """The colours of what is painted on a ground: of the ground, and of the paint at its strongest,
    (N, 2 channels). The second lies from the first along the direction in which channels leave it,
    as far as a is at most: Σ a³ / Σ a² over places, whatever share of them is painted."""
    ground = _ground(x)
    axis, along = _leaving(x, ground)
    far = along.pow(3).sum(dim=(1, 2)) / (along.square().sum(dim=(1, 2)) + SMALL)
    return torch.cat([ground, ground + axis * far[:, None]], dim=1)


def unpainted(x: Tensor) -> tuple[Tensor, Tensor]:
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
    "logs": logs,
    "spectrum": spectrum,
    "energy": energy,
    "stencil": stencil,
    "framed": framed,
    "polar": polar,
    "trend": trend,
}


def maps_of(shape: Sequence[int]) -> list[str]:
    """Names of the maps that suit samples of this shape: vectors are numbers of their own; paint
    takes several channels or a plane, a frame takes a plane."""
    if len(shape) == 1:
        return ["raw", "logs"]
    lacking = {"logs"} if len(shape) == 3 else {"logs", "framed"}
    lacking |= {"stencil"} if len(shape) == 2 and shape[0] == 1 else set()
    return [name for name in MAPS if name not in lacking]


@dataclass(frozen=True)
class Features:
    """A map, then standardised, then principal components.

    Attributes:
        name: of the map.
        scale: samples are divided by it.
        zero: subtracted first: the least numbers for logarithms of numbers, else 0.
        projection: (all features, PROJECTED), or None.
        mean: (d,), of what is mapped and projected.
        components: (d, at most FEATURES), which also standardise.
    """

    name: str
    scale: float
    zero: Tensor
    projection: Tensor | None
    mean: Tensor
    components: Tensor

    @classmethod
    def fit(cls, name: str, x: Tensor, generator: torch.Generator) -> "Features":
        """Fit to pictures."""
        scale = max(float(x.std()), 1e-6)
        zero = x.amin(dim=0) if name == "logs" else torch.zeros(())
        mapped = MAPS[name]((x - zero) / scale)
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
        return cls(name, scale, zero, projection, mean, components)

    def __call__(self, x: Tensor) -> Tensor:
        """Pictures -> features (N, d)."""
        mapped = MAPS[self.name]((x - self.zero) / self.scale)
        if self.projection is not None:
            mapped = mapped @ self.projection
        return (mapped - self.mean) @ self.components


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
