"""Gaussian modes in any dimension, one per combination (Figures 2 and 3), and their judge."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dcfm_node.experiment.metrics import wasserstein2
from dcfm_node.experiment.settings import Posed, combination
from dcfm_node.experiment.task import Combination, Labelled, Task

WITHIN = 3.0
"""A sample is right within so many sigma of its mode."""


def centres(posed: Posed) -> dict[Combination, NDArray[np.float64]]:
    """Where the mode of each combination lies, (d,)."""
    return {
        combination(mode.values, posed.attributes): np.array(mode.centre)
        for mode in posed.geometry.modes
    }


def pose(posed: Posed, each: int, seed: int) -> Task:
    """The task of one partition: every silo draws its combinations equally often.

    Args:
        each: reference samples per combination.
    """
    given = posed.geometry
    rng = np.random.default_rng(seed)
    where = centres(posed)

    def draw(held: list[Combination], rows: int) -> Labelled:
        c = np.array(held, dtype=np.int64)[rng.integers(len(held), size=rows)]
        centre = np.stack([where[tuple(label)] for label in c.tolist()])
        x = centre + rng.normal(scale=given.sigma, size=centre.shape)
        return Labelled(x.astype(np.float32), c)

    held = [[combination(v, posed.attributes) for v in silo] for silo in posed.silos]
    known = sorted({c for silo in held for c in silo})
    held_out = tuple(sorted(combination(v, posed.attributes) for v in given.held_out))
    everything = sorted({*known, *held_out})
    return Task(
        attributes=tuple((a.name, a.values) for a in posed.attributes),
        sample_shape=next(iter(where.values())).shape,
        silos=tuple(draw(silo, given.samples) for silo in held),
        held_out=held_out,
        complete=draw(everything, given.samples * len(held)),
        reference=draw(everything, each * len(everything)),
    )


class ModesJudge:
    """Share of samples within three sigma of the asked mode, and W2 from its Gaussian.

    W2 is exact between the samples and as many true draws, per combination, and averaged.
    """

    def __init__(self, posed: Posed, seed: int) -> None:
        self._sigma, self._where, self._seed = posed.geometry.sigma, centres(posed), seed

    def measure(self, x: NDArray[np.float32], c: NDArray[np.int64]) -> Mapping[str, float]:
        """`accuracy` and `w2`; x (N, d), c (N, n)."""
        rng = np.random.default_rng(self._seed)
        right = self.right(x, c)
        distances = []
        for label in np.unique(c, axis=0):
            found = x[(c == label).all(axis=1)].astype(np.float64)
            truth = self._where[tuple(label.tolist())] + rng.normal(
                scale=self._sigma, size=found.shape
            )
            distances.append(wasserstein2(found, truth, rng))
        return {"accuracy": float(right.mean()), "w2": float(np.mean(distances))}

    def right(self, x: NDArray[np.float32], c: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which samples lie within three sigma of the asked mode, (N,)."""
        centre = np.stack([self._where[tuple(label)] for label in c.tolist()])
        return np.asarray(np.linalg.norm(x - centre, axis=1) <= WITHIN * self._sigma)
