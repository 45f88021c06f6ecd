"""Distances between sets, against closed forms and cases done by hand."""

import sys

import numpy as np
import pytest

from dcfm_node.domains.distances import (
    frechet_distance,
    joint_frechet_distance,
    precision_recall,
    wasserstein2,
)
from dcfm_node.errors import UserError

SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def with_moments(rng, mean, covariance, rows=200):
    """Points whose sample mean and covariance are exactly these."""
    x = rng.normal(size=(rows, len(mean)))
    x = (x - x.mean(axis=0)) @ np.linalg.inv(
        np.linalg.cholesky(np.atleast_2d(np.cov(x, rowvar=False)))
    ).T
    return x @ np.linalg.cholesky(np.array(covariance)).T + mean


def test_frechet_of_diagonal_gaussians(rng):
    """|m1 - m2|² + Σ (s1 - s2)², where the covariances commute."""
    a = with_moments(rng, [0, 1, 2], np.diag([1.0, 4.0, 0.25]))
    b = with_moments(rng, [1, 1, 0], np.diag([9.0, 4.0, 1.0]))
    assert frechet_distance(a, b) == pytest.approx(1 + 4 + (1 - 3) ** 2 + 0 + 0.5**2)


def test_frechet_of_gaussians_whose_covariances_do_not_commute(rng):
    """In two dimensions tr(M^½) = √(tr M + 2 √det M), with M similar to S1 S2."""
    s1, s2 = np.array([[2.0, 0.8], [0.8, 1.0]]), np.array([[1.0, -0.5], [-0.5, 3.0]])
    crossed = np.sqrt(np.trace(s1 @ s2) + 2 * np.sqrt(np.linalg.det(s1 @ s2)))
    a, b = with_moments(rng, [0, 0], s1), with_moments(rng, [3, 4], s2)
    wanted = 25 + np.trace(s1) + np.trace(s2) - 2 * crossed
    assert frechet_distance(a, b) == pytest.approx(wanted)
    assert frechet_distance(b, a) == pytest.approx(wanted)


def test_frechet_of_one_feature(rng):
    a, b = with_moments(rng, [0], [[4.0]]), with_moments(rng, [1], [[1.0]])
    assert frechet_distance(a, b) == pytest.approx(1 + 1)


def test_frechet_of_a_set_with_itself_is_zero_even_where_its_covariance_is_singular(rng):
    x = rng.normal(size=(20, 30))
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-5)
    assert frechet_distance(np.ones((5, 3)), np.ones((4, 3))) == 0


@pytest.mark.parametrize("x", [np.ones((1, 3)), np.array([[0.0], [np.nan]])])
def test_frechet_of_too_little_is_refused(x):
    with pytest.raises(ValueError, match="rows of features"):
        frechet_distance(np.zeros((4, x.shape[1])), x)


def test_a_set_covers_itself(rng):
    x = rng.normal(size=(50, 5))
    assert precision_recall(x, x) == (1, 1)
    assert precision_recall(np.ones((4, 2)), np.ones((4, 2))) == (1, 1)


def test_distant_sets_cover_nothing_of_each_other():
    assert precision_recall(SQUARE, SQUARE + 10) == (0, 0)


def test_precision_counts_what_lies_in_a_ball():
    """The third neighbour of a corner is the opposite one, √2 away."""
    far = 1 + np.sqrt(2) + 0.01
    drawn = np.array([[0.5, 0.5], [2.4, 1.0], [far, 1.0], [-9.0, 0.0]])
    assert precision_recall(SQUARE, drawn)[0] == 2 / 4


def test_a_collapsed_sampler_is_precise_and_recalls_little():
    """Four points close to one corner: their balls reach no other corner."""
    drawn = SQUARE / 100
    assert precision_recall(SQUARE, drawn) == (1, 1 / 4)
    assert precision_recall(drawn, SQUARE) == (1 / 4, 1)


def test_fewer_neighbours_make_smaller_balls():
    drawn = np.array([[2.2, 0.0], [2.2, 1.0]])
    assert precision_recall(SQUARE, drawn, k=1) == (0, 0)  # the drawn ones' balls have radius 1
    assert precision_recall(SQUARE, drawn - [0.3, 0], k=1) == (1, 0.5)


def test_a_set_without_enough_neighbours_is_refused():
    with pytest.raises(ValueError, match="no 3 neighbours"):
        precision_recall(SQUARE, SQUARE[:3])


def test_blocks_change_nothing(rng, monkeypatch):
    a, b = rng.normal(size=(60, 4)), rng.normal(size=(50, 4)) + 0.5
    whole = precision_recall(a, b)
    monkeypatch.setattr("dcfm_node.domains.distances.BLOCK", 7)
    assert precision_recall(a, b) == whole


def test_the_order_of_rows_changes_nothing(rng):
    a, b = rng.normal(size=(60, 4)), rng.normal(size=(60, 4)) * 2 + 0.5
    again = a[rng.permutation(60)], b[rng.permutation(60)]
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(*again))
    assert precision_recall(a, b) == precision_recall(*again)
    assert wasserstein2(a, b, rng) == pytest.approx(wasserstein2(*again, rng))


def test_wasserstein_of_a_translation_is_its_length(rng):
    x = rng.normal(size=(100, 2))
    assert wasserstein2(x, x + np.array([3, 4]), rng) == pytest.approx(5)
    assert wasserstein2(x, x[::-1], rng) == 0


def test_wasserstein_of_two_points_by_hand(rng):
    """Crossing costs 1 + 9, keeping the order costs 1 + 1."""
    a, b = np.array([[0.0], [2.0]]), np.array([[3.0], [1.0]])
    assert wasserstein2(a, b, rng) == pytest.approx(1)


def test_wasserstein_of_many_points_uses_a_part_of_them(rng):
    a, b = rng.normal(size=(500, 2)), rng.normal([3, 4], 1, (400, 2))
    first, again = (wasserstein2(a, b, np.random.default_rng(7), most=100) for _ in range(2))
    assert first == again != wasserstein2(a, b, rng, most=101)
    assert first == pytest.approx(5, abs=0.5)


def test_absent_scipy_names_the_extra(rng, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(UserError, match=r"dcfm-node\[demo\]"):
        wasserstein2(SQUARE, SQUARE, rng)


def test_the_joint_distance_sees_samples_of_wrong_combinations():
    rng = np.random.default_rng(0)
    c = np.stack([np.arange(400) % 2, np.arange(400) // 2 % 2], axis=1)
    real = (4 * c + rng.normal(size=(400, 2))).astype(np.float32)
    drawn = (4 * c + rng.normal(size=(400, 2))).astype(np.float32)
    swapped = drawn[:, ::-1] + 0
    right = joint_frechet_distance(drawn, c, real, c)
    wrong = joint_frechet_distance(swapped, c, real, c)
    assert frechet_distance(swapped, real) < 1
    assert right < 1 < wrong
    assert joint_frechet_distance(real, c, real, c) == pytest.approx(0, abs=1e-6)
