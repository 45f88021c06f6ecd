"""What a stranger brings: silos with labelled samples, and a judge that reads any sample.

numpy only.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dcfm_node.records.manifest import Attribute
from dcfm_node.samples import Combination, Labels, Samples, joined

Array = NDArray[Any]
"""Real numbers of any precision."""
Held = Mapping[Combination, int]
"""Combination -> how many samples of it a silo holds."""
Draw = Callable[[Combination, int, np.random.Generator], Array]
"""Draws real samples (count, *sample_shape) of a combination, known or novel."""
Judge = Callable[[Array], Labels]
"""The values (N, n) that samples (N, *sample_shape) show; `UNREADABLE` where they show nothing."""
UNREADABLE = -1
REAL = 1_000_003
"""Sets the random source of real samples for evaluation apart from those of the silos."""


@dataclass(frozen=True)
class Problem:
    """One problem, drawn with one seed. Samples are as a user has them: pictures in [-1, 1], other
    data in its own units.

    Attributes:
        silos: what each silo holds; all other combinations are novel.
        draw: draws real samples of any combination.
        judge: reads samples. It is right on at least .99 of real ones.
    """

    sample_shape: tuple[int, ...]
    attributes: tuple[Attribute, ...]
    silos: tuple[Held, ...]
    draw: Draw
    judge: Judge
    name: str = ""
    seed: int = 0

    @property
    def sizes(self) -> tuple[int, ...]:
        """|C_i|, the number of values of each attribute."""
        return tuple(len(attribute.values) for attribute in self.attributes)

    @property
    def known(self) -> list[Combination]:
        """The combinations that some silo holds, sorted."""
        return sorted({c for held in self.silos for c in held})

    @property
    def novel(self) -> list[Combination]:
        """The combinations that no silo holds, sorted."""
        return sorted(set(combinations(self.sizes)) - set(self.known))

    def silo(self, k: int) -> Samples:
        """The private data of silo k."""
        rng = np.random.default_rng([self.seed, k])
        return joined([self._drawn(c, count, rng) for c, count in sorted(self.silos[k].items())])

    def real(self, asked: Sequence[Combination], each: int) -> Samples:
        """Real samples that no silo holds, `each` of every combination that is asked for."""
        rng = np.random.default_rng([self.seed, REAL])
        return joined([self._drawn(c, each, rng) for c in asked])

    def _drawn(self, c: Combination, count: int, rng: np.random.Generator) -> Samples:
        x = self.draw(c, count, rng).astype(np.float32)
        return Samples(x, np.tile(np.array(c, np.int64), (count, 1)))


def readable(values: Labels, clear: NDArray[np.bool_]) -> Labels:
    """The values (N, n) of clear samples, and `UNREADABLE` for the others."""
    return np.where(clear[:, None], values, UNREADABLE)


def attributes(**values: str) -> tuple[Attribute, ...]:
    """Attributes by name; their values are words in one text."""
    return tuple(Attribute(name=n, values=tuple(said.split())) for n, said in values.items())


def combinations(sizes: Sequence[int]) -> list[Combination]:
    """The whole attribute space, sorted."""
    return list(product(*map(range, sizes)))


def needed(sizes: Sequence[int]) -> int:
    """How many combinations Eq. 2 of DCFM requires."""
    return 1 + sum(size - 1 for size in sizes)


def spans(held: Sequence[Combination], sizes: Sequence[int]) -> bool:
    """Whether the combinations determine all others (Eq. 2 of DCFM holds, and the seen
    combinations span the space): every effect of a value can be told from theirs.

    As many of them as exceed Eq. 2 can then be withheld as probes, one after the other.
    """
    c = np.array(held)
    parts = [np.eye(size)[c[:, i]] for i, size in enumerate(sizes)]
    return bool(np.linalg.matrix_rank(np.concatenate(parts, axis=1)) == needed(sizes))


def deal(
    sizes: Sequence[int], known: int, silos: int, rng: np.random.Generator, least: int = 60
) -> tuple[Held, ...]:
    """A random choice of known combinations that span the space, shared among silos.

    A silo may also hold a combination of the silo before it. Silos have `least` to twice as many
    samples of each of their combinations.
    """
    space = combinations(sizes)
    while True:
        chosen = [space[i] for i in rng.permutation(len(space))[:known]]
        if spans(chosen, sizes):
            break
    parts = [[chosen[i] for i in part] for part in np.array_split(np.arange(known), silos)]
    shared = [parts[k - 1][:1] if k and rng.random() < 0.5 else [] for k in range(silos)]
    return tuple(
        {c: int(rng.integers(least, 2 * least + 1)) for c in [*own, *more]}
        for own, more in zip(parts, shared, strict=True)
    )
