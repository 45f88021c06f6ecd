"""Measures drawn samples against the truth: are they right, alike to real ones, and as varied."""

import numpy as np

from dcfm_node.experiment.results import Metrics
from dcfm_node.experiment.strangers.problem import Array, Problem
from dcfm_node.samples import Samples

REAL = 100
"""Real samples of every combination to compare with."""
FAINT = 0.05
"""Least deviation of a pixel, over the largest: pixels that are rarely lit must not decide."""


def measure(problem: Problem, drawn: Samples) -> Metrics:
    """Metrics of samples, means over the combinations that were asked for.

    Returns: `accuracy`, the share that shows every value of its label; `worst_accuracy`, the same
        of the worst combination; `distance`, the energy distance from real samples in units of
        their own spread (0: none; Székely and Rizzo, 2013); `variety`, their spread over that of
        real samples (1: as varied). Features are scaled by the deviation of real samples.
    """
    asked = drawn.combinations
    real = problem.real(asked, REAL)
    right = (problem.judge(drawn.x) == drawn.c).all(axis=1)
    all_x, all_y = (part.x.reshape(len(part), -1).astype(np.float64) for part in (drawn, real))
    scale = all_y.std(axis=0) + 1e-12
    if len(problem.sample_shape) == 3:
        scale = np.maximum(scale, FAINT * scale.max())
    shares, distances, varieties = [], [], []
    for c in asked:
        mine, theirs = ((part.c == c).all(axis=1) for part in (drawn, real))
        x, y = all_x[mine] / scale, all_y[theirs] / scale
        spread, own = _within(y), _within(x)
        shares.append(right[mine].mean())
        distances.append((2 * _apart(x, y).mean() - own - spread) / spread)
        varieties.append(own / spread)
    return {
        "accuracy": float(np.mean(shares)),
        "worst_accuracy": float(np.min(shares)),
        "distance": float(np.mean(distances)),
        "variety": float(np.mean(varieties)),
    }


def _within(x: Array) -> float:
    """Mean distance of two different rows."""
    return float(_apart(x, x).sum() / (len(x) * (len(x) - 1)))


def _apart(x: Array, y: Array) -> Array:
    return np.asarray(np.linalg.norm(x[:, None] - y, axis=-1))
