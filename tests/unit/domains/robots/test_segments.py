"""Cutting play data into plans."""

from itertools import pairwise

import numpy as np
import pytest

from dcfm_node.domains.robots import plan, segments
from dcfm_node.errors import DataError
from tests.unit.domains.robots.play import CENTRES, HIGH, Robot, every_move, tour


def test_a_tour_is_cut_into_its_moves() -> None:
    quadrants = every_move()
    cut = segments.cut([tour(*quadrants), tour(3, 1)], 32)
    assert cut.samples.x.shape == (17, plan.CHANNELS, 32)
    assert (cut.samples.x.dtype, cut.samples.c.dtype) == (np.float32, np.int64)
    wanted = [*pairwise(quadrants), (3, 1)]
    assert cut.samples.c.tolist() == [list(pair) for pair in wanted]
    assert cut.samples.combinations == [(a, b) for a in range(4) for b in range(4)]
    assert cut.episodes.tolist() == [0] * 16 + [1]
    assert plan.feasible(cut.samples.x, cut.samples.c).all()
    assert not cut.dropped


def test_a_plan_begins_and_ends_with_the_arm_away() -> None:
    cut = segments.cut([tour(0, 1, 3)], 16)
    for ends in (0, -1):
        gripper = plan.metres(cut.samples.x[:, plan.EFFECTOR, ends])
        assert gripper[:, 2] == pytest.approx(HIGH, abs=0.02)
    assert plan.goal(cut.samples.x)[:, :2] == pytest.approx(CENTRES[[1, 3]], abs=0.002)
    # Frames between two plans belong to both.
    assert cut.names[0].endswith("frames 0 to 80")
    assert cut.names[1].endswith("frames 80 to 160")
    assert cut.frames.tolist() == [81, 81]


def left_out(robot: Robot) -> dict[str, int]:
    return dict(segments.pick_and_places(robot.episode())[1])


def test_a_cube_that_falls_is_left_out() -> None:
    robot = Robot(CENTRES[0])
    robot.look()
    robot.carry(*CENTRES[1], drops=True)
    robot.carry(*CENTRES[2])
    pieces, dropped = segments.pick_and_places(robot.episode())
    assert dropped == {"the cube fell": 1}
    assert segments.labels(robot.episode(), pieces) == [(0, 2)]


def test_a_gripper_that_misses_is_left_out() -> None:
    robot = Robot(CENTRES[0])
    robot.look()
    robot.carry(*CENTRES[1], misses=True)
    assert left_out(robot) == {"the cube was not lifted": 1}


def test_a_cube_off_the_table_is_left_out() -> None:
    robot = Robot(CENTRES[0])
    robot.look()
    robot.carry(0.60, 0.0)
    assert left_out(robot) == {"the cube is off the table": 1}


def test_an_episode_that_ends_early_gives_no_half_plan() -> None:
    """Whatever the last frame is, a plan has both ends or is none."""
    whole = tour(0, 1, 3)
    many = []
    for frames in range(20, len(whole.actions) + 1):
        robot = Robot(CENTRES[0])
        robot.seen = list(whole.observations[:frames])
        seen = plan.seen(whole.observations[:frames])
        gripper, cube = plan.metres(seen[:, plan.EFFECTOR]), plan.metres(seen[:, plan.CUBE])
        pieces, _ = segments.pick_and_places(robot.episode())
        many.append(len(pieces))
        for frame in (frame for piece in pieces for frame in piece):
            assert np.linalg.norm(gripper[frame] - cube[frame]) >= segments.AWAY
            assert cube[frame, 2] == pytest.approx(plan.FLOOR, abs=0.001)
    assert many == sorted(many)
    assert set(many) == {0, 1, 2}


def test_an_episode_without_a_move_is_refused() -> None:
    robot = Robot(CENTRES[0])
    robot.go(0.3, 0.2, HIGH, frames=30)
    with pytest.raises(
        DataError, match=r"holds no whole pick-and-place \(the gripper never"
    ) as told:
        segments.cut([tour(0, 1), robot.episode("play.npz, episode 1")], 32)
    assert told.value.where == "play.npz, episode 1"
    robot.carry(*CENTRES[1], misses=True)
    with pytest.raises(DataError, match="1 x the cube was not lifted"):
        segments.cut([robot.episode()], 32)
