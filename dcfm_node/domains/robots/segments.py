"""Cuts play data into plans: one pick-and-place each, resampled and labelled. Pure.

Play data says nothing of the robot's intention, so what the robot did decides. The gripper closes,
the cube leaves the table, the gripper opens, the cube lies still: that is one pick-and-place.
Between two of them the cut is where the gripper is farthest from the cube.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dcfm_node.domains.robots import plan
from dcfm_node.domains.robots.episodes import Episode
from dcfm_node.errors import DataError
from dcfm_node.samples import Combination, Samples

CLOSED, OPEN = 0.40, 0.25
"""Above the first opening a gripper counts as closed, below the second as open (0 open, 1 closed).
A gripper that holds the cube is at 0.56."""
LIFTED = 0.02
"""How far above its place on the table a cube counts as lifted, m."""
LIES = 0.01
"""Most height above the table, and most distance moved in a frame, of a cube that lies, m."""
AWAY = 0.10
"""Least distance between gripper and cube at the start and end of a plan, m."""
LET_GO = 0.05
"""Most distance between gripper and cube when the cube touches the table, m; else it fell."""


@dataclass(frozen=True)
class Cut:
    """What episodes gave.

    Attributes:
        samples: x (N, CHANNELS, horizon) float32, c (N, 2): source and destination.
        names: of each plan's episode and frames.
        frames: (N,) number of frames of each plan before it was resampled.
        episodes: (N,) number of each plan's episode, counted from 0.
        dropped: why pieces of episodes are not plans -> how many.
    """

    samples: Samples
    names: tuple[str, ...]
    frames: NDArray[np.int64]
    episodes: NDArray[np.int64]
    dropped: Counter[str] = field(default_factory=Counter)


def cut(episodes: Iterable[Episode], horizon: int) -> Cut:
    """The plans of episodes, in order.

    Raises:
        DataError: an episode holds no pick-and-place.
    """
    x, c, names, frames, numbers = [], [], [], [], []
    dropped: Counter[str] = Counter()
    for number, episode in enumerate(episodes):
        pieces, left = pick_and_places(episode)
        dropped.update(left)
        if not pieces:
            raise DataError(
                f"holds no whole pick-and-place ({_reasons(left)})",
                where=episode.name,
                fix="record until the cube lies again and the arm has left, or remove the episode",
            )
        rows = _rows(episode)
        c += labels(episode, pieces)
        for start, end in pieces:
            part = rows[start : end + 1]
            x.append(plan.resampled(part, horizon))
            names.append(f"{episode.name}, frames {start} to {end}")
            frames.append(end + 1 - start)
            numbers.append(number)
    samples = Samples(
        np.array(x, np.float32).reshape(-1, plan.CHANNELS, horizon),
        np.array(c, np.int64).reshape(-1, 2),
    )
    return Cut(samples, tuple(names), np.array(frames), np.array(numbers), dropped)


def pick_and_places(episode: Episode) -> tuple[list[tuple[int, int]], Counter[str]]:
    """First and last frame of every whole pick-and-place, and why other pieces are none."""
    observations = episode.observations.astype(np.float64)
    seen = plan.seen(observations)
    gripper, cube = plan.metres(seen[:, plan.EFFECTOR]), plan.metres(seen[:, plan.CUBE])
    distance = np.linalg.norm(gripper - cube, axis=1)
    grips = _grips((seen[:, plan.GRIPPER] + 1) / 2)
    cuts = _cuts(grips, distance)
    found, dropped = [], Counter[str]()
    for start, end in pairwise(cuts):
        piece = slice(start, end + 1)
        if why := _why_not(cube[piece], distance[piece]):
            dropped[why] += 1
        else:
            found.append((start, end))
    return found, dropped


def labels(episode: Episode, pieces: Sequence[tuple[int, int]]) -> list[Combination]:
    """The quadrants in which the cube lies at the start and the end of pieces."""
    cube = plan.metres(plan.seen(episode.observations.astype(np.float64))[:, plan.CUBE])
    found = plan.quadrant(cube).tolist()
    return [(found[start], found[end]) for start, end in pieces]


def _rows(episode: Episode) -> plan.Array:
    """Every frame as a plan has it, (T, CHANNELS)."""
    observations = episode.observations.astype(np.float64)
    told = plan.commanded(observations, episode.actions.astype(np.float64))
    return np.concatenate([plan.seen(observations), told], axis=1)


def _grips(opening: plan.Array) -> list[tuple[int, int]]:
    """First frame of every grip, and the frame after its last."""
    grips, begun = [], None
    for frame, value in enumerate(opening):
        if begun is None and value > CLOSED:
            begun = frame
        elif begun is not None and value < OPEN:
            grips.append((begun, frame))
            begun = None
    return grips


def _cuts(grips: list[tuple[int, int]], distance: plan.Array) -> list[int]:
    """The frames between which there is one grip: where the gripper is farthest from the cube."""
    if not grips:
        return []
    between = zip([0, *(end for _, end in grips)], [*(start for start, _ in grips), len(distance)],
                  strict=True)  # fmt: skip
    return [a + int(np.argmax(distance[a:b])) if b > a else a for a, b in between]


def _why_not(cube: plan.Array, distance: plan.Array) -> str:
    """Why a piece with one grip is not a whole pick-and-place; empty if it is.

    Args:
        cube: (T, 3) in m.
        distance: (T,) between gripper and cube in m.
    """
    height = cube[:, 2] - plan.FLOOR
    if len(cube) < 2 or height.max() < LIFTED:
        return "the cube was not lifted"
    landed = int(np.flatnonzero(height >= LIFTED)[-1]) + 1
    ends = [0, -1]
    if landed >= len(cube) or (abs(height[ends]) > LIES).any() or (_speed(cube)[ends] > LIES).any():
        return "the cube does not lie at its start and end"
    if (distance[ends] < AWAY).any():
        return "the arm is not away at its start and end"
    if distance[landed] > LET_GO:
        return "the cube fell"
    margin = LIES
    on = (cube[ends, :2] >= plan.TABLE[0] - margin) & (cube[ends, :2] <= plan.TABLE[1] + margin)
    if not on.all():
        return "the cube is off the table"
    return ""


def _speed(cube: plan.Array) -> plan.Array:
    """How far the cube moves from each frame to the next, m; the last frame as the one before."""
    moved = np.linalg.norm(np.diff(cube, axis=0), axis=1)
    return np.append(moved, moved[-1])


def _reasons(dropped: Counter[str]) -> str:
    return (
        "; ".join(f"{n} x {why}" for why, n in dropped.most_common()) or "the gripper never grips"
    )
