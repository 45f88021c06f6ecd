"""Executing plans: what the planner is told as the arm moves, and the simulator itself."""

from importlib.util import find_spec

import numpy as np
import pytest
from numpy.typing import NDArray

from dcfm_node.domains.robots import execution, plan, segments, simulator
from dcfm_node.domains.robots.cube import CubeEvaluator
from dcfm_node.domains.robots.execution import EVERY, STEPS, Arm, replanned, tracked
from dcfm_node.domains.robots.plan import Array
from dcfm_node.samples import Floats, Samples

needs_simulator = pytest.mark.skipif(find_spec("ogbench") is None, reason="ogbench is missing")
HORIZON = 16


class Still(Arm):
    """An arm that does at once what it is commanded, and whose gripper holds the cube."""

    def __init__(self) -> None:
        self.frame, self.steps = np.zeros(11), 0

    def start(self, frame: Array) -> None:
        self.frame, self.steps = frame[plan.SEEN].copy(), 0

    def step(self, command: Array) -> None:
        self.frame[:6], self.frame[plan.CUBE] = command, command[:3]
        self.steps += 1

    def seen(self) -> Array:
        return self.frame.copy()

    def cube(self) -> Array:
        return plan.metres(self.frame[plan.CUBE])

    def keep(self) -> Array:
        return np.array([*self.frame, self.steps])

    def resume(self, state: Array) -> None:
        self.frame, self.steps = state[:-1].copy(), int(state[-1])


def plans(many: int = 2) -> Array:
    """Plans that move the gripper along lines, to another place each."""
    found = np.zeros((many, plan.CHANNELS, HORIZON))
    for index in range(many):
        for rows in (plan.EFFECTOR, plan.CUBE, plan.COMMAND):
            found[index, rows] = np.linspace(-0.5, 0.3 * index, HORIZON)
    return found


def test_a_plan_is_followed_to_its_end() -> None:
    ends = tracked(Still(), plans())
    assert ends == pytest.approx(plan.goal(plans()))


def test_the_planner_is_told_what_happened_and_where_to_end() -> None:
    asked: list[tuple[NDArray[np.bool_], Array]] = []

    def replan(mask: NDArray[np.bool_], known: Array) -> Array:
        asked.append((mask.copy(), known.copy()))
        return plans()

    arm = Still()
    ends = replanned(arm, plans(), replan)
    assert ends == pytest.approx(plan.goal(plans()))
    assert len(asked) == HORIZON / EVERY
    for turn, (mask, known) in enumerate(asked):
        now = turn * EVERY
        assert mask[plan.SEEN, : now + 1].all() and mask[plan.SENT, :now].all()
        assert mask[plan.CUBE, -1].all()
        assert not mask[:, now + 1 : -1].any() and not mask[plan.SENT, now:].any()
        assert not mask[plan.EFFECTOR, -1].any()
        assert known[:, plan.CUBE, -1] == pytest.approx(plans()[:, plan.CUBE, -1])
        if now:
            # The arm is where the last command sent it, one control step ago.
            step = 1 / (STEPS - 1) * (plans()[:, plan.COMMAND, -1] - plans()[:, plan.COMMAND, 0])
            lag = plans()[:, plan.COMMAND, now] - known[:, plan.EFFECTOR, now]
            assert (abs(lag) <= 1.6 * abs(step) + 1e-9).all()
            assert known[:, plan.COMMAND, 0] == pytest.approx(plans()[:, plan.COMMAND, 0])
    assert arm.steps == STEPS + execution.SETTLE


def test_a_planner_that_changes_its_mind_is_followed() -> None:
    """The second half of another plan ends elsewhere."""
    turns = iter(range(HORIZON // EVERY))

    def replan(mask: NDArray[np.bool_], known: Array) -> Array:
        return plans() if next(turns) < 2 else plans()[::-1]

    assert replanned(Still(), plans(), replan) == pytest.approx(plan.goal(plans())[::-1])


def test_no_plan_is_no_work() -> None:
    assert tracked(Still(), plans(0)).shape == (0, 3)
    assert replanned(Still(), plans(0), lambda mask, known: known).shape == (0, 3)


def test_an_action_is_the_inverse_of_a_command() -> None:
    rng = np.random.default_rng(0)
    seen = np.zeros((20, plan.OBSERVED))
    seen[:, 12:15] = rng.uniform([-1, -1, 1], [1, 1, 3], (20, 3))
    yaw = rng.uniform(-3, 3, 20)
    seen[:, 15], seen[:, 16], seen[:, 17] = np.cos(yaw), np.sin(yaw), rng.uniform(1, 2, 20)
    actions = rng.uniform(-0.3, 0.3, (20, plan.ACTED))
    back = [plan.action(o, plan.commanded(o, a)) for o, a in zip(seen, actions, strict=True)]
    assert np.array(back) == pytest.approx(actions, abs=1e-9)


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_a_plan_with_a_number_that_is_not_finite_is_never_executed(odd: float) -> None:
    x = plans(2)
    x[:, plan.CUBE.start + 2, [0, -1]] = -0.999
    cube = plan.metres(x[:, plan.CUBE, :][:, :, [0, -1]].transpose(0, 2, 1))
    c = plan.quadrant(cube)
    assert plan.feasible(x, c).all()
    x[1, plan.COMMAND.start, HORIZON // 2] = odd
    assert plan.feasible(x, c).tolist() == [True, False]


def test_only_feasible_plans_are_executed() -> None:
    """A success needs the right quadrants and the goal."""
    x = plans(3).astype(np.float32)
    x[:, plan.CUBE.start + 2, [0, -1]] = -0.999  # on the table at both ends
    x[:, plan.COMMAND.start + 2, -1] = -0.999
    ends = plan.quadrant(plan.metres(x[:, plan.CUBE, -1].astype(float)))
    starts = plan.quadrant(plan.metres(x[:, plan.CUBE, 0].astype(float)))
    c = np.stack([starts, ends], axis=1)
    c[2, 1] = 3 - c[2, 1]
    evaluator = CubeEvaluator()
    evaluator._arm = Still()
    asked: list[Floats] = []

    def redraw(mask: NDArray[np.bool_], values: Floats) -> Floats:
        asked.append(values)
        return x

    found = evaluator.measure_redrawn(Samples(x, c), redraw)
    assert evaluator.right(Samples(x, c)).tolist() == [True, True, False]
    assert found["success"] == found["tracked"] == pytest.approx(2 / 3)
    assert all(values.shape == x.shape for values in asked)


@needs_simulator
def test_the_simulator_repeats_what_the_oracle_did() -> None:
    """The oracle's own plans place the cube within 2 cm, and a kept state is taken up exactly."""
    cut = segments.cut(simulator.make([0], 0, 300), 32).samples
    recorded = cut.x[:2].astype(np.float64)
    arm = Arm()
    off = np.linalg.norm(tracked(arm, recorded) - plan.goal(recorded), axis=1)
    assert (off < 0.02).all()
    again = replanned(arm, recorded, lambda mask, known: recorded)
    assert np.linalg.norm(again - plan.goal(recorded), axis=1) == pytest.approx(off, abs=1e-3)
