"""The robots of the demo `cube`: each has worked on one half of its table only."""

from collections.abc import Callable
from pathlib import Path

from dcfm_node.domains.robots import making, moves, simulator

DOMAIN = "cube"
HALVES = {
    "north": ("top-left", "top-right"),
    "east": ("top-right", "bottom-right"),
    "south": ("bottom-left", "bottom-right"),
    "west": ("top-left", "bottom-left"),
}
"""Node -> the quadrants among which its robot has moved the cube. Nobody has a move between
opposite quadrants, and what the nodes have determines each quadrant's effect (Eq. 2 of DCFM)."""
NOVEL = {"source": "top-left", "destination": "bottom-right"}
"""A combination that no robot has seen."""
EPISODES, SHORTEST = 15, 2
"""Of a robot: 50 seconds each. How many, and how few in a shortened demo."""
FOLDER = "episodes"

Tell = Callable[[int, int], None]
"""Called with how many episodes there are, and how many there shall be."""


def folder(out: Path, name: str) -> Path:
    """A node's episodes. They stay for the next demo in the same folder."""
    return out.absolute() / FOLDER / name


def request(name: str, seed: int, shorten: float = 1.0) -> making.Request:
    """What the robot of a node has recorded.

    Args:
        seed: of the demo; robots have different ones.
        shorten: factor on the number of episodes.
    """
    quadrants = HALVES[name]
    pairs = [f"{source}:{end}" for source in quadrants for end in quadrants]
    own = len(HALVES) * seed + list(HALVES).index(name)
    many = max(SHORTEST, round(EPISODES * shorten))
    return making.Request(many, own, simulator.STEPS, moves.named(pairs))


def make(out: Path, seed: int, jobs: int, tell: Tell, shorten: float = 1.0) -> None:
    """Make every robot's episodes that are not there yet.

    Args:
        jobs: number of processes.

    Raises:
        UserError: the simulator is not installed; the folder has other episodes.
        DataError: a file that was there is damaged.
    """
    asked = {name: request(name, seed, shorten) for name in HALVES}
    total = sum(one.episodes for one in asked.values())
    before = 0

    def add(done: int) -> None:
        tell(before + done, total)

    for name, one in asked.items():
        making.make(folder(out, name), one, jobs, add)
        before += one.episodes
