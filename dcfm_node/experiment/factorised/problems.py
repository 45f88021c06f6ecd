"""Gaussians whose means are sums of effects: one law for every combination, in closed form."""

from dataclasses import dataclass
from itertools import product
from typing import Self

import numpy as np

from dcfm_node.domains.base import queries
from dcfm_node.experiment.factorised.settings import VALUES, Sums
from dcfm_node.experiment.results import Metrics
from dcfm_node.records.manifest import Attribute
from dcfm_node.samples import Combination, Labels, Samples

GAP = 4.0
"""Least distance of two means, in deviations: the judge can tell all combinations apart."""


@dataclass(frozen=True)
class Sum:
    """x = Σ_i e_i[c_i] + σ ε for every combination c.

    Attributes:
        effects: (n, 3, d), float64.
        known: combinations with training samples; `novel` are all others.
    """

    effects: np.ndarray
    sigma: float
    known: tuple[Combination, ...]

    @classmethod
    def drawn(cls, given: Sums, sigma: float, seed: int) -> Self:
        """Random effects of length 1, and random combinations that show every value."""
        rng = np.random.default_rng(seed)
        n, space = given.attributes, list(product(range(VALUES), repeat=given.attributes))
        while True:
            effects = _shared(n, given.dims, rng) if given.dims else _planes(n, rng)
            if _least_gap(effects) > GAP * sigma:
                break
        while True:
            known = sorted(space[i] for i in rng.permutation(len(space))[: given.seen])
            if all(len(set(values)) == VALUES for values in zip(*known, strict=True)):
                return cls(effects, sigma, tuple(known))

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """With values a, b, c."""
        return tuple(Attribute(name=f"a{i}", values=tuple("abc")) for i in range(len(self.effects)))

    @property
    def novel(self) -> tuple[Combination, ...]:
        """Combinations without training samples."""
        space = product(range(VALUES), repeat=len(self.effects))
        return tuple(c for c in space if c not in set(self.known))

    def means(self, c: Labels) -> np.ndarray:
        """(N, n) -> (N, d)."""
        return np.asarray(sum(effect[c[:, i]] for i, effect in enumerate(self.effects)))

    def draw(self, c: Labels, rng: np.random.Generator) -> Samples:
        """A true sample of every label."""
        means = self.means(c)
        return Samples((means + rng.normal(scale=self.sigma, size=means.shape)).astype("f4"), c)

    def measure(self, samples: Samples) -> Metrics:
        """What the exact laws say of samples of some combinations, as many of each.

        `accuracy` is the share whose likeliest combination, of all, is the one that was asked for.
        `w2` is that of a Gaussian with the samples' mean and covariance from the true one
        N(μ, σ² I): root of |m - μ|² + Σ_j (s_j - σ)², s_j² the eigenvalues of the covariance; the
        root of its mean square over combinations. `mean_error` is the first part of it alone.
        """
        space = np.array(list(product(range(VALUES), repeat=len(self.effects))))
        x = samples.x.astype(np.float64)
        apart = np.linalg.norm(x[:, None] - self.means(space), axis=2)
        right = (space[apart.argmin(axis=1)] == samples.c).all(axis=1)
        moved, spread = [], []
        for c in samples.combinations:
            mine = x[(samples.c == c).all(axis=1)]
            moved.append(np.square(mine.mean(axis=0) - self.means(np.array([c]))[0]).sum())
            own = np.linalg.eigvalsh(np.cov(mine, rowvar=False)).clip(min=0)
            spread.append(np.square(np.sqrt(own) - self.sigma).sum())
        return {
            "accuracy": float(right.mean()),
            "w2": float(np.sqrt(np.mean(moved) + np.mean(spread))),
            "mean_error": float(np.sqrt(np.mean(moved))),
        }

    def asked(self, each: int) -> dict[str, Labels]:
        """Labels of known and of novel combinations, `each` times."""
        return {"known": queries(self.known, each), "novel": queries(self.novel, each)}


def _planes(n: int, rng: np.random.Generator) -> np.ndarray:
    """A triangle in a plane of its own for each attribute, all rotated together."""
    effects = np.zeros((n, VALUES, 2 * n))
    for i, first in enumerate(rng.uniform(0, 2 * np.pi, n)):
        angles = first + 2 * np.pi * np.arange(VALUES) / VALUES
        effects[i, :, 2 * i : 2 * i + 2] = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    turned, _ = np.linalg.qr(rng.normal(size=(2 * n, 2 * n)))
    return np.asarray(effects @ turned)


def _shared(n: int, dims: int, rng: np.random.Generator) -> np.ndarray:
    """Directions in one space."""
    effects = rng.normal(size=(n, VALUES, dims))
    return np.asarray(effects / np.linalg.norm(effects, axis=2, keepdims=True))


def _least_gap(effects: np.ndarray) -> float:
    """Of two combinations' means."""
    space = product(*effects)
    means = np.array([np.sum(parts, axis=0) for parts in space])
    apart = np.linalg.norm(means[:, None] - means, axis=2)
    return float(apart[~np.eye(len(means), dtype=bool)].min())
