"""Makes a folder of the cube robot's episodes, in several processes; resumes after a stop.

The folder has `episodes-0000.npz` and so on, FILE episodes each, and `made.json`, which says what
is made. A file is there completely or not at all.
"""

import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from dcfm_node.domains.robots import segments, simulator
from dcfm_node.domains.robots.episodes import Episode, read, write
from dcfm_node.domains.robots.moves import Moves, text
from dcfm_node.errors import Failed, UserError
from dcfm_node.files import read_bounded, replacing
from dcfm_node.samples import Combination

FILE = 10
"""Episodes of a file: what a stop may cost."""
NOTE = "made.json"
MAX_NOTE_BYTES = 1 << 16

Tell = Callable[[int], None]
"""Called with the number of episodes that are there, made or found."""


@dataclass(frozen=True)
class Request:
    """What to make.

    Attributes:
        steps: frames of an episode.
        moves: the only ones from quadrant to quadrant; empty allows all.
    """

    episodes: int
    seed: int
    steps: int
    moves: Moves = ()

    @property
    def note(self) -> dict[str, Any]:
        """What decides the bytes of the files, for `made.json`."""
        packages = ("ogbench", "mujoco", "numpy")
        asked = asdict(self)
        if chosen := asked.pop("moves"):
            asked["moves"] = [text(move) for move in chosen]
        return {"domain": "cube", **asked, **{name: version(name) for name in packages}}

    def files(self, folder: Path) -> list[tuple[Path, range]]:
        """Each file, and the numbers of its episodes."""
        starts = range(0, self.episodes, FILE)
        return [
            (folder / f"episodes-{k:04}.npz", range(at, min(at + FILE, self.episodes)))
            for k, at in enumerate(starts)
        ]


@dataclass
class Held:
    """What episodes hold.

    Attributes:
        plans: whole pick-and-places by combination (source, destination).
        dropped: why other pieces are not whole -> how many.
    """

    episodes: int = 0
    frames: int = 0
    plans: Counter[Combination] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)

    def take(self, episode: Episode) -> None:
        """Count one more episode."""
        pieces, dropped = segments.pick_and_places(episode)
        self.episodes += 1
        self.frames += len(episode.actions)
        self.plans.update(segments.labels(episode, pieces))
        self.dropped.update(dropped)


def make(folder: Path, request: Request, jobs: int, tell: Tell) -> Held:
    """Make the episodes that are not there yet.

    Args:
        jobs: number of processes.

    Raises:
        UserError: the simulator is not installed; the folder has other files.
        DataError: a file that was there is damaged.
    """
    simulator.needed()
    _begin(folder, request)
    held = Held()
    for file, _ in (found := [one for one in request.files(folder) if one[0].exists()]):
        for episode in read(file):
            held.take(episode)
    tell(held.episodes)
    wanted = [one for one in request.files(folder) if one not in found]
    made = _episodes([number for _, numbers in wanted for number in numbers], request, jobs)
    for file, numbers in wanted:
        kept = []
        for _ in numbers:
            kept.append(next(made))
            held.take(kept[-1])
            tell(held.episodes)
        write(file, kept)
    return held


def _begin(folder: Path, request: Request) -> None:
    """Make the folder, or check that it was begun by the same request.

    Raises:
        UserError: it was not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / NOTE
    other = "name another folder; this command never replaces episodes"
    try:
        found = json.loads(read_bounded(note, MAX_NOTE_BYTES))
    except FileNotFoundError:
        if any(folder.glob("*.npz")):
            raise UserError(
                f"holds .npz files, but no {NOTE} that says how they were made",
                where=str(folder),
                fix=other,
            ) from None
        with replacing(note) as scratch:
            scratch.write_text(f"{json.dumps(request.note, indent=2)}\n", encoding="utf-8")
        return
    except (ValueError, RecursionError) as error:
        raise UserError(f"is not JSON: {error}", where=str(note), fix=other) from error
    if found != request.note:
        asked = request.note
        given = found if isinstance(found, dict) else {}
        differs = [
            f"{key[:40]} {str(given.get(key))[:40]!r}, now {asked.get(key)!r}"
            for key in {**asked, **given}
            if given.get(key) != asked.get(key)
        ]
        raise UserError(
            f"was made otherwise: {'; '.join(differs) or 'it has other fields'}",
            where=str(note),
            fix=other,
        )


def _episodes(numbers: list[int], request: Request, jobs: int) -> Iterator[Episode]:
    """The episodes with these numbers, in order."""
    if jobs == 1 or len(numbers) < 2:
        yield from simulator.make(numbers, request.seed, request.steps, request.moves)
        return
    with ProcessPoolExecutor(
        min(jobs, len(numbers)), mp_context=get_context("spawn"), initializer=_patient
    ) as pool:
        try:
            yield from pool.map(_one, numbers, repeat(request))
        except BrokenProcessPool as error:
            raise Failed(
                "a process that makes episodes ended without a word",
                fix="try again with fewer --jobs; memory may be short",
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _one(number: int, request: Request) -> Episode:
    return next(simulator.make([number], request.seed, request.steps, request.moves))


def _patient() -> None:
    """Leave an interruption to the process that waits for this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
