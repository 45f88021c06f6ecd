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
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from dcfm_node.flow.design import blocks, folds_of, one_hot, rows_of
from dcfm_node.flow.features import Features, maps_of, pictures
from dcfm_node.flow.labels import count

ROWS = 4096
"""Most samples that a committee is trained on."""
SHRINKAGE = 0.1
"""Weight of a multiple of the identity in the covariance, 0 to 1."""
FLOOR = 0.6
"""Least leave-combination-out accuracy of a reader that serves."""
NEAR = 0.1
"""Readers serve if their accuracy is within this of the best one's."""
BEYOND = 4.0
"""A sample is within reach up to so many deviations beyond where most left-out samples are."""
USUAL = 2.0
"""The median sample of a combination is so many deviations beyond it at most."""
CLEAR = 0.5
"""Readers judge if they are at least this share as clear as the clearest one."""
APART = 3.0
"""Samples of a combination are not learned from beyond so many times the usual distance from the
middle."""
MOST = 0.95
"""Share of the left-out samples that are clear enough, and share that are near enough."""


class Sums(NamedTuple):
    """Weighted sums over samples, of one-hot labels a and features b: what a reader is fitted to.
    So leaving samples out is a subtraction.

    Attributes:
        weight: Σ w, ().
        labels, cross, features: Σ w a aᵀ, Σ w a bᵀ and Σ w b bᵀ.
    """

    weight: Tensor
    labels: Tensor
    cross: Tensor
    features: Tensor

    @classmethod
    def of(cls, codes: Tensor, features: Tensor, weights: Tensor) -> "Sums":
        """Of labels (N, Σ|C_i|) and features (N, d), both float64, with weights (N,)."""
        a, b = codes * weights[:, None], features * weights[:, None]
        return cls(weights.sum(), a.T @ codes, a.T @ features, b.T @ features)

    def without(self, other: "Sums") -> "Sums":
        """Of the samples that the other ones are not of."""
        return Sums(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))


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
    def fit(cls, sums: Sums, cardinalities: Sequence[int]) -> "Reader":
        """Least squares for the effects, and the covariance of what is left."""
        weight, labels, cross, features = sums
        # Effects are known but for constants that cancel; the ridge picks the smallest.
        ridge = 1e-6 * weight * torch.eye(len(labels), dtype=torch.float64)
        effects = torch.linalg.solve(labels + ridge, cross)
        explained = effects.T @ cross
        rest = features - explained - explained.T + effects.T @ labels @ effects
        covariance = (rest + rest.T) / (2 * weight)
        # Where samples of a combination are all the same, the covariance is 0.
        spherical = (covariance.diagonal().mean() + 1e-9) * torch.eye(len(covariance)).double()
        mixed = torch.lerp(covariance, spherical, SHRINKAGE)
        whiten = torch.linalg.cholesky(torch.linalg.inv(mixed))
        return cls(whiten, effects @ whiten, tuple(cardinalities))

    def read(self, features: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """How clearly all values asked for are read, and how far the samples are from their mean.

        Returns: the least of `read_each`'s log-odds, (N,); and the squared Mahalanobis distance to
            the mean of c, (N,).
        """
        odds, distance = self.read_each(features, c)
        return odds.amin(dim=1), distance

    def read_each(self, features: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """As `read`, with the log-odds of each attribute's value against all its other values,
        while the other attributes stay as asked, (N, n)."""
        index = rows_of(c, self.cardinalities)
        rest = features @ self.whiten - self.effects[index].sum(dim=1)
        along = rest @ self.effects.T
        apart = torch.cdist(self.effects, self.effects).square()
        odds = torch.empty(c.shape, dtype=torch.float64)
        for i, (start, size) in enumerate(blocks(self.cardinalities)):
            asked, all_values = index[:, i], slice(start, start + size)
            own = along.gather(1, asked[:, None])
            farther = 2 * (own - along[:, all_values]) + apart[asked, all_values]
            farther.scatter_(1, (asked - start)[:, None], math.inf)
            odds[:, i] = -(-farther / 2).logsumexp(dim=1)
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

    @classmethod
    def of(cls, features: Features, reader: Reader, odds: Tensor, distance: Tensor) -> "Member":
        """From what was read of left-out samples (`Reader.read`)."""
        if not bool((right := odds > 0).any()):
            return cls(features, reader, 0.0, math.inf, 0.0)
        clear, far = odds[right].quantile(1 - MOST), distance[right].quantile(MOST)
        return cls(features, reader, float(right.double().mean()), float(clear), float(far))

    @property
    def clearness(self) -> float:
        """Log-odds for their distance."""
        return self.clear / max(self.far, 1e-9) if self.accuracy else 0.0

    def read(self, x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """As `Reader.read`, of samples (N, *shape)."""
        return self.reader.read(self.features(pictures(x)), c)

    def recognises(self, odds: Tensor, distance: Tensor) -> Tensor:
        """Whether samples (N,), read so, show what was asked for and are within reach."""
        return (odds > 0) & (distance.sqrt() <= math.sqrt(self.far) + BEYOND)


@dataclass(frozen=True)
class Committee:
    """Readers of labels.

    Attributes:
        readers: those that read left-out combinations about as well as the best one; all, if no
            combination can be left out.
        accuracy: of the best reader on combinations that its training left out, 0 to 1: whether the
            committee can be trusted on unseen ones. None if no combination can be left out.
        recognised: share of real samples of such combinations, or of whatever it was tested on,
            that it recognises. None if there are none.
    """

    readers: tuple[Member, ...]
    accuracy: float | None
    recognised: float | None

    @property
    def members(self) -> tuple[Member, ...]:
        """The readers that can be trusted on unseen combinations."""
        return tuple(one for one in self.readers if self.accuracy and one.accuracy >= FLOOR)

    @classmethod
    def fit(
        cls,
        x: Tensor,
        c: Tensor,
        cardinalities: Sequence[int],
        generator: torch.Generator,
        *,
        tested: Tensor | None = None,
        unseen: tuple[Tensor, Tensor] | None = None,
    ) -> "Committee":
        """Train and test all readers on samples of known combinations, which count alike.

        Args:
            x: (N, *shape) on the CPU, float32. At most ROWS of them are used.
            c: (N, n) int64.
            generator: decides which combinations and samples are used.
            tested: the samples that `recognised` is about, booleans (N,); None for all. Every other
                fold leaves out their combinations first.
            unseen: samples and labels, as x and c, of other combinations to test readers on.
        """
        tested = torch.ones(len(x), dtype=torch.bool) if tested is None else tested
        if len(x) > ROWS:
            some = torch.randperm(len(x), generator=generator)[:ROWS]
            x, c, tested = x[some], c[some], tested[some]
        names, x, sizes = maps_of(x.shape[1:]), pictures(x), tuple(cardinalities)
        folds = folds_of(c, count(c[tested]), sizes, generator)
        more = [] if unseen is None or len(unseen[1]) == 0 else [unseen]
        found = []
        for name in names:
            features = Features.fit(name, x, generator)
            reader, *read = _rehearsed(features(x), c, sizes, folds)
            for y, of_y in more:
                also = reader.read(features(pictures(y)), of_y)
                read = [torch.cat(pair) for pair in zip(read, also, strict=True)]
            found.append((Member.of(features, reader, *read), read))
        best = max(member.accuracy for member, _ in found)
        found = [(member, read) for member, read in found if member.accuracy >= best - NEAR]
        made = cls(tuple(member for member, _ in found), best if folds else None, None)
        own = [tested[out] for out in folds] or [torch.zeros_like(tested)]
        about = torch.cat([*own, *(torch.ones(len(y), dtype=torch.bool) for y, _ in more)])
        judging = {one.features.name for one in made.judges}
        votes = [one.recognises(*read) for one, read in found if one.features.name in judging]
        right = _most(votes)[about]
        return replace(made, recognised=float(right.double().mean()) if len(right) else None)

    @property
    def judges(self) -> tuple[Member, ...]:
        """The readers that read left-out samples about as clearly as the clearest one. A map where
        attributes do not add up puts them far from their mean."""
        clearest = max(one.clearness for one in self.readers)
        return tuple(one for one in self.readers if one.clearness >= CLEAR * clearest)

    def recognises(self, x: Tensor, c: Tensor) -> Tensor:
        """Whether most judges read the labels c (N, n) from the samples (N, *shape), and find them
        within reach: (N,)."""
        return _most([one.recognises(*one.read(x, c)) for one in self.judges])

    def accepts(self, x: Tensor, c: Tensor) -> Tensor:
        """As `recognises`, where most judges also find the samples (N, *shape) of each label of c
        (N, n) as close to its mean as left-out samples are, at their median: (N,). Blurs may be
        within reach one by one, but then all of them are farther than most."""
        labels, which = torch.unique(c, dim=0, return_inverse=True)
        recognised, usual = [], []
        for one in self.judges:
            odds, distance = one.read(x, c)
            recognised.append(one.recognises(odds, distance))
            medians = [distance[which == k].median().sqrt() for k in range(len(labels))]
            usual.append(torch.stack(medians)[which] <= math.sqrt(one.far) + USUAL)
        return _most(recognised) & _most(usual)

    def opinions(self, x: Tensor, c: Tensor) -> Tensor:
        """As `recognises`, by each of the R readers alone, judge or not: (N, R)."""
        return torch.stack([one.recognises(*one.read(x, c)) for one in self.readers], dim=1)

    def values(self, x: Tensor, c: Tensor) -> Tensor:
        """Whether most judges read each of the values c (N, n) from the samples: (N, n)."""
        seen = pictures(x)
        return _most([one.reader.read_each(one.features(seen), c)[0] > 0 for one in self.judges])

    def passes(self, x: Tensor, c: Tensor) -> Tensor:
        """Whether every member reads c as clearly as most left-out samples that were read right,
        and most members find the samples as close to its mean as those: (N,). So some good samples
        fail, too."""
        if not self.members:
            return torch.zeros(len(x), dtype=torch.bool)
        read = [(one, *one.read(x, c)) for one in self.members]
        clear = torch.stack([odds >= one.clear for one, odds, _ in read])
        return clear.all(dim=0) & _most([distance <= one.far for one, _, distance in read])


def _most(votes: Sequence[Tensor]) -> Tensor:
    return 2 * torch.stack([*votes]).sum(dim=0) > len(votes)


def in_line(x: Tensor, c: Tensor) -> Tensor:
    """Which samples (N, *shape) are of combinations that lie where most do: booleans (N,).

    One member alone may count a combination, and its expert draw it as it likes. Scales, effects
    and covariances are of all samples: a single wild combination would blind every reader, and a
    blind judge objects to nothing.
    """
    labels, which = torch.unique(c, dim=0, return_inverse=True)
    of = [x.flatten(1)[which == k] for k in range(len(labels))]
    middle = torch.stack([own.mean(dim=0) for own in of]).median(dim=0).values
    far = torch.stack([_far(own, middle) for own in of])
    near: Tensor = far <= APART * far.median().clamp(min=1e-6)
    return near[which]


def _far(x: Tensor, middle: Tensor) -> Tensor:
    """Root mean square distance of samples (N, d) from a middle (d,)."""
    return (x - middle).double().square().mean().sqrt()


def _rehearsed(
    mapped: Tensor,
    c: Tensor,
    cardinalities: Sequence[int],
    folds: Sequence[Tensor],
) -> tuple[Reader, Tensor, Tensor]:
    """A reader of all samples, and what readers that were fitted without each fold read of it; what
    the reader itself reads of all samples where there is none."""
    codes = one_hot(c, cardinalities)
    _, which, often = torch.unique(c, dim=0, return_inverse=True, return_counts=True)
    weights = 1 / often[which].double()
    sums = Sums.of(codes, mapped, weights)
    reader = Reader.fit(sums, cardinalities)
    if not folds:
        return reader, *reader.read(mapped, c)
    read = []
    for out in folds:
        left = sums.without(Sums.of(codes[out], mapped[out], weights[out]))
        read.append(Reader.fit(left, cardinalities).read(mapped[out], c[out]))
    odds, distance = (torch.cat(part) for part in zip(*read, strict=True))
    return reader, odds, distance
