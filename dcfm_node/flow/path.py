"""The linear (CondOT) path from noise to data, and how errors along it are weighed."""

import torch
from torch import Tensor

MIN_REMAINING = 0.05
"""Floor of 1 - t where a predicted sample is turned into a velocity."""
MIN_WEIGHED = 0.2
"""Floor of 1 - t in the weight of a predicted sample's error: at most 1 / 0.2²."""


def spread(t: Tensor, like: Tensor) -> Tensor:
    """Times (B,) shaped to broadcast over samples (B, *sample_shape)."""
    return t.reshape(t.shape + (1,) * (like.ndim - t.ndim))


def interpolate(x0: Tensor, x1: Tensor, t: Tensor) -> Tensor:
    """x_t = (1 - t) x_0 + t x_1. Shapes: (B, *sample_shape) twice and (B,)."""
    return torch.lerp(x0, x1, spread(t, x0))


def to_velocity(sample: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """Velocity that carries x to the predicted clean sample: (x̂_1 - x) / max(1 - t, 0.05)."""
    return (sample - x) / spread((1 - t).clamp(min=MIN_REMAINING), x)


def error_weight(t: Tensor, predict: str) -> Tensor:
    """Weight (B,) of a squared velocity error at time t.

    Predicting the sample, an error in x̂_1 counts 1/(1 - t)² as often in velocity; that weight is
    capped at 1/0.2², or the last moments of the path drown the rest.
    """
    if predict == "velocity":
        return torch.ones_like(t)
    return ((1 - t).clamp(min=MIN_REMAINING) / (1 - t).clamp(min=MIN_WEIGHED)).square()
