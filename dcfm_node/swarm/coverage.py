"""Minimum compositional coverage (Eq. 2 of DCFM), from the label counts that silos publish."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Coverage:
    """What all silos together hold of the attribute space.

    Attributes:
        observed: number of combinations that occur.
        needed: number that Eq. 2 of DCFM requires: 1 + Σ_i (|C_i| - 1).
        missing_values: (attribute index, value index) that no silo holds, in order.
    """

    observed: int
    needed: int
    missing_values: tuple[tuple[int, int], ...]

    @property
    def missing_combinations(self) -> int:
        """How many more combinations Eq. 2 of DCFM requires."""
        return max(0, self.needed - self.observed)

    @property
    def sufficient(self) -> bool:
        """Whether novel combinations are identifiable."""
        return not self.missing_values and not self.missing_combinations


def coverage(counts: Mapping[tuple[int, ...], int], cardinalities: Sequence[int]) -> Coverage:
    """Coverage of the silos' counts taken together (Eq. 2 of DCFM).

    Args:
        counts: how often each combination occurs, over all silos.
        cardinalities: |C_i|, the number of values of each attribute.
    """
    seen = {label for label, count in counts.items() if count > 0}
    values = {(i, value) for label in seen for i, value in enumerate(label)}
    space = [(i, v) for i, size in enumerate(cardinalities) for v in range(size)]
    needed = min(1 + sum(size - 1 for size in cardinalities), math.prod(cardinalities))
    return Coverage(len(seen), needed, tuple(pair for pair in space if pair not in values))
