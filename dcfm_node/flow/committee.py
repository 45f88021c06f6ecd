"""A committee that reads labels from samples, also those of combinations that it never saw.

Each *reader* sees samples through one fixed map to features. It assumes that attributes add up
there: the mean of the features of c is a sum of one effect per value, Σ_i e_i(c_i), and all
combinations share one covariance (linear discriminant analysis). For raw numbers this fits shifts;
for logarithms of power spectra it fits products, such as a shape times a colour, at any place.

No assumption is believed: readers are tested on known combinations that are left out of their
training, and only those that read these well serve. Classifiers trained without this structure
read known combinations perfectly, and unseen ones poorly.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from dcfm_node.flow.labels import count

Map = Callable[[Tensor], Tensor]
"""Samples (N, channels, height, width) -> features (N, d)."""
SIDE = 16
"""Pictures are averaged down to at most this many pixels a side."""
FEATURES = 256
"""Most features of a reader: the leading principal components."""
PROJECTED = 512
"""Most features before their principal components are taken; more are projected at random."""
ROWS = 4096
"""Most samples that a committee is trained on."""
COMBINATIONS = 2048
"""Most known combinations that it is tested on."""
FOLDS = 6
LEFT_OUT = 0.2
"""Largest share of the known combinations that one fold leaves out."""
SHRINKAGE = 0.1
"""Weight of a multiple of the identity in the covariance, 0 to 1."""
SMALL = 2e-4
"""Added to mean squares before their logarithm."""
FLOOR = 0.6
"""Least leave-combination-out accuracy of a reader that serves."""
NEAR = 0.1
"""Readers serve if their accuracy is within this of the best one's."""
MOST = 0.9
"""Share of the left-out samples that are clear enough, and share that are near enough."""


def raw(x: Tensor) -> Tensor:
    """The numbers themselves."""
    return x.flatten(1)


def squares(x: Tensor) -> Tensor:
    """The numbers and their squares."""
    return torch.cat([x.flatten(1), x.flatten(1).square()], dim=1)


def spectrum(x: Tensor, floor: float = SMALL) -> Tensor:
    """Logarithm of the power spectrum per channel. It does not depend on the place of a shape."""
    power: Tensor = torch.fft.rfft2(x, norm="ortho").abs().square()
    return (power + floor).log().flatten(1)


