"""Features of vectors that look wrong: constant, tiny, or with samples far from all others."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from dcfm_node.samples import Floats

TINY = 0.01
"""Networks hardly learn a feature with a deviation below this share of the largest, as it is."""
CONSTANT = 1e-6
"""A deviation below this share of the mean is rounding of float32."""
FAR = 50.0
"""A sample this many deviations from the middle of its feature is likely a mistake."""
LOW, HIGH = 0.1, 0.9
NORMAL = 2.563
"""Between these quantiles a normal feature has this many standard deviations."""
LOOKED_AT = 10_000
"""Most samples that quantiles are taken of."""
MAX_TOLD = 8


def odd_features(
    x: Floats, standardised: bool, names: Sequence[str] = ()
) -> Iterator[tuple[str, str]]:
    """What is odd about single features of samples (N, features), and what to do.

    Args:
        standardised: whether the run takes every feature to unit scale.
        names: of the features, if they have names.
    """
    mean, deviation = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
    constant = deviation <= CONSTANT * np.abs(mean)
    if constant.any():
        what = f"{_named(constant, names)} {_have(constant)} the same value in all samples"
        yield what, "check the file; if that is right, nothing needs to be done"
    tiny = ~constant & (deviation < TINY * deviation.max())
    if tiny.any() and not standardised:
        verb = "vary" if tiny.sum() > 1 else "varies"
        what = f"{_named(tiny, names)} {verb} by less than {TINY:g} of the most varying one"
        yield what, 'set standardise = "feature" in run.toml, or scale them at every site alike'
    yield from _outlying(x, names)


def _outlying(x: Floats, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    some = x[:: max(1, len(x) // LOOKED_AT)]
    low, middle, high = np.quantile(some, (LOW, 0.5, HIGH), axis=0)
    spread = (high - low) / NORMAL
    below, above = middle - x.min(0), x.max(0) - middle
    far = (spread > 0.0) & (np.maximum(below, above) > FAR * spread)
    for index in np.flatnonzero(far)[:MAX_TOLD].tolist():
        column = x[:, index]
        count = int((np.abs(column - middle[index]) > FAR * spread[index]).sum())
        worst = column.min() if below[index] > above[index] else column.max()
        yield (
            f"feature {name_of(index, names)} of {count} samples is far from all others: up to"
            f" {worst:.4g}, where most are from {low[index]:.4g} to {high[index]:.4g}",
            "repair or remove these samples; they may mark missing values",
        )


def name_of(index: int, names: Sequence[str]) -> str:
    """A feature by its name, or by its index, from 0."""
    return repr(names[index]) if names else str(index)


def _named(which: NDArray[np.bool_], known: Sequence[str]) -> str:
    found = np.flatnonzero(which).tolist()
    more = f" and {len(found) - MAX_TOLD} more" if len(found) > MAX_TOLD else ""
    names = ", ".join(name_of(index, known) for index in found[:MAX_TOLD])
    return f"{'features' if len(found) > 1 else 'feature'} {names}{more}"


def _have(which: NDArray[np.bool_]) -> str:
    return "have" if which.sum() > 1 else "has"
