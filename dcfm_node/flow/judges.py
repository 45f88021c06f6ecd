"""Judges of samples: classifiers that read combinations which they never saw.

A member takes a map of a sample, such as its log power spectrum, to be Gaussian around a sum of
one effect per attribute value, with one covariance (linear discriminant analysis). So it reads
every combination whose values it saw. Which maps a judge uses is chosen by leaving combinations
out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor
from torch.nn import functional

from dcfm_node.flow.stages import EncodedSamples
from dcfm_node.flow.trainer import generator

Map = Callable[[Tensor], Tensor]
"""From samples (N, *shape) to features (N, F)."""

FOLDS = 6
"""Most combinations that are left out, one at a time, to choose the maps."""
NEAR = 0.1
"""Maps whose share of rightly read samples is this near to the best one's are kept."""
SHRINK = 0.1
"""Weight of an isotropic covariance."""
MAX_FEATURES = 384
"""Larger maps are projected to so many principal directions."""


_FOLDS_KEY = 21


class Judge(Protocol):
    """Reads samples."""

    def reads(self, x: Tensor, c: Tensor) -> Tensor:
        """Whether most members read each sample (N, *shape) as asked (N, n) in every attribute:
        booleans (N,)."""


Train = Callable[[EncodedSamples, Sequence[int], int], Judge]
"""Makes a judge from float samples, the numbers of values |C_i|, and a seed."""


def raw(x: Tensor) -> Tensor:
    """The sample itself."""
    return x.flatten(1)


def spectrum(x: Tensor) -> Tensor:
    """Log power spectrum: where factors multiply in the sample, or move it, here they add."""
    transformed: Tensor = torch.fft.rfft2(x) if x.ndim == 4 else torch.fft.rfft(x)
    power: Tensor = transformed.abs().square()
    return (power + 1e-2).log().flatten(1)


def energies(x: Tensor) -> Tensor:
    """Log power spectrum and log local energy."""
    image = x if x.ndim == 4 else x.reshape(len(x), -1, 1, x.shape[-1])
    size = (3, 3) if image.shape[-2] > 1 else (1, 5)
    pad = (size[0] // 2, size[1] // 2)
    local = functional.avg_pool2d(
        image.square(), size, stride=1, padding=pad, count_include_pad=False
    )
    return torch.cat([spectrum(x), (local + 1e-2).log().flatten(1)], dim=1)


MAPS: tuple[Map, ...] = (raw, spectrum, energies)


@dataclass(frozen=True)
class Additive:
    """Linear discriminant analysis of a map, with additive means.

    Attributes:
        centre, scale: of the map's features (F,), over the training samples.
        effects: mean of each value of each attribute, whitened: (Σ |C_i|, D).
        whiten: (F, D).
    """

    map: Map
    cardinalities: tuple[int, ...]
    centre: Tensor
    scale: Tensor
    whiten: Tensor
    effects: Tensor

    @classmethod
    def fit(cls, map_: Map, data: EncodedSamples, cardinalities: Sequence[int]) -> Self:
        """Least squares for the effects, each combination with the same weight."""
        features = map_(data.x).double()
        centre, scale = features.mean(0), features.std(0, correction=0) + 1e-4
        features, codes = (features - centre) / scale, one_hot(data.c, cardinalities)
        basis = torch.eye(features.shape[1], dtype=torch.float64)
        if features.shape[1] > MAX_FEATURES:
            basis = torch.linalg.eigh(features.T @ features).eigenvectors[:, -MAX_FEATURES:]
            features = features @ basis
        _, which, often = torch.unique(data.c, dim=0, return_inverse=True, return_counts=True)
        weights = (1.0 / often[which].double()).sqrt().unsqueeze(1)
        ridge = 1e-3 * torch.eye(codes.shape[1], dtype=torch.float64)
        coded = codes * weights
        effects = torch.linalg.solve(coded.T @ coded + ridge, coded.T @ (features * weights))
        rest = (features - codes @ effects) * weights
        spread = rest.T @ rest / weights.square().sum()
        spread = torch.lerp(
            spread, torch.eye(len(spread)).double() * spread.diagonal().mean(), SHRINK
        )
        floor = 1e-9 * torch.eye(len(spread), dtype=torch.float64)
        whiten = torch.linalg.cholesky(torch.linalg.inv(spread + floor))
        return cls(map_, tuple(cardinalities), centre, scale, basis @ whiten, effects @ whiten)

    def right(self, x: Tensor, c: Tensor) -> Tensor:
        """Whether the asked value of each attribute is the likeliest, given the asked values of the
        others: (N,) booleans, true where all are."""
        here = ((self.map(x).double() - self.centre) / self.scale) @ self.whiten
        asked = one_hot(c, self.cardinalities) @ self.effects
        found, start = torch.ones(len(x), dtype=torch.bool), 0
        for attribute, size in enumerate(self.cardinalities):
            own = self.effects[start : start + size]
            others = asked - own[c[:, attribute]]
            distance = torch.cdist((here - others).unsqueeze(0), own.unsqueeze(0))[0]
            found &= distance.argmin(1) == c[:, attribute]
            start += size
        return found


@dataclass(frozen=True)
class Panel:
    """Several members that vote."""

    members: tuple[Additive, ...]

    def reads(self, x: Tensor, c: Tensor) -> Tensor:
        """As `Judge`."""
        votes = torch.stack([member.right(x, c) for member in self.members])
        return 2 * votes.sum(0) > len(self.members)


def one_hot(c: Tensor, cardinalities: Sequence[int]) -> Tensor:
    """Labels (N, n) as the one-hot codes of all attributes, (N, Σ |C_i|) doubles."""
    codes = [functional.one_hot(c[:, i], size) for i, size in enumerate(cardinalities)]
    return torch.cat(codes, dim=1).double()


def train(data: EncodedSamples, cardinalities: Sequence[int], seed: int) -> Judge:
    """A judge of the maps that best read combinations which they were fitted without."""
    combinations = torch.unique(data.c, dim=0)
    order = torch.randperm(len(combinations), generator=generator(seed, _FOLDS_KEY))[:FOLDS]
    shares = torch.zeros(len(MAPS))
    for label in combinations[order] if len(combinations) > 1 else []:
        out = (data.c == label).all(1)
        seen, unseen = taken(data, ~out), taken(data, out)
        fitted = [Additive.fit(map_, seen, cardinalities) for map_ in MAPS]
        shares += torch.stack([m.right(unseen.x, unseen.c).float().mean() for m in fitted])
    shares /= max(1, len(order))
    kept = [m for m, share in zip(MAPS, shares, strict=True) if share >= shares.max() - NEAR]
    return Panel(tuple(Additive.fit(map_, data, cardinalities) for map_ in kept))


def taken(data: EncodedSamples, rows: Tensor) -> EncodedSamples:
    """Some of the samples, by booleans (N,) or indices."""
    return EncodedSamples(data.x[rows], data.c[rows])
