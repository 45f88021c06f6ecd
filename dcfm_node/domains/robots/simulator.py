"""OGBench's cube robot in MuJoCo: play data by the scripted oracle. Needs the extra `robots`.

Nothing of OGBench or MuJoCo is imported before it is needed.
"""

import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from dcfm_node.domains.robots.episodes import Episode
from dcfm_node.errors import UserError

STEPS = 1001
"""Frames of an episode in OGBench's published data."""
NOISE, SMOOTHING = 0.1, 0.5
"""Of the oracle's plans, as in OGBench's published play data."""

PICTURE = (320, 240)
"""Width and height of what the camera sees, in pixels."""


def needed() -> None:
    """Check that the simulator is installed, without importing it.

    Raises:
        UserError: it is not.
    """
    wanted = ("ogbench", "mujoco")
    if missing := [name for name in wanted if find_spec(name) is None]:
        are = "is" if len(missing) == 1 else "are"
        raise UserError(
            f"the robot's simulator needs {' and '.join(missing)}, which {are} not installed",
            fix="pip install 'dcfm-node[robots]'",
        )


def make(numbers: Iterable[int], seed: int, steps: int = STEPS) -> Iterator[Episode]:
    """Play data: in each episode the oracle picks the cube up and puts it down at random places.

    An episode depends on the seed and its number alone, so several processes may share the work.
    The same machine and versions give the same bytes.

    Args:
        numbers: which episodes, counted from 0.
        steps: frames of an episode.

    Raises:
        UserError: the simulator is not installed.
    """
    for number in numbers:
        yield _episode(seed, number, steps)


def _episode(seed: int, number: int, steps: int) -> Episode:
    env, oracle = scene()
    kept: dict[str, list[Any]] = {
        "observations": [], "actions": [], "qpos": [], "qvel": []
    }  # fmt: skip
    own, shared = np.random.SeedSequence([seed, number]).generate_state(2)
    with _numpy_seeded(int(shared)):
        observation, info = env.reset(seed=int(own))
        oracle.reset(observation, info)
        for _ in range(steps):
            action = np.clip(oracle.select_action(observation, info), -1, 1)
            kept["observations"].append(observation)
            kept["actions"].append(action)
            observation, *_, info = env.step(action)
            kept["qpos"].append(info["prev_qpos"])
            kept["qvel"].append(info["prev_qvel"])
            if oracle.done:
                oracle.reset(*env.set_new_target(p_stack=0.0))
    arrays = {name: np.array(rows, np.float32) for name, rows in kept.items()}
    return Episode(
        f"seed {seed}, episode {number}",
        arrays.pop("observations"),
        arrays.pop("actions"),
        arrays,
    )


@contextmanager
def _numpy_seeded(seed: int) -> Iterator[None]:
    """Seed numpy's global generator, which the oracle draws its noise from; give it back after."""
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)


@contextmanager
def _without_gl() -> Iterator[None]:
    """Import MuJoCo without OpenGL, which only films need: what MUJOCO_GL names may be missing.
    Where MuJoCo is already imported, it keeps its own."""
    before = os.environ.get("MUJOCO_GL")
    os.environ["MUJOCO_GL"] = "disable"
    try:
        yield
    finally:
        del os.environ["MUJOCO_GL"]
        if before is not None:
            os.environ["MUJOCO_GL"] = before


@cache
def scene() -> tuple[Any, Any]:
    """The environment without its limit of steps, and the oracle. Made once: it takes seconds."""
    needed()
    with warnings.catch_warnings(), _without_gl():
        # Of a screen, which nothing here needs, and of the precision of bounds.
        warnings.simplefilter("ignore")
        import gymnasium
        import ogbench  # noqa: F401 - it registers the environments
        from ogbench.manipspace.oracles.plan.cube_plan import CubePlanOracle

        width, height = PICTURE
        env = gymnasium.make(
            "cube-single-v0",
            terminate_at_goal=False,
            mode="data_collection",
            width=width,
            height=height,
        )
    oracle = CubePlanOracle(env=env, noise=NOISE, noise_smoothing=SMOOTHING)
    return env.unwrapped, oracle