def energy(x: Tensor, floor: float = SMALL) -> Tensor:
    """The power spectrum, and the local mean square, both as logarithms."""
    window = tuple(min(3 if x.shape[2] > 1 else 5, size) for size in x.shape[2:])
    margin = tuple(size // 2 for size in window)
    local = functional.avg_pool2d(x.square(), window, 2, margin, count_include_pad=False)
    return torch.cat([spectrum(x, floor), (local + floor).log().flatten(1)], dim=1)


def soft_energy(x: Tensor) -> Tensor:
    """`energy`, blind to what is as small as noise may be."""
    return energy(x, 2e-2)


MAPS: Mapping[str, Map] = {
    "raw": raw,
    "squares": squares,
    "spectrum": spectrum,
    "energy": energy,
    "soft_energy": soft_energy,
}


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
        """Fit to samples (N, *shape)."""
        scale = max(float(x.float().std()), 1e-6)
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
        """Samples (N, *shape) -> features (N, d), float64."""
        mapped = _mapped(self.name, x, self.scale)
        if self.projection is not None:
            mapped = mapped @ self.projection
        return (mapped - self.mean) @ self.components


@dataclass(frozen=True)
class Reader:
    """Additive discriminant analysis in whitened features.

    Attributes:
        whiten: (d, d).
        effects: of all values of all attributes, whitened, (Σ|C_i|, d).
    """

    whiten: Tensor
    effects: Tensor
    cardinalities: tuple[int, ...]

    @classmethod
    def fit(cls, features: Tensor, c: Tensor, cardinalities: Sequence[int]) -> "Reader":
        """Least squares for the effects, and the covariance of what is left.

        Args:
            features: (N, d) float64.
            c: (N, n).
        """
        sizes = tuple(cardinalities)
        design = one_hot(c, sizes)
        # Effects are known but for constants that cancel; the ridge picks the smallest.
        ridge = 1e-6 * len(design) * torch.eye(design.shape[1], dtype=torch.float64)
        effects = torch.linalg.solve(design.T @ design + ridge, design.T @ features)
        rest = features - design @ effects
        covariance = rest.T @ rest / len(rest)
        spherical = torch.eye(len(covariance), dtype=torch.float64) * covariance.diagonal().mean()
        mixed = torch.lerp(covariance, spherical + 1e-9, SHRINKAGE)
        whiten = torch.linalg.cholesky(torch.linalg.inv(mixed))
        return cls(whiten, effects @ whiten, sizes)

    def read(self, features: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """How clearly the values asked for are read, and how far the samples are from their mean.

        Returns: the least log-odds of an attribute's value against all its other values, while the
            other attributes stay as asked, (N,); and the squared Mahalanobis distance to the mean
            of c, (N,).
        """
        index = rows_of(c, self.cardinalities)
        rest = features @ self.whiten - self.effects[index].sum(dim=1)
        along = rest @ self.effects.T
        apart = torch.cdist(self.effects, self.effects).square()
        odds = torch.full((len(c),), math.inf, dtype=torch.float64)
        for i, (start, size) in enumerate(_blocks(self.cardinalities)):
            asked, all_values = index[:, i], slice(start, start + size)
            own = along.gather(1, asked[:, None])
            farther = 2 * (own - along[:, all_values]) + apart[asked, all_values]
            farther.scatter_(1, (asked - start)[:, None], math.inf)
            odds = torch.minimum(odds, -(-farther / 2).logsumexp(dim=1))
        return odds, rest.square().sum(dim=1)


@dataclass(frozen=True)
class Member:
    """A reader that serves.

    Attributes:
        accuracy: on left-out combinations, 0 to 1.
        clear: log-odds that most of the left-out samples that are read right reach.
        far: squared distance that most of them stay below.
    """

    features: Features
    reader: Reader
    accuracy: float
    clear: float
    far: float


@dataclass(frozen=True)
class Committee:
    """Readers of labels, which pass a sample only if all of them agree.

    Attributes:
        members: empty if no reader can be trusted.
        accuracy: of the best reader on combinations that its training left out, 0 to 1: whether the
            committee can be trusted on unseen ones. None if no combination can be left out.
    """

    members: tuple[Member, ...]
    accuracy: float | None

    @classmethod
    def fit(
        cls, x: Tensor, c: Tensor, cardinalities: Sequence[int], generator: torch.Generator
    ) -> "Committee":
        """Train and test all readers on samples of known combinations.

        Args:
            x: (N, *shape) on the CPU, float32. All combinations count alike if each has as many
                samples. At most ROWS of them are used.
            c: (N, n) int64.
            generator: decides which combinations and samples are used.
        """
        if len(x) > ROWS:
            some = torch.randperm(len(x), generator=generator)[:ROWS]
            x, c = x[some], c[some]
        x, sizes = _image(x), tuple(cardinalities)
        folds = _folds(c, sizes, generator)
        found = []
        for name in MAPS:
            features = Features.fit(name, x, generator)
            mapped = features(x)
            reader = Reader.fit(mapped, c, sizes)
            found.append(Member(features, reader, *_rehearse(mapped, c, sizes, folds)))
        if not folds:
            return cls((), None)
        best = max(member.accuracy for member in found)
        least = max(best - NEAR, FLOOR)
        return cls(tuple(member for member in found if member.accuracy >= least), best)

    def recognises(self, x: Tensor, c: Tensor) -> Tensor:
        """Whether every member reads the labels c (N, n) from the samples (N, *shape): (N,)."""
        return self._all(x, c, lambda member, odds, distance: odds > 0)

    def passes(self, x: Tensor, c: Tensor) -> Tensor:
        """Whether every member reads c as clearly, and finds the samples as close to its mean, as
        most left-out samples that were read right: (N,). So some good samples fail, too."""
        return self._all(
            x, c, lambda member, odds, distance: (odds >= member.clear) & (distance <= member.far)
        )

    def _all(
        self, x: Tensor, c: Tensor, test: Callable[[Member, Tensor, Tensor], Tensor]
    ) -> Tensor:
        found = torch.full((len(x),), bool(self.members))
        for member in self.members:
            found &= test(member, *member.reader.read(member.features(_image(x)), c))
        return found


def one_hot(c: Tensor, cardinalities: Sequence[int]) -> Tensor:
    """Labels (N, n) -> (N, Σ|C_i|), float64, with a one per attribute."""
    shape = (len(c), sum(cardinalities))
    return torch.zeros(shape, dtype=torch.float64).scatter_(1, rows_of(c, cardinalities), 1.0)


def rows_of(c: Tensor, cardinalities: Sequence[int]) -> Tensor:
    """Place of each value of labels (N, n) among all values of all attributes, (N, n)."""
    return c + torch.tensor([start for start, _ in _blocks(cardinalities)])


def determined(asked: Tensor, known: Tensor, cardinalities: Sequence[int]) -> Tensor:
    """Which combinations (M, n) the known ones (N, n) determine, (M,): if attributes add up, means
    of the known ones give theirs (the affine hull of arXiv 2410.06303)."""
    design = one_hot(known, cardinalities)
    values, axes = torch.linalg.eigh(design.T @ design)
    beyond = axes[:, values <= 1e-9 * max(1.0, float(values[-1]))]
    found: Tensor = (one_hot(asked, cardinalities) @ beyond).square().sum(dim=1)
    return found < 1e-9


def _blocks(cardinalities: Sequence[int]) -> list[tuple[int, int]]:
    """First place and number of each attribute's values."""
    return [(sum(cardinalities[:i]), size) for i, size in enumerate(cardinalities)]


def _mapped(name: str, x: Tensor, scale: float) -> Tensor:
    return MAPS[name](x.double() / scale)


def _image(x: Tensor) -> Tensor:
    """Samples as pictures (N, channels, height, width) of bounded size; vectors and series are one
    pixel high."""
    if x.ndim == 2:
        return x[:, None, None]
    if x.ndim == 3:
        x = x[:, :, None]
    high, wide = x.shape[2:]
    if high > 1:
        high, wide = min(high, SIDE), min(wide, SIDE)
    return functional.adaptive_avg_pool2d(x.float(), (high, wide))


def _folds(c: Tensor, cardinalities: Sequence[int], generator: torch.Generator) -> list[Tensor]:
    """The rows (N,) that each fold leaves out; empty if no combination can be left out.

    The combinations that stay determine all effects: their indicator vectors span those of all
    known combinations.
    """
    known = torch.tensor(sorted(count(c)))
    known = known[torch.randperm(len(known), generator=generator)[:COMBINATIONS]]
    most = max(1, int(LEFT_OUT * len(known)))
    folds = []
    for _ in range(FOLDS):
        known = known[torch.randperm(len(known), generator=generator)]
        out = known[_spare(one_hot(known, cardinalities))][:most]
        if len(out) == 0:
            return []
        folds.append((c[:, None] == out).all(dim=2).any(dim=1))
    return folds


def _spare(rows: Tensor) -> Tensor:
    """Which rows (M, K) are combinations of earlier ones, (M,)."""
    basis = torch.zeros(0, rows.shape[1], dtype=rows.dtype)
    spare = torch.zeros(len(rows), dtype=torch.bool)
    for i, row in enumerate(rows):
        rest = row - (basis @ row) @ basis
        if rest.norm() > 1e-6:
            basis = torch.cat([basis, (rest / rest.norm())[None]])
        else:
            spare[i] = True
    return spare


def _rehearse(
    mapped: Tensor, c: Tensor, cardinalities: Sequence[int], folds: Sequence[Tensor]
) -> tuple[float, float, float]:
    """Accuracy on left-out combinations; of the samples read right, the log-odds that most reach,
    and the distance that most stay below."""
    if not folds:
        return 0.0, math.inf, 0.0
    readers = [Reader.fit(mapped[~out], c[~out], cardinalities) for out in folds]
    read = [reader.read(mapped[out], c[out]) for reader, out in zip(readers, folds, strict=True)]
    accuracy = sum(float((odds > 0).double().mean()) for odds, _ in read) / len(folds)
    odds, distance = (torch.cat(part) for part in zip(*read, strict=True))
    if not bool((right := odds > 0).any()):
        return 0.0, math.inf, 0.0
    return accuracy, float(odds[right].quantile(1 - MOST)), float(distance[right].quantile(MOST))
