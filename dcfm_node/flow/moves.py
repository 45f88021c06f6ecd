"""Maps that turn samples with one value of an attribute into samples with another.

A *move* maps a sample to features in which values of attributes add up, adds what the wanted value
has more than the present one, and maps back: raw numbers are shifted or multiplied; spectra, local
energies and channels are multiplied; what is painted gets another paint, place or size; pictures
are rolled, turned, enlarged or mirrored. `flow.transfer` decides which of them serve.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from dcfm_node.flow.features import (
    SMALL,
    frame,
    local_energy,
    octaves,
    paint,
    polar_bins,
    polar_power,
    sampled,
    unpainted,
)

STEEPEST = 3.0
"""Largest change of a logarithm of amplitudes."""
RINGS, WEDGES = 16, 24
"""Steps of the ratios and angles by which pictures are enlarged and turned."""
ORIGINS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""How far below all samples numbers may have their zero, in ranges of the combinations' means."""


@dataclass(frozen=True)
class Move:
    """A map to features, and what turns a sample with some mean features into one with others.

    Attributes:
        features: pictures (N, channels, height, width) -> (N, ...).
        moved: pictures (N, ...), and mean features before and after -> pictures.
    """

    features: Callable[[Tensor], Tensor]
    moved: Callable[[Tensor, Tensor, Tensor], Tensor]


def _shifted(x: Tensor, before: Tensor, after: Tensor) -> Tensor:
    return x + after - before


def _spectrum(x: Tensor) -> Tensor:
    """Logarithms of the powers of all frequencies but 0; there the sum itself."""
    found: Tensor = torch.fft.rfft2(x, norm="ortho")
    powers = (found.abs().square() + SMALL).log()
    powers[..., 0, 0] = found[..., 0, 0].real
    return powers


def _filtered(x: Tensor, before: Tensor, after: Tensor) -> Tensor:
    found = torch.fft.rfft2(x, norm="ortho")
    moved = found * _gain(after - before)
    moved[..., 0, 0] = found[..., 0, 0] + (after - before)[..., 0, 0]
    filtered: Tensor = torch.fft.irfft2(moved, s=x.shape[2:], norm="ortho")
    return filtered


def _energy(x: Tensor) -> Tensor:
    return local_energy(x, stride=1)


def _amplified(x: Tensor, before: Tensor, after: Tensor) -> Tensor:
    return x * _gain(after - before)


def _gain(change: Tensor) -> Tensor:
    return (change / 2).clamp(-STEEPEST, STEEPEST).exp()


def _colours(x: Tensor) -> Tensor:
    """Means of the channels, and their covariances over places: (N, channels, 1 + channels)."""
    mean = x.mean(dim=(2, 3), keepdim=True)
    rest = (x - mean).flatten(2)
    covariance = rest @ rest.transpose(1, 2) / rest.shape[2]
    return torch.cat([mean.squeeze(3), covariance], dim=2)


def _recoloured(x: Tensor, before: Tensor, after: Tensor, sign: float = 1.0) -> Tensor:
    """The axes along which channels scatter, turned and stretched."""
    powers, axes = zip(*(torch.linalg.eigh(of[:, 1:]) for of in (before, after)), strict=True)
    alike = (axes[0] * axes[1]).sum(dim=0).sign()
    stretch = (powers[1].clamp(min=0) / powers[0].clamp(min=SMALL)).sqrt() * alike * sign
    turned = axes[1] @ torch.diag(stretch) @ axes[0].T
    rest = x - before[None, :, :1, None]
    return after[None, :, :1, None] + torch.einsum("ij,njhw->nihw", turned, rest)


def _inverted(x: Tensor, before: Tensor, after: Tensor) -> Tensor:
    return _recoloured(x, before, after, sign=-1.0)


