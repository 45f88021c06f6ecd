"""Equal samples, which must not be on both sides of the split."""

from collections.abc import Callable

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from dcfm_node.samples import Labels, Stored

Firsts = NDArray[np.int64]
"""(N,): for each sample, the index of the first sample with the same values."""


def first_alike(x: Stored) -> Firsts:
    """For each of N samples, the index of the first with the same values; its own if unique."""
    seen: dict[bytes, int] = {}
    rows = (np.ascontiguousarray(row).data.cast("B") for row in x)
    found = (seen.setdefault(blake3(row).digest(16), i) for i, row in enumerate(rows))
    return np.fromiter(found, np.int64, len(x))


def repeated(c: Labels, first: Firsts, row: Callable[[int], str]) -> str:
    """A line for the operator about samples that repeat an earlier one; empty if none does.

    Args:
        c: labels (N, n).
        row: index of a sample -> its name.
    """
    again = np.flatnonzero(first != np.arange(len(first)))
    if not again.size:
        return ""
    other = int((c[again] != c[first[again]]).any(axis=1).sum())
    labels = f", {other} with other labels" if other else ""
    one = int(again[0])
    return (
        f"{again.size} of {len(first)} samples repeat an earlier one{labels}; the first is"
        f" {row(one)}, which equals {row(int(first[one]))}. Equal samples stay on one side"
    )
