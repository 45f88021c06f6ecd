"""Compositional recall of a classifier on real test images (Eq. 18 of DCFM), by patient."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dcfm_node.domains.chest import table
from dcfm_node.samples import Labels

FEWEST = 20
"""Combinations with fewer test images are pooled with others of as many findings."""
DRAWS = 1_000
"""Bootstrap draws of patients."""


@dataclass(frozen=True)
class Group:
    """Test images whose recall is one summand of the mean: of a combination, or pooled ones."""

    name: str
    rows: NDArray[np.bool_]
    findings: int


@dataclass(frozen=True)
class Interval:
    """A mean, with the 2.5 and 97.5 percentiles over bootstrap draws of patients."""

    mean: float
    low: float
    high: float


def groups(c: Labels) -> tuple[Group, ...]:
    """The groups of test images with labels (M, n); those without a finding are in none."""
    combinations, kind, counts = np.unique(c, axis=0, return_inverse=True, return_counts=True)
    found, pooled = [], np.zeros(len(c), np.bool_)
    for place, combination in enumerate(combinations.tolist()):
        rows = kind == place
        if sum(combination) and counts[place] >= FEWEST:
            found.append(Group(table.named(tuple(combination)), rows, sum(combination)))
        elif sum(combination):
            pooled |= rows
    present = c.sum(axis=1)
    for many in sorted(set(present[pooled].tolist())):
        name = f"rarer combinations of {many} finding{'s' * (many > 1)}"
        found.append(Group(name, pooled & (present == many), many))
    return tuple(found)


def recalled(found: NDArray[np.bool_], c: Labels) -> NDArray[np.bool_]:
    """In which images (M,) all present findings are found; others may be found as well."""
    return np.asarray((found | (c == 0)).all(axis=1))


def mean_recall(
    right: NDArray[np.bool_], of: Sequence[Group], patients: Labels, seed: int
) -> Interval:
    """The mean over groups of the share of right images (M,), with its interval."""
    _, who = np.unique(patients, return_inverse=True)
    per_patient = _sums(who, [group.rows for group in of])
    hits = _sums(who, [group.rows & right for group in of])
    rng, many = np.random.default_rng(seed), len(per_patient)
    times = rng.multinomial(many, np.full(many, 1 / many), size=DRAWS)
    drawn = [_mean(times @ hits, times @ per_patient), _mean(hits.sum(0), per_patient.sum(0))]
    low, high = np.percentile(drawn[0], (2.5, 97.5)).tolist()
    return Interval(float(drawn[1]), low, high)


def _sums(who: Labels, rows: Sequence[NDArray[np.bool_]]) -> NDArray[np.float64]:
    """How many of the rows each patient has, (patients, groups)."""
    return np.stack([np.bincount(who, mine, int(who.max()) + 1) for mine in rows], axis=1)


def _mean(hits: NDArray[np.float64], of: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of shares over groups (last axis) that have an image; 0 where none has."""
    shares = hits / np.maximum(of, 1)
    return np.asarray(shares.sum(axis=-1) / np.maximum((of > 0).sum(axis=-1), 1))