def _repainted(x: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """The same shape in another paint. What is not along the paint, as noise, stays."""
    (old_ground, old), (new_ground, new) = (of.chunk(2) for of in (before, after))
    old, new = old - old_ground, new - new_ground
    along = torch.einsum("i,nihw->nhw", old, x - old_ground[:, None, None])
    shape = along[:, None] / (old.square().sum() + SMALL)
    changed = new_ground - old_ground
    return x + changed[:, None, None] + shape * (new - old)[:, None, None]


def _scatter(x: Tensor) -> Tensor:
    """How far each place is from the mean, (N, height, width)."""
    return (x - x.mean(dim=(2, 3), keepdim=True)).square().sum(dim=1)


def _rolled(x: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Moved from where scatter is lost to where it is won, around the borders."""
    lost, won = (torch.fft.rfft2(of.clamp(min=0)) for of in (before - after, after - before))
    fit = torch.fft.irfft2(lost.conj() * won, s=before.shape)
    down, right = divmod(int(fit.argmax()), before.shape[1])
    return x.roll((down, right), dims=(2, 3))


def _power(x: Tensor) -> Tensor:
    """Which share of the power is at which frequency, (N, height, width / 2 + 1)."""
    powers: Tensor = torch.fft.rfft2(x).abs().square().sum(dim=1)
    return powers / (powers.sum(dim=(1, 2), keepdim=True) + SMALL)


def _transposed(x: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """All frequencies moved by as much: from where power is lost to where it is won. So a tone
    becomes another one, as loud at each moment (single-sideband modulation)."""
    high, wide = before.shape
    size = (high, 2 * wide)
    lost, won = (
        torch.fft.rfft2(of.clamp(min=0), s=size) for of in (before - after, after - before)
    )
    down, right = divmod(int(torch.fft.irfft2(lost.conj() * won, s=size).argmax()), 2 * wide)
    right -= 2 * wide * (right >= wide)
    found = torch.fft.fft2(x)
    found[..., wide:] = 0
    kept = torch.zeros_like(found)
    first, last = max(0, right), min(wide, wide + right)
    kept[..., first:last] = found[..., first - right : last - right].roll(down, dims=2)
    kept[..., 1:] *= 2
    moved: Tensor = torch.fft.ifft2(kept).real
    return moved


def _framing(x: Tensor) -> Tensor:
    """Logarithm of the radius of what is painted, and its centre: (N, 3)."""
    place, radius = frame(unpainted(x)[0])
    return torch.cat([radius.log()[:, None], place], dim=1)


def _resized(x: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """What is painted, enlarged about its centre and moved, on the same ground."""
    shape, colours = unpainted(x)
    place, _ = frame(shape)
    ground = colours[:, : x.shape[1], None, None]
    change = after - before
    ratio, to = change[0].clamp(-STEEPEST, STEEPEST).exp(), place + change[1:]
    down, across = (
        place[:, i, None] + (torch.arange(n, dtype=x.dtype) - to[:, i, None]) / ratio
        for i, n in enumerate(x.shape[2:])
    )
    return ground + sampled(x - ground, down[:, :, None], across[:, None, :], "zeros")


def _directions(x: Tensor) -> Tensor:
    """Which share of the power is at which width and direction, (N, RINGS, WEDGES or 1)."""
    power, (rings, wedges) = polar_power(x).sum(dim=1), polar_bins(x.shape, RINGS, WEDGES)
    joint = rings[:, None] * (wedges if len(wedges) else torch.ones_like(rings[:1]))
    found = torch.einsum("nhw,rahw->nra", power, joint) / (joint.sum(dim=(2, 3)) + 1e-9)
    return found / (found.sum(dim=(1, 2), keepdim=True) + SMALL)


def _turned(x: Tensor, before: Tensor, after: Tensor, half: float = 0.0) -> Tensor:
    """Enlarged and turned about the middle, by what registers the lost power with the won one
    (Reddy and Chatterji, 1996); spectra leave half a turn open."""
    size = (2 * RINGS, before.shape[1])
    lost, won = (
        torch.fft.rfft2(of.clamp(min=0), s=size) for of in (before - after, after - before)
    )
    finer, turn = divmod(int(torch.fft.irfft2(lost.conj() * won, s=size).argmax()), size[1])
    finer -= size[0] * (finer >= RINGS)
    ratio = 2 ** (-finer * octaves(x.shape) / (RINGS - 1))
    angle = math.pi * (turn / WEDGES + half)
    high, wide = x.shape[2:]
    down = torch.arange(high, dtype=x.dtype)[:, None] - (high - 1) / 2
    across = torch.arange(wide, dtype=x.dtype) - (wide - 1) / 2
    cos, sin = math.cos(angle) / ratio, math.sin(angle) / ratio
    back = (cos * down - sin * across, sin * down + cos * across)
    rows, columns = (of[None] + (n - 1) / 2 for of, n in zip(back, (high, wide), strict=True))
    return sampled(x, rows, columns, "reflection")


def _none(x: Tensor) -> Tensor:
    return x.new_zeros(len(x), 0)


def _mirrored(x: Tensor, before: Tensor, after: Tensor, axis: int) -> Tensor:
    return x.flip(axis)


def _stretch(origin: Tensor) -> Move:
    """Multiplies what numbers have above their zero, (d,)."""

    def features(x: Tensor) -> Tensor:
        return (x - origin).clamp(min=SMALL).log()

    def moved(x: Tensor, before: Tensor, after: Tensor) -> Tensor:
        ratio = (after - before).clamp(-STEEPEST, STEEPEST).exp()
        return origin + (x - origin) * ratio

    return Move(features, moved)


MOVES: tuple[Move, ...] = (
    Move(lambda x: x, _shifted),
    Move(_spectrum, _filtered),
    Move(_energy, _amplified),
    Move(_colours, _recoloured),
    Move(_colours, _inverted),
    Move(paint, _repainted),
    Move(_scatter, _rolled),
    Move(_power, _transposed),
    Move(_framing, _resized),
    Move(_directions, _turned),
    Move(_directions, partial(_turned, half=1.0)),
    Move(_none, partial(_mirrored, axis=2)),
    Move(_none, partial(_mirrored, axis=3)),
)


def moves_of(of: Sequence[Tensor], codes: Tensor) -> tuple[Move, ...]:
    """All moves that suit samples: for vectors also one that multiplies. Each number has its zero
    where the logarithms of what it has above add up best.

    Args:
        of: of each known combination its pictures, (N, channels, height, width).
        codes: one-hot labels of these combinations, (M, Σ|C_i|).
    """
    every = torch.cat([*of])
    if every.shape[1:3] != (1, 1):
        return MOVES
    least, means = every.amin(dim=0), torch.stack([some.mean(dim=0) for some in of])
    wide = (means.amax(dim=0) - means.amin(dim=0)).clamp(min=SMALL)
    solved = codes @ torch.linalg.pinv(codes)
    origins = torch.stack([least - share * wide for share in ORIGINS])
    left = []
    for origin in origins:
        logs = torch.stack([(some - origin).clamp(min=SMALL).log().mean(dim=0) for some in of])
        logs = logs.flatten(1)
        spread = (logs - logs.mean(dim=0)).square().sum(dim=0)
        left.append((logs - solved @ logs).square().sum(dim=0) / spread.clamp(min=SMALL))
    best = torch.stack(left).argmin(dim=0).reshape(least.shape)
    return (*MOVES, _stretch(origins.gather(0, best[None])[0]))
