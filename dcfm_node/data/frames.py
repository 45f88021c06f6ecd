"""Episodes of a robot's recordings as samples (channels, horizon), read frame by frame."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dcfm_node.data.lerobot import Dataset, described, parquet
from dcfm_node.data.names import normal
from dcfm_node.data.raw import Raw, bounded, check_shapes
from dcfm_node.data.spec import EpisodeSource, LerobotData
from dcfm_node.errors import DataError
from dcfm_node.samples import Floats

if TYPE_CHECKING:
    from pyarrow import Array

EPISODE, FRAME, TIME = "episode_index", "frame_index", "timestamp"
TASK, TASK_INDEX = "task", "task_index"
BATCH = 8_192
"""Frames that are read at a time."""
RATES = 0.01
"""Most relative difference of two rates that count as one."""
SHOWN = 12


@dataclass(frozen=True, slots=True)
class Place:
    """Where a channel of a sample lies in the frames."""

    column: str
    index: int = 0
    name: str = ""
    """What the dataset must call the number, if it names its numbers; "" takes any."""

    def __str__(self) -> str:
        return f"{self.column}[{self.index}]"


class Episode(NamedTuple):
    """The wanted columns of one episode: each (frames, width), numbers or text."""

    number: int
    file: str
    row: int
    """Its first row in the file."""
    columns: Mapping[str, NDArray[Any]]

    def at(self, frame: int) -> str:
        """A frame, in messages."""
        return f"{self.file}: row {self.row + frame} (episode {self.number}, frame {frame})"

    @property
    def where(self) -> str:
        """The episode, in messages."""
        return f"{self.file}: episode {self.number}"


def read_episodes(
    spec: LerobotData,
    columns: Mapping[str, str],
    channels: Sequence[Place],
    horizon: int,
    fps: float | None = None,
) -> Raw:
    """Read every episode at `horizon` evenly spaced times: x float32 (N, channels, horizon), in the
    units of the files.

    Args:
        columns: attribute name -> column, for attributes that are not constant; `task` is the text
            of `task_index`.
        channels: the numbers of a frame that make up a sample.
        fps: frames a second that the run expects; None takes any.

    Raises:
        DataError: the folder does not hold such a dataset; a column is missing or has another
            width; an episode is too short, has other rates or numbers that are not finite; a label
            changes within an episode.
    """
    dataset = described(spec.path)
    _check_rate(dataset, fps)
    tasks = dataset.tasks() if TASK in columns.values() and TASK not in dataset.features else {}
    wanted = _wanted(dataset, columns, channels, bool(tasks))
    sources = {name: spec.attributes.get(name, EpisodeSource()) for name in columns}
    bounded((len(dataset.lengths), len(channels), horizon), 4, spec.path)
    x: list[Floats] = []
    labels: dict[str, list[Any]] = {name: [] for name in columns}
    places: list[str] = []
    for episode in episodes(dataset, wanted, spec.skip):
        x.append(_sample(episode, channels, horizon))
        places.append(episode.where)
        for name, column in columns.items():
            task = column == TASK and bool(tasks)
            value = _label(episode, name, TASK_INDEX if task else column, sources[name])
            labels[name].append(_task(tasks, value, episode) if task else value)
    check_shapes((len(x), len(channels), horizon), {}, (len(channels), horizon), str(spec.path))
    notes = (f"{spec.path}: {len({*spec.skip})} episodes are left out (skip)",) if spec.skip else ()
    named = {name: np.asarray(column) for name, column in labels.items()}
    return Raw(np.stack(x), named, places.__getitem__, str(spec.path), notes)


def episodes(dataset: Dataset, columns: Sequence[str], skip: Sequence[int]) -> Iterator[Episode]:
    """Every episode but those to skip, with these columns; one is in memory at a time.

    Raises:
        DataError: a column is missing, or has another width than the dataset says; an episode lacks
            frames, or has other rates.
    """
    seen: set[int] = set()
    for file in dataset.files:
        whole: list[dict[str, NDArray[Any]]] = []
        number, first, many = -1, 0, 0
        for row, part in _parts(dataset, file, [*dict.fromkeys((EPISODE, FRAME, TIME, *columns))]):
            current = int(part[EPISODE][0, 0])
            if whole and current != number:
                yield from _whole(dataset, Episode(number, str(file), first, _joined(whole)), skip)
                whole = []
            if not whole:
                number, first, many = current, row, 0
                if number in seen:
                    raise DataError(
                        f"episode {number} begins a second time",
                        where=f"{file}: row {row}",
                        fix="remove one of the two, or write the dataset anew with LeRobot",
                    )
                seen.add(number)
            many += len(part[FRAME])
            if number not in skip and many > dataset.lengths.get(number, 0):
                raise _miscounted(dataset, Episode(number, str(file), first, part), many)
            if number not in skip or not whole:  # what is skipped takes no memory
                whole.append(part)
        if whole:
            yield from _whole(dataset, Episode(number, str(file), first, _joined(whole)), skip)
    for missing in sorted(dataset.lengths.keys() - seen):
        raise DataError(
            f"has no frames of episode {missing}, which meta lists ({len(seen)} are there)",
            where=str(dataset.folder / "data"),
            fix="copy the whole dataset",
        )


def _check_rate(dataset: Dataset, fps: float | None) -> None:
    if fps is not None and abs(dataset.fps - fps) > RATES * fps:
        raise DataError(
            f"has {dataset.fps:g} frames a second; the run's have {fps:g} (domain.fps)",
            where=str(dataset.folder),
            fix="record at the run's rate or resample the dataset; if the run is wrong, correct fps"
            " under [domain] of run.toml at every site",
        )


def _wanted(
    dataset: Dataset, columns: Mapping[str, str], channels: Sequence[Place], tasks: bool
) -> list[str]:
    """The columns to read.

    Raises:
        DataError: the dataset lacks one, or it has too few numbers.
    """
    for place in channels:
        _check_column(dataset, place.column, place.index, "correct channel under [domain]")
        names = dataset.features[place.column].names
        if place.name and names and normal(names[place.index]) != normal(place.name):
            raise DataError(
                f"{place} is {names[place.index]!r}; the run's is {place.name!r}",
                where=_info(dataset),
                fix="order the columns as the other sites have them; if both names mean the same,"
                " remove name under [[domain.channel]] of run.toml at every site",
            )
    for name, column in columns.items():
        if not (tasks and column == TASK):
            _check_column(dataset, column, 0, f"set column under [data.attributes.{name}]")
    labels = (TASK_INDEX if tasks and c == TASK else c for c in columns.values())
    return list(dict.fromkeys([*(place.column for place in channels), *labels]))


def _check_column(dataset: Dataset, column: str, index: int, fix: str) -> None:
    found = dataset.features.get(column)
    if found is None:
        there = ", ".join(list(dataset.features)[:SHOWN])
        raise DataError(f"has no column {column!r}, only {there}", where=_info(dataset), fix=fix)
    if found.dtype in ("image", "video") or len(found.shape) > 1:
        what = f"{column!r} holds {found.dtype} of shape {list(found.shape)}"
        raise DataError(what, where=_info(dataset), fix=f"{fix}: choose numbers of one row")
    if index >= (many := found.shape[0] if found.shape else 1):
        what = f"{column!r} has {many} numbers, so it has no number {index} (counted from 0)"
        raise DataError(what, where=_info(dataset), fix=fix)


def _info(dataset: Dataset) -> str:
    return str(dataset.folder / "meta" / "info.json")


def _parts(
    dataset: Dataset, file: Path, columns: Sequence[str]
) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
    """(first row, columns) of runs of frames of one episode, as far as a batch holds them."""
    row = 0
    with parquet(file) as opened:
        there = opened.schema_arrow.names
        for column in columns:
            if column not in there:
                raise DataError(
                    f"has no column {column!r}, only {', '.join(there[:SHOWN])}",
                    where=str(file),
                    fix="write the file anew as meta/info.json describes it",
                )
        for batch in opened.iter_batches(BATCH, columns=list(columns), use_threads=False):
            arrays = {
                name: _array(batch.column(name), dataset, name, f"{file}: row {{}}", row)
                for name in columns
            }
            number = arrays[EPISODE][:, 0]
            cuts = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(number)]
            for begin, end in pairwise(cuts):
                if end > begin:
                    yield row + begin, {name: part[begin:end] for name, part in arrays.items()}
            row += len(number)


def _array(column: "Array", dataset: Dataset, name: str, where: str, row: int) -> NDArray[Any]:
    """A column of a batch as (frames, width)."""
    import pyarrow as pa  # noqa: PLC0415 - an extra, and heavy

    feature = dataset.features.get(name)
    width = feature.shape[0] if feature and feature.shape else 1
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if column.null_count:
        empty = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        what = f"has no value of {name!r}"
        raise DataError(what, where=where.format(row + empty), fix="repair or skip this episode")
    whole = pa.types.is_integer(column.type)
    if (name in (EPISODE, FRAME) and not whole) or (
        name == TIME and not whole and not pa.types.is_floating(column.type)
    ):
        what = f"{name!r} holds {column.type}, not {'numbers' if name == TIME else 'whole numbers'}"
        raise DataError(what, where=where.format(row), fix="write the dataset anew with LeRobot")
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.asarray(column.to_pylist(), np.str_)[:, None]
    listed = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
    if listed or pa.types.is_fixed_size_list(column.type):
        sizes = np.asarray(column.value_lengths().to_numpy(zero_copy_only=False))
        for wrong in np.flatnonzero(sizes != width):
            raise DataError(
                f"{name!r} has {sizes[wrong]} numbers; meta/info.json says {width}",
                where=where.format(row + int(wrong)),
                fix="repair or remove the frames; every frame has the same columns",
            )
        column = column.flatten()
    elif width != 1:
        what = f"{name!r} has one number a frame; meta/info.json says {width}"
        raise DataError(what, where=where.format(row), fix="write the dataset anew with LeRobot")
    if not (pa.types.is_primitive(column.type) and not pa.types.is_temporal(column.type)):
        what = f"{name!r} holds {column.type}, which is neither numbers nor text"
        raise DataError(what, where=where.format(row), fix="choose another column")
    values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return values.reshape(-1, width)


def _joined(parts: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _whole(dataset: Dataset, episode: Episode, skip: Sequence[int]) -> Iterator[Episode]:
    """The episode, if all its frames are there at the dataset's rate; nothing if it is skipped."""
    if episode.number in skip:
        return
    frames = episode.columns[FRAME][:, 0]
    for wrong in np.flatnonzero(frames != np.arange(len(frames))):
        raise DataError(
            f"frame_index is {frames[wrong]}, and {wrong} comes next",
            where=episode.at(int(wrong)),
            fix=f"repair the dataset, or {_skip(episode)}",
        )
    if dataset.lengths.get(episode.number) != len(frames):
        raise _miscounted(dataset, episode, len(frames))
    steps = np.diff(episode.columns[TIME][:, 0].astype(np.float64))
    for wrong in np.flatnonzero(~(np.abs(steps - 1 / dataset.fps) < 0.5 / dataset.fps)):
        raise DataError(
            f"comes {steps[wrong]:.4g} s after the frame before; at {dataset.fps:g} frames a second"
            f" it is {1 / dataset.fps:.4g} s (timestamp)",
            where=episode.at(int(wrong) + 1),
            fix=f"resample the episode to one rate, or {_skip(episode)}",
        )
    yield episode


