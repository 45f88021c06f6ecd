"""How far a counted share is from the true one. Pure."""

import math

import numpy as np
from numpy.typing import NDArray


def rate(right: NDArray[np.bool_]) -> tuple[float, float]:
    """The share of right samples (0 to 1) and its standard error."""
    share = float(right.mean())
    return share, float(np.sqrt(share * (1 - share) / len(right)))


def wilson(right: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share of which `right` of `of` cases were counted, 0 to 1 (Wilson,
    1927). Without cases, anything is possible."""
    if not of:
        return 0.0, 1.0
    z2 = 1.959964**2
    middle = (right + z2 / 2) / (of + z2)
    half = math.sqrt(z2 * (right * (of - right) / of + z2 / 4)) / (of + z2)
    return max(0.0, middle - half), min(1.0, middle + half)
