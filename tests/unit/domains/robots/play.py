"""Hand-made play data of the cube robot: a gripper that carries a cube along straight lines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dcfm_node.domains.robots import episodes, plan
from dcfm_node.domains.robots.episodes import Episode

HIGH = 0.30
"""Height of the gripper between two moves, m."""
LOW = 0.15
"""Height of the gripper that carries, m."""
CENTRES = np.array([[0.36, -0.15], [0.36, 0.15], [0.49, -0.15], [0.49, 0.15]])
"""The middle of every quadrant, in the order of QUADRANTS, m."""
Point = Sequence[float]


class Robot:
    """Records what it does, a frame at a time.

    Args:
        cube: where the cube lies at first, x and y in m.
    """

    def __init__(self, cube: Point) -> None:
        self.cube = np.array([*cube, plan.FLOOR])
        self.at = np.array([0.425, 0.0, HIGH])
        self.opening, self.holds = 0.0, False
        self.seen: list[np.ndarray] = []

    def go(self, *to: float, frames: int = 10) -> None:
        """Move the gripper, and the cube with it if it is held."""
        start = self.at
        for share in np.linspace(0, 1, frames + 1)[1:]:
            self.at = (1 - share) * start + share * np.array(to)
            if self.holds:
                self.cube = self.at.copy()
            self.look()

    def grip(self, opening: float, holds: bool, frames: int = 5) -> None:
        """Open or close the gripper."""
        self.holds = holds
        for share in np.linspace(0, 1, frames + 1)[1:]:
            self.opening = (1 - share) * (1.0 - opening) * 0.56 + share * opening * 0.56
            self.look()

    def look(self) -> None:
        """Record a frame."""
        row = np.zeros(plan.OBSERVED)
        row[12:15] = (self.at - [0.425, 0, 0]) * 10
        row[15] = row[26] = row[22] = 1
        row[17] = self.opening * 3
        row[19:22] = (self.cube - [0.425, 0, 0]) * 10
        self.seen.append(row)

    def carry(self, x: float, y: float, *, drops: bool = False, misses: bool = False) -> None:
        """Pick the cube up, put it down at x and y, and leave."""
        self.go(*self.cube[:2], LOW)
        self.go(*self.cube[:2], plan.FLOOR)
        self.grip(1.0, holds=not misses)
        self.go(*self.at[:2], LOW)
        if drops:
            self.holds, self.cube = False, np.array([*self.cube[:2], plan.FLOOR])
        self.go(x, y, LOW)
        self.go(x, y, plan.FLOOR)
        self.grip(0.0, holds=False)
        self.go(x, y, LOW)
        self.go(0.425, 0.0, HIGH)

    def episode(self, name: str = "hand-made") -> Episode:
        """All that was recorded."""
        observations = np.array(self.seen, np.float32)
        actions = np.zeros((len(observations), plan.ACTED), np.float32)
        actions[:-1, :3] = np.diff(observations[:, 12:15], axis=0) / 10 / plan.STEP[:3]
        actions[:, 4] = np.where(observations[:, 17] > 0.5, 0.4, -0.4)
        return Episode(name, observations, np.clip(actions, -1, 1))


def tour(*quadrants: int, shift: float = 0.0) -> Episode:
    """The cube is carried from quadrant to quadrant.

    Args:
        shift: from the middle of each quadrant, m.
    """
    first, *others = quadrants
    robot = Robot(CENTRES[first] + shift)
    robot.look()
    for place, other in enumerate(others):
        # No two plans are alike.
        robot.carry(*(CENTRES[other] + shift + 0.001 * place))
    return robot.episode()


def every_move() -> list[int]:
    """A tour of all sixteen combinations (an Eulerian circuit of the complete graph)."""
    return [0, 0, 1, 0, 2, 0, 3, 1, 1, 2, 1, 3, 2, 2, 3, 3, 0]


def saved(file: Path, **changes: Any) -> Path:
    """A file of one tour of two moves, with other arrays in place of its own or none."""
    episode = tour(0, 1, 3)
    terminals = np.zeros(len(episode.actions), bool)
    terminals[-1] = True
    arrays = {
        "observations": episode.observations,
        "actions": episode.actions,
        "terminals": terminals,
        **changes,
    }
    np.savez(file, **{name: array for name, array in arrays.items() if array is not None})
    return file


def recorded(folder: Path, many: int) -> Path:
    """A folder with one file of tours of all combinations."""
    episodes.write(
        folder / "play.npz", [tour(*every_move(), shift=0.0003 * k) for k in range(many)]
    )
    return folder
