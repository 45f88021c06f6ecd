"""Judges of samples: classifiers that read combinations which they never saw.

A member takes a map of a sample, such as its log power spectrum, to be Gaussian around a sum of
one effect per attribute value, with one covariance (linear discriminant analysis). So it reads
every combination whose values it saw. Which maps a judge uses is chosen by leaving combinations
out.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from torch import Tensor
from torch.nn import functional

from dcfm_node.flow.stages import EncodedSamples
from dcfm_node.flow.trainer import generator

Map = Callable[[Tensor], Tensor]
"""From samples (N, *shape) to features (N, F)."""

FOLDS = 4
"""Most combinations that are left out, one at a time, to choose the maps."""
NEAR = 0.1
"""Maps whose share of rightly read samples is this near to the best one's are kept."""
SHRINK = 0.1
"""Weight of an isotropic covariance."""
TYPICAL, BEYOND = 0.95, 10.0
"""A sample is out of reach beyond so many times the squared distance within which this share of the
samples of left-out combinations lies."""
MAX_COMBINATIONS = 1_024
"""In a larger space, a sample is compared with combinations that differ in one attribute."""
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
        reach: the largest squared Mahalanobis distance at which a sample is still typical.
    """

    map: Map
    cardinalities: tuple[int, ...]
    centre: Tensor
    scale: Tensor
    whiten: Tensor
    effects: Tensor
    reach: float = math.inf

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
        """Whether each sample is nearer to the asked combination than to any other, and not
        farther than `reach`: (N,) booleans."""
        here = self._whitened(x)
        asked = one_hot(c, self.cardinalities) @ self.effects
        own = (here - asked).square().sum(1)
        if math.prod(self.cardinalities) > MAX_COMBINATIONS:
            others = self._changed(here, asked, c)
        else:
            space = torch.cartesian_prod(*map(torch.arange, self.cardinalities))
            means = one_hot(space.reshape(-1, len(self.cardinalities)), self.cardinalities)
            others = torch.cdist(here, means @ self.effects).square().amin(1)
        return (own <= others * (1 + 1e-9) + 1e-9) & (own <= self.reach)

    def apart(self, x: Tensor, c: Tensor) -> Tensor:
        """Squared Mahalanobis distance (N,) of samples to the combinations asked for."""
        asked = one_hot(c, self.cardinalities) @ self.effects
        return (self._whitened(x) - asked).square().sum(1)

    def _whitened(self, x: Tensor) -> Tensor:
        return ((self.map(x).double() - self.centre) / self.scale) @ self.whiten

    def _changed(self, here: Tensor, asked: Tensor, c: Tensor) -> Tensor:
        """The least squared distance to combinations with at most one other value (N,)."""
        nearest, start = torch.full((len(here),), torch.inf, dtype=torch.float64), 0
        for attribute, size in enumerate(self.cardinalities):
            own = self.effects[start : start + size]
            others = torch.cdist(here - asked + own[c[:, attribute]], own).square().amin(1)
            nearest, start = torch.minimum(nearest, others), start + size
        return nearest


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
    rates: dict[Map, float] = dict.fromkeys(MAPS, 0.0)
    apart: dict[Map, list[Tensor]] = {map_: [] for map_ in MAPS}
    for label in combinations[order] if len(combinations) > 1 else []:
        out = (data.c == label).all(1)
        seen, unseen = taken(data, ~out), taken(data, out)
        for map_ in MAPS:
            fitted = Additive.fit(map_, seen, cardinalities)
            rates[map_] += fitted.right(unseen.x, unseen.c).float().mean().item() / len(order)
            apart[map_].append(fitted.apart(unseen.x, unseen.c))
    kept = [map_ for map_ in MAPS if rates[map_] >= max(rates.values()) - NEAR]
    return Panel(tuple(_member(map_, data, cardinalities, apart[map_]) for map_ in kept))


def _member(
    map_: Map, data: EncodedSamples, cardinalities: Sequence[int], apart: Sequence[Tensor]
) -> Additive:
    fitted = Additive.fit(map_, data, cardinalities)
    distances = torch.cat([*apart]) if apart else fitted.apart(data.x, data.c)
    return replace(fitted, reach=BEYOND * distances.quantile(TYPICAL).item())


def taken(data: EncodedSamples, rows: Tensor) -> EncodedSamples:
    """Some of the samples, by booleans (N,) or indices."""
    return EncodedSamples(data.x[rows], data.c[rows])
