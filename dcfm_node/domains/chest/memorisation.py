"""Whether drawn radiographs are copies of training images."""

import numpy as np
import torch
from numpy.typing import NDArray

MOST = 1_000
"""Images that are compared, evenly spaced among all."""
BLOCK = 256


def memorised(
    drawn: NDArray[np.floating], held: NDArray[np.floating], trained: NDArray[np.floating]
) -> float:
    """How much nearer drawn images are to training images than real images of other patients are:
    the median distance to the nearest of them, as a ratio. Near 1 or above: no nearer than other
    patients; near 0: copies.

    Args:
        drawn, held, trained: numbers of each image, (N, d), (M, d) and (K, d).
    """
    usual = np.median(nearest(_some(held), trained))
    return float(np.median(nearest(_some(drawn), trained)) / max(float(usual), 1e-12))


def nearest(x: NDArray[np.floating], among: NDArray[np.floating]) -> NDArray[np.float32]:
    """Distance of each row (N, d) to the nearest of others (K, d), (N,); in float64, because
    products of float32 are too coarse for copies."""
    there = torch.from_numpy(np.asarray(among, np.float64))
    parts = torch.split(torch.from_numpy(np.asarray(x, np.float64)), BLOCK)
    found = torch.cat([torch.cdist(part, there).amin(dim=1) for part in parts])
    return np.asarray(found.numpy(), np.float32)


def _some(x: NDArray[np.floating]) -> NDArray[np.floating]:
    return x[np.linspace(0, len(x) - 1, min(MOST, len(x))).astype(np.int64)]
