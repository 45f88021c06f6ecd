"""Vectors: readings of instruments, with all that is awkward about them."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from dcfm_node.experiment.strangers.problem import (
    Array,
    Held,
    Problem,
    attributes,
    combinations,
    deal,
    readable,
)
from dcfm_node.records.manifest import Attribute
from dcfm_node.samples import Combination, Labels

Means = NDArray[np.float64]
"""The mean of every combination, (number of combinations, features)."""
GAP = 7.0
"""Least distance of two means, in deviations of the noise: a judge is then wrong in .0003."""
FAR = 6.0
"""A sample shows nothing if it is this many deviations farther from every mean than real ones."""


def units(rng: np.random.Generator) -> Problem:
    """Eight readings in physical units, one of them skewed; the load moves five, the site three."""
    loads, sites = (4, 3)

    def effects() -> Means:
        by_load, by_site = rng.normal(0, 1.2, (loads, 5)), rng.normal(0, 1.2, (sites, 3))
        return np.array([[*by_load[a], *by_site[b]] for a, b in combinations((loads, sites))])

    # K, rpm, V, A, mm/s of vibration, hPa, % humidity, micrograms of dust
    offset = np.array([350.0, 1480.0, 231.0, 4.2, 2.5, 1009.0, 48.0, 3.0])
    scale = np.array([15.0, 120.0, 2.5, 0.6, 0.4, 7.0, 9.0, 0.5])
    skewed = np.arange(8) == 7
    said = attributes(load="idle low rated peak", site="harbour plain summit")
    return modes(
        said,
        deal((loads, sites), 9, 3, rng, least=80),
        separated(effects, 0.2),
        noise=0.2,
        into=lambda z: np.where(skewed, np.exp(offset * skewed + scale * z), offset + scale * z),
        back=lambda x: (np.where(skewed, np.log(np.maximum(x, 1e-9)), x) - offset) / scale,
    )


def three_attributes(rng: np.random.Generator) -> Problem:
    """Ten mixed readings of a machine: every attribute moves every reading."""
    sizes = (2, 3, 3)
    said = attributes(mode="cut drill", tool="steel carbide diamond", feed="slow usual fast")
    means = separated(lambda: _additive(sizes, 10, 0.7, rng), 0.25)
    return modes(said, deal(sizes, 11, 4, rng), means, noise=0.25)


def products(rng: np.random.Generator) -> Problem:
    """Six concentrations; both attributes multiply each of them."""
    return modes(
        attributes(feed="grass hay silage grain", drug="none low high"),
        deal((4, 3), 9, 3, rng),
        separated(lambda: _additive((4, 3), 6, 0.6, rng), 0.15),
        noise=0.15,
        into=lambda z: 20 * np.exp(z),
        back=lambda x: np.log(np.maximum(x, 1e-9) / 20),
    )


def unequal_counts(rng: np.random.Generator) -> Problem:
    """Five values; one silo has 400 samples, one 150, one 25."""
    (first, second, third) = deal((3, 3), 7, 3, rng)
    shares = ((first, 400), (second, 150), (third, 25))
    silos = tuple(
        {c: samples // len(held) + (place < samples % len(held)) for place, c in enumerate(held)}
        for held, samples in shares
    )
    said = attributes(assay="a b c", ward="north east south")
    means = separated(lambda: _additive((3, 3), 5, 1.0, rng), 0.2)
    return modes(said, silos, means, noise=0.2)


def tiny_feature(rng: np.random.Generator) -> Problem:
    """Six values; one is a thousand times smaller and alone tells two grades apart."""
    grades, ovens = (4, 3)

    def effects() -> Means:
        by_grade, by_oven = rng.normal(0, 1, (grades, 3)), rng.normal(0, 1, (ovens, 3))
        by_grade[3] = by_grade[2]
        traces = rng.permutation([-1.0, -0.3, -1.2, 1.2])  # the last two grades differ in this
        traces[[2, 3]] = [-1.2, 1.2]
        rows = [(*by_grade[a], *by_oven[b], traces[a]) for a, b in combinations((grades, ovens))]
        return np.array(rows)

    scale = np.array([1.0] * 6 + [0.001])
    said = attributes(grade="coarse medium fine pure", oven="one two three")
    return modes(
        said,
        deal((grades, ovens), 9, 3, rng),
        separated(effects, 0.2),
        noise=0.2,
        into=lambda z: z * scale,
        back=lambda x: x / scale,
    )


def confounded(rng: np.random.Generator) -> Problem:
    """Six values; in every silo both attributes move together, each silo in another way."""
    size = 4
    rows, columns = rng.permutation(size), rng.permutation(size)

    def together(shift: int, count: int) -> Held:
        pairs = [(int(rows[i]), int(columns[(i + shift) % size])) for i in range(count)]
        return {pair: int(rng.integers(60, 121)) for pair in pairs}

    said = attributes(diet="rice oats maize beans", breed="red blue white black")
    means = separated(lambda: _additive((size, size), 6, 0.9, rng), 0.2)
    silos = (together(0, size), together(1, size), together(2, 2))
    return modes(said, silos, means, noise=0.2)


def no_room(rng: np.random.Generator) -> Problem:
    """Four values; as few known combinations as Eq. 2 allows, so that none can be a probe."""
    said = attributes(soil="clay loam sand", crop="wheat barley rye")
    means = separated(lambda: _additive((3, 3), 4, 1.0, rng), 0.2)
    return modes(said, deal((3, 3), 5, 2, rng, least=100), means, noise=0.2)


def _additive(
    sizes: Sequence[int], features: int, spread: float, rng: np.random.Generator
) -> Means:
    """Means that are sums of an effect of every value on every feature."""
    effects = [rng.normal(0, spread, (size, features)) for size in sizes]
    return np.array(
        [sum(of[value] for of, value in zip(effects, c, strict=True)) for c in combinations(sizes)]
    )


def separated(effects: Callable[[], Means], noise: float) -> Means:
    """The first means that are far enough apart to be told from each other."""
    while True:
        means = effects()
        gaps = np.linalg.norm(means[:, None] - means, axis=-1) + np.eye(len(means)) * 1e9
        if gaps.min() > GAP * noise:
            return means


def _same(x: Array) -> Array:
    return x


def modes(
    said: tuple[Attribute, ...],
    silos: tuple[Held, ...],
    means: Means,
    *,
    noise: float,
    into: Callable[[Array], Array] = _same,
    back: Callable[[Array], Array] = _same,
) -> Problem:
    """Normal noise around every mean. The judge finds the nearest mean, if it is near.

    Args:
        into: from the scale of the means to the user's units.
        back: the inverse.
    """
    sizes = tuple(len(attribute.values) for attribute in said)

    def draw(c: Combination, count: int, rng: np.random.Generator) -> Array:
        mean = means[np.ravel_multi_index(c, sizes)]
        return into(mean + noise * rng.standard_normal((count, len(mean))))

    def judge(x: Array) -> Labels:
        far = np.square(back(x.astype(np.float64))[:, None] - means).sum(axis=-1)
        clear = far.min(axis=1) < (noise * (means.shape[1] ** 0.5 + FAR)) ** 2
        return readable(np.stack(np.unravel_index(far.argmin(axis=1), sizes), axis=1), clear)

    return Problem((means.shape[1],), said, silos, draw, judge)
