"""What an experiment poses: every silo's data, the combinations nobody holds, and the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Combination = tuple[int, ...]


@dataclass(frozen=True)
class Labelled:
    """Samples with their labels: x (N, *sample_shape) float32, c (N, n) int64."""

    x: NDArray[np.float32]
    c: NDArray[np.int64]


@dataclass(frozen=True)
class Space:
    """The attribute space, and what of it nobody holds: all that a picture needs of a task."""

    attributes: tuple[tuple[str, tuple[str, ...]], ...]
    held_out: tuple[Combination, ...]


@dataclass(frozen=True)
class Task:
    """One partition of one problem, drawn with one seed.

    Attributes:
        attributes: name and value names, in order.
        silos: D_k of every silo.
        held_out: the combinations that no silo holds ("novel"); all others are "known".
        complete: training samples of every combination, for the oracle alone.
        reference: samples of every combination that nobody trains on, to measure against.
    """

    attributes: tuple[tuple[str, tuple[str, ...]], ...]
    sample_shape: tuple[int, ...]
    silos: tuple[Labelled, ...]
    held_out: tuple[Combination, ...]
    complete: Labelled
    reference: Labelled

    @property
    def space(self) -> Space:
        """Without the data."""
        return Space(self.attributes, self.held_out)

    @property
    def known(self) -> list[Combination]:
        """Combinations that at least one silo holds, sorted."""
        return sorted({tuple(c) for silo in self.silos for c in np.unique(silo.c, axis=0).tolist()})

    @property
    def pooled(self) -> Labelled:
        """All silos' data in one place, which the method exists to avoid."""
        return Labelled(
            np.concatenate([silo.x for silo in self.silos]),
            np.concatenate([silo.c for silo in self.silos]),
        )


class Judge(Protocol):
    """Measures samples of one task."""

    def measure(self, x: NDArray[np.float32], c: NDArray[np.int64]) -> Mapping[str, float]:
        """Metrics of samples x (N, *sample_shape) that were asked to show labels c (N, n).

        Returns: names such as `accuracy`, `w2`, `fid`, `precision`, `recall`; the caller asks once
            for the known and once for the novel combinations and adds `known_` or `_novel`.
        """
        ...


def queries(combinations: Sequence[Combination], each: int) -> NDArray[np.int64]:
    """Every combination `each` times, (len * each, n)."""
    return np.repeat(np.array(combinations, dtype=np.int64), each, axis=0)
