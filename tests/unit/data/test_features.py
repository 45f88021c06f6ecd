"""Warnings of single features, by name."""

import numpy as np
import pytest

from dcfm_node.data.features import odd_features
from dcfm_node.samples import Floats


def usual(rows: int = 400, features: int = 4) -> Floats:
    return np.random.default_rng(0).normal(size=(rows, features)).astype(np.float32)


def told(x: Floats, standardised: bool = True) -> list[str]:
    return [what for what, _ in odd_features(x, standardised)]


def test_usual_features_are_not_odd() -> None:
    assert told(usual()) == [] == told(usual(), standardised=False)
    heavy = np.exp(usual())
    assert told(heavy.astype(np.float32)) == []


def test_a_constant_feature_is_named() -> None:
    x = usual()
    x[:, 2] = 1013.0
    assert told(x) == ["feature 2 has the same value in all samples"]
    x[:, 3] = 0.0
    assert told(x) == ["features 2, 3 have the same value in all samples"]


def test_a_tiny_feature_is_named_where_nobody_standardises() -> None:
    x = usual() * np.array([1.0, 1e-3, 1.0, 1.0], np.float32)
    assert told(x) == []
    assert told(x, standardised=False) == [
        "feature 1 varies by less than 0.01 of the most varying one"
    ]


@pytest.mark.parametrize("mark", [-9_999.0, 999.0])
@pytest.mark.parametrize("count", [1, 30])
def test_values_that_mark_missing_ones_are_named(mark: float, count: int) -> None:
    x = usual()
    x[:count, 1] = mark
    (what,) = told(x)
    assert what.startswith(f"feature 1 of {count} samples is far from all others: up to {mark:.4g}")


def test_a_feature_that_is_mostly_zero_is_not_odd() -> None:
    x = usual()
    x[:380, 0] = 0.0
    assert told(x) == []


def test_many_features_are_told_in_few_words() -> None:
    x = np.zeros((40, 300), np.float32)
    x[:, 0] = usual(40, 1)[:, 0]
    (what,) = told(x)
    assert what.startswith("features 1, 2, 3, 4, 5, 6, 7, 8 and 291 more have the same value")
