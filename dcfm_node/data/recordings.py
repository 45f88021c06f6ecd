"""What `init --data` finds in a robot's recordings: channels, horizon, labels, and ranges."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dcfm_node.data.frames import EPISODE, FRAME, TASK, TASK_INDEX, TIME, Place, episodes
from dcfm_node.data.lerobot import NUMBERS, Dataset, described
from dcfm_node.data.names import MAX_VALUE
from dcfm_node.errors import DataError

USUAL = ("observation.state", "observation.environment_state", "action")
"""Columns that LeRobot's policies read and write."""
HORIZONS = (32, 16, 8)
"""Frames of a sample: the most that the shortest episode has."""
MARGIN = 0.05
"""How much wider than the values a range is made at each end, as a share of it."""
_COUNTERS = (EPISODE, FRAME, TIME, TASK_INDEX, "index")


class Recordings(NamedTuple):
    """What they hold, before they are read.

    Attributes:
        places: the channels of a sample.
        keys: columns that may be attributes.
    """

    fps: float
    places: tuple[Place, ...]
    horizon: int
    keys: tuple[str, ...]
    notes: tuple[str, ...]


class Ranged(NamedTuple):
    """A channel and its range, in the unit of the recordings."""

    place: Place
    low: float
    high: float


def recordings(path: Path) -> Recordings:
    """What a dataset in the layout of LeRobot holds.

    Raises:
        DataError: it is broken, has no columns of numbers, or an episode is too short.
    """
    dataset = described(path)
    there = {
        name: feature
        for name, feature in dataset.features.items()
        if len(feature.shape) <= 1 and (feature.dtype in NUMBERS or feature.dtype == "string")
    }
    numbers = [name for name in USUAL if name in there and there[name].dtype in NUMBERS]
    places = tuple(
        Place(name, index, dict(enumerate(there[name].names)).get(index, ""))
        for name in numbers
        for index in range(math.prod(there[name].shape))
    )
    if not places:
        raise DataError(
            f"has none of the columns {', '.join(USUAL)}, only {', '.join(dataset.features)}",
            where=str(path),
            fix="make the node without --data, and write [domain] in run.toml (docs/robots.md)",
        )
    may = [
        name
        for name, feature in there.items()
        if name not in (*USUAL, *_COUNTERS)
        and math.prod(feature.shape) == 1
        and not feature.dtype.startswith("float")
    ]
    changing = _changing(dataset, may)
    texts = [] if TASK in there else [*dataset.tasks().values()]
    long = [text for text in texts if len(text) > MAX_VALUE]
    tasks = [TASK] if len(texts) > 1 and not long else []
    keys = (*tasks, *(name for name in may if name not in changing))
    notes = [*_notes(dataset, changing, numbers), *map(_long, long[:1])]
    return Recordings(dataset.fps, places, _horizon(dataset), keys, tuple(notes))


def ranged(place: Place, least: float, greatest: float) -> Ranged:
    """The range of a channel, a little wider than its values, in round numbers."""
    spread = max(greatest - least, 0.1 * max(abs(least), abs(greatest), 1.0))
    digits = 1 - math.floor(math.log10(spread))
    low, high = least - MARGIN * spread, greatest + MARGIN * spread
    step = 10.0**-digits
    return Ranged(
        place,
        round(math.floor(low / step) * step, max(digits, 0)),
        round(math.ceil(high / step) * step, max(digits, 0)),
    )


def _horizon(dataset: Dataset) -> int:
    episode, shortest = min(dataset.lengths.items(), key=lambda one: one[1], default=(0, 0))
    for horizon in HORIZONS:
        if horizon <= shortest:
            return horizon
    raise DataError(
        f"has {shortest} frames; a sample needs {HORIZONS[-1]}",
        where=f"{dataset.folder}: episode {episode}",
        fix="remove the episode with the tools of LeRobot; or make the node without --data, and"
        f" write skip = [{episode}] under [data] of node.toml",
    )


def _changing(dataset: Dataset, columns: list[str]) -> set[str]:
    """Those that change within an episode."""
    found: set[str] = set()
    for episode in episodes(dataset, columns, ()) if columns else ():
        found |= {name for name in columns if len({*episode.columns[name][:, 0].tolist()}) > 1}
    return found


def _long(text: str) -> str:
    return (
        f"the text of the task is not used: {text[:MAX_VALUE]!r}… is longer than {MAX_VALUE}"
        " characters. values under [data.attributes] of node.toml can give each text a short value"
    )


def _notes(dataset: Dataset, changing: set[str], numbers: list[str]) -> Iterator[str]:
    for name in sorted(changing):
        yield (
            f"{dataset.folder}: {name!r} is not used: it changes within an episode. With"
            ' at = "first" or "last" under [data.attributes] of node.toml it can be an attribute'
        )
    others = [
        name
        for name, feature in dataset.features.items()
        if feature.dtype.startswith("float") and name not in (*numbers, TIME)
    ]
    if others:
        yield (
            f"{dataset.folder}: the numbers of {', '.join(others)} are not part of a sample;"
            " [[domain.channel]] in run.toml can add them"
        )
