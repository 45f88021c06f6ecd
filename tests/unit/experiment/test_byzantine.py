"""SPEC 6.6: audits exclude hostile experts and no honest silo, as `scripts/bench_byzantine` does at
full length."""

from pathlib import Path

import numpy as np
import pytest

from dcfm_node.experiment.byzantine import (
    HOSTILE,
    SILOS,
    Study,
    audits,
    dealt,
    hostile_expert,
    permuted,
    posed,
)
from dcfm_node.experiment.lab import Lab


@pytest.mark.full
def test_two_hostile_of_seven_are_put_out_and_nobody_else(tmp_path: Path) -> None:
    study = Study("plane", tmp_path, 0.1, lambda what, done, total: None)
    split, _ = study.pose(0)
    lab = Lab(
        study.settings.manifest(split, 0), split, tmp_path, "cpu", lambda what, done, total: None
    )
    experts = lab.local()
    honest = audits(lab, experts, set())
    assert not any(honest.refused.values())
    assert honest.worst < 0.5
    hostile = set(range(SILOS - HOSTILE, SILOS))
    for attack in ("flipped", "scaled", "random"):
        shown = [
            hostile_expert(e, attack, lab.manifest, 0) if k in hostile else e
            for k, e in enumerate(experts)
        ]
        found = audits(lab, shown, hostile)
        assert found.condemned == {lab.names[k] for k in hostile}, attack


def test_every_pose_covers_what_is_known_without_the_hostile_silos() -> None:
    problem, partition = posed("grid")
    for seed in range(5):
        split = dealt(problem, partition, seed)
        held = [{tuple(c) for c in np.unique(silo.c, axis=0).tolist()} for silo in split.silos]
        assert set().union(*held[: SILOS - HOSTILE]) == set(split.known)
        assert all(len(silo) > 1 for silo in held[SILOS - HOSTILE :])
        assert not set(split.held_out) & set(split.known)


def test_permuted_labels_keep_the_combinations_and_move_every_sample() -> None:
    data = dealt(*posed("plane"), 0).silos[-1]
    moved = permuted(data)
    assert np.unique(moved.c, axis=0).tolist() == np.unique(data.c, axis=0).tolist()
    assert (moved.c != data.c).any(axis=1).all()
    assert moved.x is data.x
