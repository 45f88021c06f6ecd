"""Averages of experts' weights (McMahan et al., 2017)."""

from collections.abc import Sequence

import torch

from dcfm_node.flow.networks import Weights
from dcfm_node.flow.sampling import Teacher


def average(weights: Sequence[Weights], sizes: Sequence[int]) -> Weights:
    """Σ_k (n_k/N) θ_k, summed in float64 in the order given.

    Raises:
        ValueError: all sizes are 0, or the two sequences differ in length.
    """
    total = sum(sizes)
    if total <= 0:
        raise ValueError("all silos hold 0 samples, so the average has no weights")
    return {
        name: sum(
            (one[name].double() * (size / total) for one, size in zip(weights, sizes, strict=True)),
            start=torch.zeros((), dtype=torch.float64),
        )
        .to(tensor.dtype)
        .contiguous()
        for name, tensor in weights[0].items()
    }


def merge(teachers: Sequence[Teacher]) -> Weights:
    """The average of published experts, weighted by their silos' sample counts."""
    sizes = [sum(teacher.counts.values()) for teacher in teachers]
    return average([teacher.weights for teacher in teachers], sizes)