def _miscounted(dataset: Dataset, episode: Episode, many: int) -> DataError:
    said = dataset.lengths.get(episode.number)
    what = "lists no such episode" if said is None else f"says {said}"
    fix = f"copy the whole file, or {_skip(episode)}"
    more = " or more" if said is None or many > said else ""
    return DataError(f"has {many}{more} frames; meta {what}", where=episode.where, fix=fix)


def _skip(episode: Episode) -> str:
    """What to do with an episode that cannot be repaired."""
    return f"leave the episode out with skip = [{episode.number}] under [data] of node.toml"


def _sample(episode: Episode, channels: Sequence[Place], horizon: int) -> Floats:
    """The channels at evenly spaced times, linear between frames: (channels, horizon)."""
    frames = np.stack([episode.columns[p.column][:, p.index] for p in channels])
    if frames.dtype.kind not in "fiub":
        wrong = next(p for p in channels if episode.columns[p.column].dtype.kind not in "fiub")
        what = f"{wrong.column!r} holds text"
        raise DataError(what, where=episode.where, fix="correct channel under [domain]")
    for channel, frame in np.argwhere(~np.isfinite(frames.astype(np.float64))):
        raise DataError(
            f"{channels[channel]} is {frames[channel, frame]}",
            where=episode.at(int(frame)),
            fix=f"repair the episode, or {_skip(episode)}",
        )
    if (many := frames.shape[1]) < horizon:
        raise DataError(
            f"has {many} frames, fewer than the {horizon} of a sample",
            where=episode.where,
            fix=f"{_skip(episode)}; or choose a smaller horizon"
            " in sample_shape of run.toml, at every site",
        )
    at, time = np.linspace(0, many - 1, horizon), np.arange(many)
    return np.stack([np.interp(at, time, one) for one in frames]).astype(np.float32)


