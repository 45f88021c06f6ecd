"""Distances between sets of samples, in float64 and independent of the order of rows."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dcfm_node.errors import UserError
from dcfm_node.samples import Labels

Points = NDArray[np.floating[Any]]
"""(N, d)."""

NEIGHBOURS = 3
"""Number k of nearest neighbours (Kynkäänniemi et al., 2019)."""
TRANSPORTED = 1_000
"""Largest number of points to assign: the cost grows with its third power."""
BLOCK = 1_024
"""Rows of a distance matrix in memory at a time."""


def frechet_distance(a: Points, b: Points, weights: Points | None = None) -> float:
    """Squared Wasserstein-2 distance between Gaussians fitted to features (N, d) and (M, d).

    `|m1 - m2|² + tr(S1 + S2 - 2 (S1^½ S2 S1^½)^½)` (Dowson and Landau, 1982). With Inception
    features it is the FID (Heusel et al., 2017). The product is symmetric, so no complex numbers
    occur.

    Args:
        weights: of the rows of b, (M,), above 0; default all the same.

    Raises:
        ValueError: a set has fewer than two rows or values that are not finite.
    """
    (mean_a, covariance_a), (mean_b, covariance_b) = _moments(a), _moments(b, weights)
    root = _root(covariance_a)
    shared = np.linalg.eigvalsh(root @ covariance_b @ root)
    crossed = np.sqrt(np.clip(shared, 0, None)).sum()
    shift = np.square(mean_a - mean_b).sum()
    distance = shift + np.trace(covariance_a) + np.trace(covariance_b) - 2 * crossed
    return max(float(distance), 0.0)


def joint_frechet_distance(a: Points, of_a: Labels, b: Points, of_b: Labels) -> float:
    """Fréchet distance of features and labels together (DeVries et al., 2019), so that samples of
    wrong combinations count: features (N, d) and (M, d), labels (N, n) and (M, n).

    Labels are one-hot, as long as the features of `b` on average.

    Raises:
        ValueError: as `frechet_distance`.
    """
    sizes = 1 + np.maximum(of_a.max(axis=0), of_b.max(axis=0))
    long = np.linalg.norm(b, axis=1).mean() / np.sqrt(len(sizes))

    def both(features: Points, c: Labels) -> Points:
        hot = [long * np.eye(size)[c[:, i]] for i, size in enumerate(sizes.tolist())]
        return np.concatenate([np.asarray(features, np.float64), *hot], axis=1)

    return frechet_distance(both(a, of_a), both(b, of_b))


def precision_recall(real: Points, drawn: Points, k: int = NEIGHBOURS) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al., 2019, their Eqs. 1 and 2).

    Around each real feature (N, d) lies a ball that reaches its k-th nearest real neighbour.
    Precision is the share of drawn features (M, d) inside a ball; recall swaps the two sets. Use
    sets of equal size: a larger set has smaller balls.

    Raises:
        ValueError: a set has k rows or fewer.
    """
    return _covered(real, drawn, k), _covered(drawn, real, k)


def wasserstein2(a: Points, b: Points, rng: np.random.Generator, most: int = TRANSPORTED) -> float:
    """Exact Wasserstein-2 distance between the empirical measures of (N, d) and (M, d).

    Both sets are reduced at random to the size of the smaller one, and to `most`. Between equal
    numbers of points with equal mass, the optimal transport is an assignment.

    Raises:
        UserError: SciPy is not installed.
    """
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as missing:
        raise UserError(
            "Wasserstein distances need SciPy, which is not installed",
            fix="pip install 'dcfm-node[demo]'",
        ) from missing
    size = min(len(a), len(b), most)
    a, b = (x[rng.choice(len(x), size, replace=False)] if len(x) > size else x for x in (a, b))
    cost = np.square(_distances(_double(a), _double(b)))
    return float(np.sqrt(cost[linear_sum_assignment(cost)].mean()))


def _moments(
    x: Points, weights: Points | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x = np.asarray(x, np.float64)
    if len(x) < 2 or not np.isfinite(x).all():
        raise ValueError(f"{len(x)} rows of features, or some that are not finite")
    mean = np.asarray(np.average(x, axis=0, weights=weights), np.float64)
    return mean, np.atleast_2d(np.cov(x, rowvar=False, aweights=weights))


def _root(s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Square root of a symmetric matrix (d, d) without negative eigenvalues."""
    values, vectors = np.linalg.eigh(s)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T)


def _covered(balls: Points, points: Points, k: int) -> float:
    """Share of points (M, d) inside a ball around one of (N, d) that reaches its k-th neighbour."""
    if len(balls) <= k:
        raise ValueError(f"{len(balls)} points have no {k} neighbours")
    centres = _double(balls)
    # The nearest point is the point itself.
    radii = np.concatenate([np.partition(d, k, axis=1)[:, k] for d in _rows(centres, centres)])
    inside = [(d <= radii).any(axis=1) for d in _rows(_double(points), centres)]
    return float(np.concatenate(inside).mean())


def _rows(a: torch.Tensor, b: torch.Tensor) -> Iterator[NDArray[np.float64]]:
    """The matrix of distances (N, M), BLOCK rows at a time."""
    return (_distances(a[at : at + BLOCK], b) for at in range(0, len(a), BLOCK))


def _double(x: Points) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(x, np.float64))


def _distances(a: torch.Tensor, b: torch.Tensor) -> NDArray[np.float64]:
    """(N, d), (M, d) -> (N, M). Dot products would be inexact near zero, so they are not used."""
    found = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    return np.asarray(found.numpy(), np.float64)
