"""Samples of a combination that nobody has, made from those of its neighbours.

A *move* maps a sample to features in which values of attributes add up, adds what the wanted value
has more than the present one, and maps back: raw numbers are shifted, spectra and local energies
are multiplied. So a shape in one colour gives the same shape in another, and variety within a
combination stays.

No move is believed: each is tried on known combinations that its effects were fitted without, and
serves only for attributes where what it makes is distributed like their own samples.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dcfm_node.flow.committee import determined, one_hot, rows_of
from dcfm_node.flow.features import SMALL, local_energy
from dcfm_node.flow.metrics import energy_distance

NEAR = 0.075
"""A move serves if the mean energy distance of what it makes is at most this share of the mean
distance between samples."""
PAIRS = 24
"""Most pairs of known combinations that a move is tried on, for each attribute."""
EACH = 64
"""Most samples of a combination that it is tried on."""
STEEPEST = 3.0
"""Largest change of a logarithm of amplitudes."""


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
    """The same axes of the channels' scatter, turned and stretched."""
    powers, axes = zip(*(torch.linalg.eigh(of[:, 1:]) for of in (before, after)), strict=True)
    alike = (axes[0] * axes[1]).sum(dim=0).sign()
    stretch = (powers[1].clamp(min=0) / powers[0].clamp(min=SMALL)).sqrt() * alike * sign
    turned = axes[1] @ torch.diag(stretch) @ axes[0].T
    rest = x - before[None, :, :1, None]
    return after[None, :, :1, None] + torch.einsum("ij,njhw->nihw", turned, rest)


def _inverted(x: Tensor, before: Tensor, after: Tensor) -> Tensor:
    return _recoloured(x, before, after, sign=-1.0)


def _scatter(x: Tensor) -> Tensor:
    """How far each place is from the mean, (N, height, width)."""
    return (x - x.mean(dim=(2, 3), keepdim=True)).square().sum(dim=1)


def _rolled(x: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Moved to where the scatter fits best, around the borders."""
    here, there = torch.fft.rfft2(before), torch.fft.rfft2(after)
    fit = torch.fft.irfft2(here.conj() * there, s=before.shape)
    down, right = divmod(int(fit.argmax()), before.shape[1])
    return x.roll((down, right), dims=(2, 3))


MOVES: tuple[Move, ...] = (
    Move(lambda x: x, _shifted),
    Move(_spectrum, _filtered),
    Move(_energy, _amplified),
    Move(_colours, _recoloured),
    Move(_colours, _inverted),
    Move(_scatter, _rolled),
)


@dataclass(frozen=True)
class Trusted:
    """A move that serves for one attribute.

    Attributes:
        effects: of all values of all attributes, (Σ|C_i|, ...).
        scale: samples are divided by it first.
        distance: what it was trusted for.
    """

    move: Move
    attribute: int
    effects: Tensor
    cardinalities: tuple[int, ...]
    scale: float
    distance: float = math.inf

    def __call__(self, x: Tensor, label: Tensor, wanted: Tensor) -> Tensor:
        """Samples (N, *shape) of a label (n,) as those of another."""
        before, after = (
            self.effects[rows_of(one[None], self.cardinalities)[0]].sum(0)
            for one in (label, wanted)
        )
        made = self.move.moved(_pictures(x).double() / self.scale, before, after) * self.scale
        return made.to(x.dtype).reshape(x.shape)

    def sources(self, wanted: Tensor, known: Tensor) -> Tensor:
        """Those of labels (M, n) that differ from the wanted one (n,) in this attribute alone."""
        differ = known != wanted
        return known[differ[:, self.attribute] & (differ.sum(dim=1) == 1)]


def trusted(
    x: Tensor, c: Tensor, cardinalities: Sequence[int], generator: torch.Generator
) -> list[Trusted]:
    """The moves that serve, the best one for each attribute.

    Args:
        x: samples (N, *shape) of known combinations, on the CPU.
        c: (N, n).
        generator: decides which pairs of combinations moves are tried on.
    """
    sizes, scale, known = tuple(cardinalities), max(float(x.std()), 1e-6), torch.unique(c, dim=0)
    tried = _pairs(known, sizes, generator)
    best: dict[int, Trusted] = {}
    for move in MOVES:
        features = move.features(_pictures(x).double() / scale)
        effects = _effects(features, c, sizes)
        for attribute, pairs in tried.items():
            serves = Trusted(move, attribute, effects, sizes, scale)
            apart = [_tried(serves, features, x, c, pair) for pair in pairs]
            distance = sum(apart) / len(apart)
            if distance <= (best[attribute].distance if attribute in best else NEAR):
                best[attribute] = replace(serves, distance=distance)
    return list(best.values())


def _pairs(
    known: Tensor, sizes: tuple[int, ...], generator: torch.Generator
) -> dict[int, list[tuple[Tensor, Tensor]]]:
    """For each attribute, pairs of known combinations (M, n) that differ in it alone, the second
    one determined by all others; attributes with at least two."""
    spare = [
        b
        for k, b in enumerate(known)
        if determined(b[None], torch.cat([known[:k], known[k + 1 :]]), sizes).item()
    ]
    found: dict[int, list[tuple[Tensor, Tensor]]] = {i: [] for i in range(len(sizes))}
    for b in spare:
        for a in known[(known != b).sum(dim=1) == 1]:
            found[int((a != b).nonzero())].append((a, b))
    chosen = {
        i: [pairs[k] for k in torch.randperm(len(pairs), generator=generator)[:PAIRS]]
        for i, pairs in found.items()
    }
    return {i: pairs for i, pairs in chosen.items() if len(pairs) > 1}


def _tried(
    move: Trusted, features: Tensor, x: Tensor, c: Tensor, pair: tuple[Tensor, Tensor]
) -> float:
    """How far samples of a, moved to b without knowing b's, are from those of b."""
    (a, b), (rows, own) = pair, ((c == label).all(dim=1) for label in pair)
    effects = _effects(features[~own], c[~own], move.cardinalities)
    made = replace(move, effects=effects)(x[rows][:EACH], a, b)
    scale = x.std(dim=0) + 1e-6
    return energy_distance((made / scale).flatten(1), (x[own][:EACH] / scale).flatten(1))


def _effects(features: Tensor, c: Tensor, sizes: Sequence[int]) -> Tensor:
    """Least squares for what each value of each attribute adds, (Σ|C_i|, ...)."""
    codes = one_hot(c, sizes)
    ridge = 1e-6 * len(codes) * torch.eye(codes.shape[1], dtype=torch.float64)
    found: Tensor = torch.linalg.solve(codes.T @ codes + ridge, codes.T @ features.flatten(1))
    return found.reshape(-1, *features.shape[1:])


def _pictures(x: Tensor) -> Tensor:
    """Samples as (N, channels, height, width); vectors and series are one high."""
    if x.ndim == 4:
        return x
    return x[:, :, None] if x.ndim == 3 else x[:, None, None]
