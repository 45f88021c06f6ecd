"""A plan of the cube robot: what its numbers mean, and how they are scaled. Pure.

A plan is a sample (CHANNELS, horizon): keyframes of what the robot sees and what it commands, one
column each. Ranges come from the simulator's documentation, so silos agree on them without raw
data. Positions are in metres, in the simulator's world; the robot stands at the origin.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

OBSERVED, ACTED = 28, 5
"""Numbers of an observation and of an action of OGBench's `cube-single`."""
RATE = 20.0
"""Control steps a second."""
STEP = np.array([0.05, 0.05, 0.05, 0.3, 1.0])
"""What an action of 1 adds: position in m, yaw in rad, gripper opening (0 open, 1 closed)."""
WORKSPACE = np.array([[0.25, -0.35, 0.02], [0.60, 0.35, 0.35]])
"""Lowest and highest position of the gripper that the simulator accepts, m."""
TABLE = np.array([[0.30, -0.30], [0.55, 0.30]])
"""Where cubes lie: lowest and highest x and y, m."""
CENTRE = np.array([0.425, 0.0])
"""Where the table's quadrants meet, m."""
FLOOR = 0.02
"""Height of the centre of a cube that lies on the table, m."""
QUADRANTS = ("top-left", "top-right", "bottom-left", "bottom-right")
"""As the simulator's front camera sees them: right is +y, bottom is +x."""

EFFECTOR, YAW, GRIPPER = slice(0, 3), slice(3, 5), 5
CUBE, CUBE_YAW = slice(6, 9), slice(9, 11)
COMMAND, COMMAND_YAW, COMMAND_GRIPPER = slice(11, 14), slice(14, 16), 16
CHANNELS = 17
"""Rows of a plan: seen gripper (position, cosine and sine of its yaw, opening), cube (position,
cosine and sine of four times its yaw, as it looks the same after a quarter turn), commanded
gripper (as the seen one)."""
SEEN = slice(0, 11)
"""The rows that an observation tells."""
SENT = slice(11, 17)
"""The commanded rows."""

_OB_CENTRE, _OB_SCALE, _OB_GRIPPER = np.array([0.425, 0.0, 0.0]), 10.0, 3.0
_MIDDLE, _HALF = WORKSPACE.mean(axis=0), np.ptp(WORKSPACE, axis=0) / 2


def seen(observations: Array) -> Array:
    """Observations (..., 28) of OGBench -> the seen rows of a plan (..., 11), scaled."""
    effector = observations[..., 12:15] / _OB_SCALE + _OB_CENTRE
    cube = observations[..., 19:22] / _OB_SCALE + _OB_CENTRE
    yaw = np.arctan2(observations[..., 27], observations[..., 26])
    return np.concatenate(
        [
            (effector - _MIDDLE) / _HALF,
            observations[..., 15:17],
            2 * observations[..., 17:18] / _OB_GRIPPER - 1,
            (cube - _MIDDLE) / _HALF,
            np.cos(4 * yaw)[..., None],
            np.sin(4 * yaw)[..., None],
        ],
        axis=-1,
    )


def commanded(observations: Array, actions: Array) -> Array:
    """Observations (..., 28) and relative actions (..., 5) -> the commanded rows (..., 6): where
    the gripper shall be, scaled. Relative actions would say nothing between two keyframes."""
    step = np.clip(actions, -1, 1) * STEP
    effector = observations[..., 12:15] / _OB_SCALE + _OB_CENTRE
    target = np.clip(effector + step[..., :3], *WORKSPACE)
    yaw = np.arctan2(observations[..., 16], observations[..., 15]) + step[..., 3]
    gripper = np.clip(observations[..., 17] / _OB_GRIPPER + step[..., 4], 0, 1)
    return np.concatenate(
        [
            (target - _MIDDLE) / _HALF,
            np.cos(yaw)[..., None],
            np.sin(yaw)[..., None],
            2 * gripper[..., None] - 1,
        ],
        axis=-1,
    )


def action(observation: Array, command: Array) -> Array:
    """The relative action (5,) that carries out commanded rows (6,) after an observation (28,);
    the inverse of `commanded`, within what one action can do."""
    effector = observation[12:15] / _OB_SCALE + _OB_CENTRE
    yaw = np.arctan2(observation[16], observation[15])
    turn = np.arctan2(command[4], command[3]) - yaw
    close = (command[5] + 1) / 2 - observation[17] / _OB_GRIPPER
    turn = (turn + np.pi) % (2 * np.pi) - np.pi
    return np.asarray(np.clip([*(metres(command[:3]) - effector), turn, close] / STEP, -1, 1))


def metres(rows: Array) -> Array:
    """Scaled positions (..., 3) in m."""
    return np.asarray(rows * _HALF + _MIDDLE)


def resampled(frames: Array, horizon: int) -> Array:
    """Frames (T, channels) at `horizon` evenly spaced times, linear between frames, (channels,
    horizon). Cosines and sines stay a little inside the circle; readers use their angle."""
    at = np.linspace(0, len(frames) - 1, horizon)
    low = np.minimum(at.astype(np.int64), len(frames) - 2)
    share = (at - low)[:, None]
    return np.asarray(((1 - share) * frames[low] + share * frames[low + 1]).T)


def quadrant(xy: Array) -> NDArray[np.int64]:
    """Positions (..., 2) in m -> index in QUADRANTS."""
    below, right = (xy[..., 0] >= CENTRE[0]), (xy[..., 1] >= CENTRE[1])
    return np.asarray(2 * below + right, np.int64)


def goal(plans: Array) -> Array:
    """Where the cube lies at the end of plans (N, CHANNELS, horizon): (N, 3) in m."""
    return metres(plans[:, CUBE, -1])


def feasible(plans: Array, c: NDArray[np.int64], height: float = 0.02) -> NDArray[np.bool_]:
    """Which plans (N, CHANNELS, horizon) begin and end with the cube on the table, in the quadrants
    (source, destination) of their labels (N, 2) (section 6.2 of DCFM): booleans (N,)."""
    return np.asarray(shows(plans, c, height).all(axis=1))


def shows(plans: Array, c: NDArray[np.int64], height: float = 0.02) -> NDArray[np.bool_]:
    """Which of their quadrants plans (N, CHANNELS, horizon) begin and end in, with the cube on the
    table: booleans (N, 2). A number that is not finite anywhere makes a plan show nothing: a robot
    must never execute it.

    Args:
        c: labels (source, destination), (N, 2).
        height: most distance of the cube from the height at which it lies, m.
    """
    finite = np.isfinite(plans).all(axis=(1, 2))
    found = []
    for frame, wanted in ((0, c[:, 0]), (-1, c[:, 1])):
        cube = metres(plans[:, CUBE, frame])
        on_table = (cube[:, :2] >= TABLE[0] - height) & (cube[:, :2] <= TABLE[1] + height)
        lies = (abs(cube[:, 2] - FLOOR) <= height) & on_table.all(axis=1)
        found.append(finite & lies & (quadrant(cube) == wanted))
    return np.stack(found, axis=1)
