"""How far samples are from the unit scale that networks need."""

import math
from collections.abc import Sequence

import numpy as np

from dcfm_node.data.features import name_of
from dcfm_node.records.moments import MAX_GROUPS
from dcfm_node.samples import Stored, unit

SMALL, LARGE = 0.01, 10.0
"""Outside these standard deviations, or above this mean, the operator gets a warning."""
PART = 1 << 20


def odd_scale(x: Stored, names: Sequence[str] = ()) -> str:
    """What is odd about the scale of samples (N, …), and what to do; empty if near unit scale.

    Features of vectors may have different units, so each is looked at alone.

    Args:
        names: of the features of vectors, if they have names.
    """
    if x.ndim == 2 and x.dtype != np.uint8 and x.shape[1] <= MAX_GROUPS:
        return _odd_vectors(x, names)
    mean, deviation = _moments(x)
    if SMALL <= deviation <= LARGE and abs(mean) <= LARGE:
        return ""
    low, high = float(unit(x.min())), float(unit(x.max()))
    pixels = x.ndim > 2 and low >= 0.0 and 1.0 < high <= 255.0
    way = "store pixels as uint8, or as x / 127.5 - 1" if pixels else "take (x - mean) / deviation"
    return _said("values", x, (mean, deviation), way)


def _odd_vectors(x: Stored, names: Sequence[str]) -> str:
    moments = [_moments(x[:, i]) for i in range(x.shape[1])]
    odd = [i for i, (mean, dev) in enumerate(moments) if dev > LARGE or abs(mean) > LARGE]
    if not odd and max(deviation for _, deviation in moments) < SMALL:
        odd = list(range(len(moments)))
    if not odd:
        return ""
    first, more = odd[0], len(odd) - 1
    others = f" (so {more} more)" if more else ""
    way = "take (x - mean) / deviation of each feature"
    what = f"values of feature {name_of(first, names)}{others}"
    return _said(what, x[:, first], moments[first], way)


def _moments(x: Stored) -> tuple[float, float]:
    """Mean and standard deviation."""
    parts = np.array_split(x.ravel(), max(1, x.size // PART))  # in float64 all would be large
    mean = sum(float(unit(part).sum(dtype=np.float64)) for part in parts) / x.size
    squares = (float(np.square(unit(part) - mean, dtype=np.float64).sum()) for part in parts)
    return mean, math.sqrt(sum(squares) / x.size)


def _said(what: str, x: Stored, moments: tuple[float, float], way: str) -> str:
    low, high = float(unit(x.min())), float(unit(x.max()))
    mean, deviation = moments
    return (
        f"{what} from {low:.4g} to {high:.4g} have mean {mean:.4g} and standard deviation"
        f" {deviation:.4g}, but networks need about unit scale; {way}, with the same"
        " numbers at every site"
    )
