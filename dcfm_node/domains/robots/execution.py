"""Executes plans in the simulator: by their own commands, or by a planner that plans again as the
arm moves (section 6.2 of DCFM; inpainting of Janner et al., 2022). Needs the extra `robots`."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dcfm_node.domains.robots import plan
from dcfm_node.domains.robots.plan import Array
from dcfm_node.domains.robots.simulator import scene

STEPS = 88
"""Control steps of a plan: the median of the pick-and-places that plans are learned from."""
SETTLE = 6
"""Control steps after a plan's end, with its last command, until the cube lies still."""
EVERY = 4
"""Frames of a plan after which the planner plans again."""
IK_STEPS = 100
"""Most steps of the inverse kinematics that finds the arm's joints at a plan's start."""
LOOK_AT, FROM = (0.42, 0.0, 0.13), (0.82, 180.0, -40.0)
"""The camera: the point it looks at, in m; its distance in m, direction and height in degrees."""
HIDDEN = (0.0, 0.0, -0.3)
"""A place below the table."""

Replan = Callable[[NDArray[np.bool_], Array], Array]
"""Plans again: which numbers of a plan are given (CHANNELS, horizon), and what they are, (N,
CHANNELS, horizon); the plans (N, CHANNELS, horizon) with them."""


class Arm:
    """The simulated robot. Its state can be kept and taken up again, so one serves many plans."""

    def __init__(self) -> None:
        self._env = scene()[0]
        import mujoco

        self._spec = mujoco.mjtState.mjSTATE_INTEGRATION
        self._mujoco: Any = mujoco

    def start(self, frame: Array) -> None:
        """Stand still as in a plan's first frame (CHANNELS,), with the cube on the table."""
        from ogbench.manipspace import lie

        env, mujoco = self._env, self._mujoco
        env.reset(seed=0)
        data = env._data
        at = np.clip(plan.metres(frame[plan.EFFECTOR]), *plan.WORKSPACE)
        turn = lie.SO3.from_z_radians(_angle(frame[plan.YAW])) @ env._effector_down_rotation
        pose = lie.SE3.from_rotation_and_translation(turn, at) @ env._T_pa
        data.qpos[env._arm_joint_ids] = env._ik.solve(
            pos=pose.translation(),
            quat=pose.rotation().wxyz,
            curr_qpos=env._home_qpos,
            max_iters=IK_STEPS,
        )
        cube = data.joint("object_joint_0")
        cube.qpos[:3] = [*plan.metres(frame[plan.CUBE])[:2], plan.FLOOR]
        cube.qpos[3:] = lie.SO3.from_z_radians(_angle(frame[plan.CUBE_YAW]) / 4).wxyz
        data.qvel[:] = 0
        # Play data have a goal of their own, which pictures would show.
        data.mocap_pos[env._cube_target_mocap_ids] = HIDDEN
        mujoco.mj_forward(env._model, data)

    def step(self, command: Array) -> None:
        """One control step with the commanded rows (6,) of a plan's frame."""
        now = self._env.compute_observation().astype(float)
        self._env.step(plan.action(now, command))

    def seen(self) -> Array:
        """The seen rows (11,) of a plan's frame."""
        return plan.seen(self._env.compute_observation().astype(float))

    def cube(self) -> Array:
        """Where the cube is, (3,) in m."""
        return np.array(self._env._data.joint("object_joint_0").qpos[:3])

    def picture(self, mark: Callable[[Any], None] | None = None) -> NDArray[np.uint8]:
        """What a camera in front of the robot sees, (height, width, 3).

        Args:
            mark: adds shapes to MuJoCo's scene first.
        """
        camera = self._mujoco.MjvCamera()
        camera.lookat[:] = LOOK_AT
        camera.distance, camera.azimuth, camera.elevation = FROM
        return np.array(self._env.render(camera, scene_callback=mark), np.uint8)

    def keep(self) -> Array:
        """The whole state."""
        env = self._env
        state = np.empty(self._mujoco.mj_stateSize(env._model, self._spec))
        self._mujoco.mj_getState(env._model, env._data, state, self._spec)
        return state

    def resume(self, state: Array) -> None:
        """Go on from a state that was kept."""
        env = self._env
        self._mujoco.mj_setState(env._model, env._data, state, self._spec)
        self._mujoco.mj_forward(env._model, env._data)


def tracked(arm: Arm, plans: Array, watch: Callable[[int], None] | None = None) -> Array:
    """Follow the commands of plans (N, CHANNELS, horizon); where the cube ends, (N, 3) in m.

    Args:
        watch: called after each control step with the plan's index.
    """
    ends = []
    for index, one in enumerate(plans):
        arm.start(one[:, 0])
        for command in _commands(one, 0, STEPS + SETTLE):
            arm.step(command)
            if watch is not None:
                watch(index)
        ends.append(plan.metres(arm.seen()[plan.CUBE]))
    return np.array(ends).reshape(-1, 3)


def replanned(
    arm: Arm, plans: Array, replan: Replan, watch: Callable[[int], None] | None = None
) -> Array:
    """Follow plans (N, CHANNELS, horizon) that the planner makes again after every EVERY frames.
    It is given what was seen and commanded so far, and where the cube shall lie at the end.

    Returns: where the cube ends, (N, 3) in m.
    """
    horizon = plans.shape[2]
    at = np.rint(np.arange(horizon) * (STEPS - 1) / (horizon - 1)).astype(np.int64)
    states = []
    for one in plans:
        arm.start(one[:, 0])
        states.append(arm.keep())
    known, mask = plans.copy(), np.zeros(plans.shape[1:], np.bool_)
    mask[plan.CUBE, -1] = True
    # At the end, all that the arm saw; the array has every control step.
    log = np.zeros((len(plans), STEPS + SETTLE + 1, plan.CHANNELS))
    for first in range(0, horizon, EVERY):
        begin = at[first]
        end = at[first + EVERY] if first + EVERY < horizon else STEPS + SETTLE
        for index, state in enumerate(states):
            arm.resume(state)
            log[index, begin, plan.SEEN] = arm.seen()
        past = at[: first + 1]
        known[:, plan.SEEN, : first + 1] = log[:, past, plan.SEEN].transpose(0, 2, 1)
        known[:, plan.SENT, :first] = log[:, past[:-1], plan.SENT].transpose(0, 2, 1)
        mask[plan.SEEN, : first + 1], mask[plan.SENT, :first] = True, True
        now = replan(mask, known)
        for index, one in enumerate(now):
            arm.resume(states[index])
            for step, command in enumerate(_commands(one, begin, end), start=begin):
                log[index, step, plan.SEEN], log[index, step, plan.SENT] = arm.seen(), command
                arm.step(command)
                if watch is not None:
                    watch(index)
            states[index] = arm.keep()
    ends = []
    for state in states:
        arm.resume(state)
        ends.append(plan.metres(arm.seen()[plan.CUBE]))
    return np.array(ends).reshape(-1, 3)


def _commands(one: Array, begin: int, end: int) -> Iterator[Array]:
    """The commanded rows (6,) of control steps begin to end - 1 of a plan (CHANNELS, horizon)."""
    steps = plan.resampled(one[plan.SENT].T, STEPS)
    for step in range(begin, end):
        yield steps[:, min(step, STEPS - 1)]


def _angle(pair: Array) -> float:
    """Of a cosine and a sine."""
    return float(np.arctan2(pair[1], pair[0]))
