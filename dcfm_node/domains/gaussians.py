"""Gaussian modes in any dimension, one per combination (Figures 2 and 3 of DCFM)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dcfm_node.domains.base import Domain, Evaluator, Split, SplitSpec
from dcfm_node.domains.settings import GaussiansSettings, Values
from dcfm_node.domains.space import Attributes, Holders, Panel, Points, Space
from dcfm_node.errors import UserError
from dcfm_node.records.manifest import Attribute
from dcfm_node.samples import Combination, Labels, Samples

if TYPE_CHECKING:
    from PIL.Image import Image

WITHIN = 3.0
"""A sample is right within this many sigma of its mode."""
TURNS = "one-attribute"
"""The partition for any number of silos: each sees one attribute vary, the others fixed."""
PLANE = (
    Attribute(name="horizontal", values=("left", "right")),
    Attribute(name="vertical", values=("bottom", "top")),
)


class Gaussians(Domain[GaussiansSettings]):
    """Modes in a space of any dimension."""

    each = 500
    shown = 300

    def partitions(self) -> tuple[str, ...]:
        """The partitions in the settings, or else the one for any number of silos."""
        return tuple(p.name for p in self.settings.partitions) or (TURNS,)

    def attributes(self, named: Attributes) -> Attributes:
        """Any attributes that match the modes; by default two with two values each.

        Raises:
            ValueError: modes, held-out combinations and partitions do not fit each other.
        """
        attributes = named or PLANE
        _check(self.settings, attributes)
        return attributes

    def split(self, spec: SplitSpec) -> Split:
        """Every silo draws each of its combinations equally often."""
        mixture, attributes = self.settings, self.attributes(spec.attributes)
        where = centres(mixture, attributes)
        held_out = tuple(sorted(combination(v, attributes) for v in mixture.held_out))
        held = _held(mixture, attributes, spec.partition or self.partitions()[0], spec.silos)
        known = sorted({c for silo in held for c in silo})
        rng = np.random.default_rng(spec.seed)

        def draw(held: Sequence[Combination], rows: int) -> Samples:
            c = np.array(held, dtype=np.int64)[rng.integers(len(held), size=rows)]
            return around(where, mixture.sigma, c, rng)

        return Split(
            attributes,
            next(iter(where.values())).shape,
            tuple(draw(silo, mixture.samples) for silo in held),
            held_out,
            draw(sorted({*known, *held_out}), mixture.samples * len(held)),
        )

    def evaluator(
        self, split: Split, *, folder: Path, seed: int, device: str, features: Path | None = None
    ) -> "ModesEvaluator":
        """An evaluator that compares samples with the exact Gaussians."""
        return ModesEvaluator(self.settings, split.attributes, seed)

    def draw(
        self,
        space: Space,
        panels: Sequence[Panel],
        holders: Holders,
        title: str = "",
    ) -> "Image":
        """Draw samples as points, with a ring around the mode of every combination."""
        from dcfm_node.domains import panels as drawn
        from dcfm_node.domains import pictures

        mixture = self.settings
        rings = drawn.Rings(centres(mixture, space.attributes), WITHIN * mixture.sigma)
        return pictures.draw(space, panels, holders, title, rings)


class ModesEvaluator(Evaluator):
    """Measures the share of samples near their mode, and their W2 distance from its Gaussian.

    W2 is exact between the samples and as many true draws of each combination, averaged over
    combinations.
    """

    def __init__(self, given: GaussiansSettings, attributes: Attributes, seed: int) -> None:
        self._sigma, self._seed = given.sigma, seed
        self._where = centres(given, attributes)

    def right(self, samples: Samples) -> NDArray[np.bool_]:
        """Which samples lie within three sigma of their mode, (N,)."""
        centre = np.stack([self._where[tuple(label)] for label in samples.c.tolist()])
        return np.asarray(np.linalg.norm(samples.x - centre, axis=1) <= WITHIN * self._sigma)

    def measure(self, samples: Samples) -> dict[str, float]:
        """Metrics `accuracy` (0 to 1) and `w2` (in data units)."""
        from dcfm_node.domains.distances import wasserstein2

        rng = np.random.default_rng(self._seed)
        distances = []
        for label in samples.combinations:
            found = samples.x[(samples.c == label).all(axis=1)].astype(np.float64)
            truth = self._where[label] + rng.normal(scale=self._sigma, size=found.shape)
            distances.append(wasserstein2(found, truth, rng))
        return {**super().measure(samples), "w2": float(np.mean(distances))}


def centres(given: GaussiansSettings, attributes: Attributes) -> dict[Combination, Points]:
    """Combination -> centre of its mode, (d,)."""
    return {combination(mode.values, attributes): np.array(mode.centre) for mode in given.modes}


def around(
    where: Mapping[Combination, Points], sigma: float, c: Labels, rng: np.random.Generator
) -> Samples:
    """Draw one true sample for every label of c (N, n)."""
    centre = np.stack([where[tuple(label)] for label in c.tolist()])
    return Samples((centre + rng.normal(scale=sigma, size=centre.shape)).astype(np.float32), c)


def combination(values: Values, attributes: Attributes) -> Combination:
    """Convert names of values to indices.

    Raises:
        ValueError: the number of values is wrong, or an attribute does not have a value.
    """
    if len(values) != len(attributes):
        raise ValueError(f"{list(values)} needs {len(attributes)} values, one per attribute")
    for value, attribute in zip(values, attributes, strict=True):
        if value not in attribute.values:
            raise ValueError(
                f"attribute {attribute.name!r} has no value {value!r}; "
                f"it has {', '.join(attribute.values)}"
            )
    return tuple(a.values.index(v) for v, a in zip(values, attributes, strict=True))


def _held(
    given: GaussiansSettings, attributes: Attributes, partition: str, silos: int | None
) -> list[list[Combination]]:
    """The combinations that every silo observes."""
    for own in given.partitions:
        if own.name == partition:
            if silos is not None and silos != len(own.silos):
                raise UserError(
                    f"the partition {partition!r} is for {len(own.silos)} silos, not {silos}",
                    where="domain.partitions",
                    fix="change the number of silos, or give a partition for it",
                )
            return [[combination(v, attributes) for v in silo] for silo in own.silos]
    held_out = {combination(v, attributes) for v in given.held_out}
    known = sorted(set(centres(given, attributes)) - held_out)
    first, n = known[0], len(attributes)
    return [
        [c for c in known if all(c[i] == first[i] for i in range(n) if i != (k + 1) % n)]
        for k in range(silos or n)
    ]


def _check(given: GaussiansSettings, attributes: Attributes) -> None:
    modes = [combination(mode.values, attributes) for mode in given.modes]
    if len(set(modes)) != len(modes):
        raise ValueError("domain.modes gives a combination twice")
    if len({len(mode.centre) for mode in given.modes}) != 1:
        raise ValueError("domain.modes: every centre needs the same number of coordinates")
    held_out = {combination(values, attributes) for values in given.held_out}
    for partition in given.partitions:
        held = {combination(v, attributes) for silo in partition.silos for v in silo}
        if not all(partition.silos):
            raise ValueError(f"domain.partitions: a silo of {partition.name!r} observes nothing")
        if both := held & held_out:
            raise ValueError(f"domain.partitions: {partition.name!r} observes held-out {both}")
        if missing := (held | held_out) - set(modes):
            raise ValueError(f"domain.modes has no centre for {sorted(missing)}")
    if missing := held_out - set(modes):
        raise ValueError(f"domain.modes has no centre for {sorted(missing)}")
