"""Gaussian modes: who holds what, and what counts as right."""

from pathlib import Path

import numpy as np

from dcfm_node.experiment import modes, settings
from tests.unit.experiment import tiny


def posed(folder: Path) -> settings.Posed:
    return settings.load(tiny.write(folder), "cpu").posed["noniid"]


def test_silos_hold_their_combinations_and_nobody_the_held_out(tmp_path: Path) -> None:
    task = modes.pose(posed(tmp_path), 8, seed=0)
    held = [{tuple(c) for c in silo.c.tolist()} for silo in task.silos]
    assert held == [{(0, 0), (0, 1)}, {(0, 0), (1, 0)}]
    assert task.held_out == ((1, 1),)
    assert {tuple(c) for c in task.complete.c.tolist()} == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_another_seed_draws_other_samples(tmp_path: Path) -> None:
    where = posed(tmp_path)
    a, b, again = (modes.pose(where, 8, seed=seed).silos[0].x for seed in (0, 1, 0))
    assert (a == again).all()
    assert (a != b).any()


def test_right_is_within_three_sigma_of_the_asked_mode(tmp_path: Path) -> None:
    judge = modes.ModesJudge(posed(tmp_path), seed=0)
    x = np.array([[1.5, 1.5], [1.5, 2.39], [1.5, 2.41], [-1.5, 1.5]], dtype=np.float32)
    asked = np.array([[1, 1]] * 4)
    assert judge.right(x, asked).tolist() == [True, True, False, False]


def test_a_shifted_cloud_is_as_far_away_as_it_was_shifted(tmp_path: Path) -> None:
    where = posed(tmp_path)
    judge, rng = modes.ModesJudge(where, seed=0), np.random.default_rng(3)
    c = np.array([[0, 1]] * 800)
    truth = modes.centres(where)[0, 1] + rng.normal(scale=0.3, size=(800, 2))
    near = judge.measure(truth.astype(np.float32), c)["w2"]
    far = judge.measure((truth + np.array([3.0, 4.0])).astype(np.float32), c)["w2"]
    assert near < 0.15
    assert abs(far - 5.0) < 0.15