def _label(episode: Episode, name: str, column: str, source: EpisodeSource) -> Any:
    """What the label's column holds: text, an integer, or a number that edges divide."""
    found = episode.columns[column]
    if source.index >= found.shape[1]:
        what = f"{column!r} has {found.shape[1]} numbers, so it has no number {source.index}"
        fix = f"correct index under [data.attributes.{name}]; it counts from 0"
        raise DataError(what, where=episode.where, fix=fix)
    values = found[:, source.index]
    if source.at is None:
        for other in np.flatnonzero(values != values[0]):
            raise DataError(
                f"{column!r} changes from {values[0].item()!r} to {values[other].item()!r}; it is"
                f" the label of attribute {name!r}",
                where=episode.at(int(other)),
                fix=f'set at = "first" or "last" under [data.attributes.{name}]',
            )
    value = values[-1 if source.at == "last" else 0]
    if source.edges and (value.dtype.kind not in "fiub" or not np.isfinite(value)):
        where = episode.at(len(values) - 1 if source.at == "last" else 0)
        what = f"{column}[{source.index}] is {value.item()!r}, which edges cannot divide"
        raise DataError(what, where=where, fix="repair the episode, or choose another column")
    if value.dtype.kind == "U":
        return normal(str(value))
    return int(value) if value.dtype.kind == "b" else value.item()


def _task(tasks: Mapping[int, str], index: Any, episode: Episode) -> str:
    if index not in tasks:
        what = f"task_index is {index!r}, which meta/tasks does not list"
        raise DataError(what, where=episode.where, fix="write the dataset anew with LeRobot")
    return normal(tasks[index])
