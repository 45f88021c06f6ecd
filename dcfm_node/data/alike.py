"""Samples that are there more than once: never on both sides of the split."""

from collections.abc import Callable

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from dcfm_node.samples import Labels, Stored

Firsts = NDArray[np.int64]
"""(N,): for each sample, the first that has the same values."""


def first_alike(x: Stored) -> Firsts:
    """For each of N samples the first that has the same values; itself, where there is none."""
    seen: dict[bytes, int] = {}
    rows = (np.ascontiguousarray(row).data.cast("B") for row in x)
    found = (seen.setdefault(blake3(row).digest(16), i) for i, row in enumerate(rows))
    return np.fromiter(found, np.int64, len(x))


def repeated(c: Labels, first: Firsts, row: Callable[[int], str]) -> str:
    """How many of N samples repeat an earlier one, in a line for the operator; empty if none.

    Args:
        c: labels (N, n).
        row: names a sample.
    """
    again = np.flatnonzero(first != np.arange(len(first)))
    if not again.size:
        return ""
    other = int((c[again] != c[first[again]]).any(axis=1).sum())
    labels = f", {other} under other labels" if other else ""
    one = int(again[0])
    return (
        f"{again.size} of {len(first)} samples repeat an earlier one{labels}; the first is"
        f" {row(one)}, which is {row(int(first[one]))} again. None is both trained on and held out"
    )
