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

from dcfm_node.domains.robots import plan, segments
from dcfm_node.domains.robots.episodes import Episode
from dcfm_node.domains.robots.moves import Moves
from dcfm_node.errors import Failed, UserError

STEPS = 1001
"""Frames of an episode in OGBench's published data."""
NOISE, SMOOTHING = 0.1, 0.5
"""Of the oracle's plans, as in OGBench's published play data."""
BORDER = 0.02
"""Least distance of a target from the borders between quadrants where moves are chosen, m."""
TRIES = 1_000
"""Beginnings of an episode of chosen moves; most end at once, as the cube lies elsewhere."""

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


def make(
    numbers: Iterable[int], seed: int, steps: int = STEPS, moves: Moves = ()
) -> Iterator[Episode]:
    """Play data: in each episode the oracle picks the cube up and puts it down at random places.

    An episode depends on the seed, its number and the moves alone, so several processes may share
    the work. The same machine and versions give the same bytes.

    Args:
        numbers: which episodes, counted from 0.
        steps: frames of an episode.
        moves: the only ones from quadrant to quadrant that episodes hold; empty allows all.

    Raises:
        UserError: the simulator is not installed.
        Failed: no episode of these moves came about.
    """
    for number in numbers:
        yield _episode(seed, number, steps, moves)


def _episode(seed: int, number: int, steps: int, moves: Moves) -> Episode:
    for attempt in range(TRIES if moves else 1):
        # The first attempt is the same whether or not moves are chosen.
        entropy = [seed, number, *([attempt] if attempt else [])]
        episode = _attempt(entropy, f"seed {seed}, episode {number}", steps, moves)
        if episode is not None:
            return episode
    raise Failed(
        f"the simulator made no episode {number} of these moves in {TRIES} attempts",
        fix="choose more moves, another --seed, or fewer --steps",
    )


def _attempt(entropy: list[int], name: str, steps: int, moves: Moves) -> Episode | None:
    """An episode; None if the cube comes to lie where no move leads on, or makes another move."""
    env, oracle = scene()
    kept: dict[str, list[Any]] = {
        "observations": [], "actions": [], "qpos": [], "qvel": []
    }  # fmt: skip
    own, shared = np.random.SeedSequence(entropy).generate_state(2)
    with _numpy_seeded(int(shared)):
        observation, info = env.reset(seed=int(own))
        if moves and not _allowed(info, moves):
            if (aimed := _aimed(env, moves)) is None:
                return None
            observation, info = aimed
        oracle.reset(observation, info)
        for _ in range(steps):
            action = np.clip(oracle.select_action(observation, info), -1, 1)
            kept["observations"].append(observation)
            kept["actions"].append(action)
            observation, *_, info = env.step(action)
            kept["qpos"].append(info["prev_qpos"])
            kept["qvel"].append(info["prev_qvel"])
            if oracle.done:
                if (aimed := _aimed(env, moves)) is None:
                    return None
                oracle.reset(*aimed)
    arrays = {key: np.array(rows, np.float32) for key, rows in kept.items()}
    episode = Episode(name, arrays.pop("observations"), arrays.pop("actions"), arrays)
    # A cube that slips from the gripper can land in another quadrant.
    made = segments.labels(episode, segments.pick_and_places(episode)[0]) if moves else []
    return episode if set(made) <= set(moves) else None


def _aimed(env: Any, moves: Moves) -> tuple[Any, dict[str, Any]] | None:
    """Observation and facts with a new target that a move leads to; None if no move does."""
    observation, info = env.set_new_target(p_stack=0.0)
    if not moves:
        return observation, info
    if int(plan.quadrant(info["privileged/block_0_pos"])) not in {source for source, _ in moves}:
        return None
    while not _allowed(info, moves):
        observation, info = env.set_new_target(p_stack=0.0)
    return observation, info


def _allowed(info: dict[str, Any], moves: Moves) -> bool:
    """Whether the target is well within the quadrant of a move from where the cube lies."""
    cube, target = info["privileged/block_0_pos"], info["privileged/target_block_pos"]
    inside = (abs(target[:2] - plan.CENTRE) >= BORDER).all()
    return bool(inside) and (int(plan.quadrant(cube)), int(plan.quadrant(target))) in moves


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
