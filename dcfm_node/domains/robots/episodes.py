"""Episodes of a cube robot, read from and written to files of OGBench's layout.

A file is a NumPy archive whose rows are the frames of several episodes, one after the other:
`observations` (N, 28), `actions` (N, 5), and `terminals` (N,), which is true in the last row of an
episode (Park et al., 2025). Other arrays are written but not read.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dcfm_node.data.npz import Header, read_arrays
from dcfm_node.data.raw import readable
from dcfm_node.domains.robots import plan
from dcfm_node.errors import DataError
from dcfm_node.files import replacing
from dcfm_node.samples import Floats

SHORTEST = 20
"""Fewest frames of an episode: one second."""
RATE_FACTOR = 1.4
"""An episode whose rate seems to differ by more than this factor was recorded at another rate."""
BEYOND = 0.25
"""How far from the table a cube may be, m."""

_WIDTHS = {"observations": plan.OBSERVED, "actions": plan.ACTED}
_LAYOUT = "write it in OGBench's layout of cube-single: observations (N, 28), actions (N, 5) and "
_LAYOUT += "terminals (N,), true in the last row of every episode"
_DROP = "record the episode again, or remove its rows from the file"
_MOVED = 0.05
"""Joint speed below which a robot's rate cannot be told, rad/s (root mean square)."""
_LAST_SPEED = 0.76
"""Speed of the first three joints at the end of a control step, as a part of the mean in it: the
simulated arm brakes. Measured on OGBench's own oracle; from 0.72 to 0.78 in an episode."""


@dataclass(frozen=True, slots=True)
class Episode:
    """One recording without a break.

    Attributes:
        name: of its file and its place there, for messages.
        observations: (T, 28) float32, scaled as OGBench does.
        actions: (T, 5) float32 in [-1, 1]; the action of a frame follows its observation.
        more: other arrays (T, …) to write, such as the simulator's `qpos`.
    """

    name: str
    observations: Floats
    actions: Floats
    more: Mapping[str, Floats] = field(default_factory=dict)


def files(path: Path) -> list[Path]:
    """The files of a folder's episodes, sorted by name; a path of one file gives that file.

    Raises:
        DataError: there is no such file or folder, or the folder has no .npz file.
    """
    with readable(path, fix="check the disk"):
        if not path.is_dir():
            path.stat()
            return [path]
        found = sorted(file for file in path.iterdir() if file.suffix == ".npz")
    if not found:
        raise DataError(
            "holds no .npz file",
            where=str(path),
            fix="make some with 'dcfm-node domain make cube', or copy the robot's recordings there",
        )
    return found


def read(path: Path) -> Iterator[Episode]:
    """The checked episodes of a file, or of all files of a folder. Holds one file in memory.

    Raises:
        DataError: a file is missing, not in OGBench's layout or too large; an episode is too
            short, was recorded at another rate, or holds numbers that cannot be. The message
            names file, episode and field.
    """
    for file in files(path):
        arrays = read_arrays(file, (*_WIDTHS, "terminals"), partial(_fit, file), _LAYOUT)
        ends = _ends(arrays["terminals"], file)
        for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
            found, acted = (arrays[name][start:end].astype(np.float32) for name in _WIDTHS)
            episode = Episode(f"{file}, episode {number}", found, acted)
            check(episode)
            yield episode


def write(file: Path, episodes: Sequence[Episode]) -> None:
    """Write episodes completely or not at all. The same episodes give the same bytes.

    All must have the same names in `more`.
    """
    ends = np.cumsum([len(episode.actions) for episode in episodes]) - 1
    terminals = np.zeros(ends[-1] + 1, np.bool_)
    terminals[ends] = True
    more = {
        name: np.concatenate([episode.more[name] for episode in episodes])
        for name in episodes[0].more
    }
    with replacing(file) as scratch, scratch.open("xb") as stream:
        np.savez_compressed(
            stream,
            observations=np.concatenate([episode.observations for episode in episodes]),
            actions=np.concatenate([episode.actions for episode in episodes]),
            terminals=terminals,
            **more,  # type: ignore[arg-type] # numpy's stub takes any name for `allow_pickle`
        )


def check(episode: Episode) -> None:
    """Check that an episode can be one of the cube robot.

    Raises:
        DataError: it is too short, was recorded at another rate, or holds numbers that cannot be.
    """
    if (many := len(episode.actions)) < SHORTEST:
        raise DataError(
            f"is too short: {many} frames, {SHORTEST} at least", where=episode.name, fix=_DROP
        )
    for field_, values in (("observations", episode.observations), ("actions", episode.actions)):
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            raise _wrong(episode, field_, bad[0], f"is NaN or infinite; {len(bad)} such numbers")
    bad = np.argwhere(abs(episode.actions) > 1 + 1e-3)
    if len(bad):
        value = episode.actions[tuple(bad[0])]
        raise _wrong(
            episode,
            "actions",
            bad[0],
            f"is {value:.3g}, outside [-1, 1]",
            "divide actions by what the robot moves in a step: 0.05 m, 0.3 rad, gripper 1",
        )
    cube = plan.metres(plan.seen(episode.observations)[:, plan.CUBE])
    low, high = (np.append(plan.TABLE[i], plan.WORKSPACE[i, 2]) for i in (0, 1))
    bad = np.argwhere((cube < low - BEYOND) | (cube > high + BEYOND))
    if len(bad):
        frame, axis = bad[0]
        raise _wrong(
            episode,
            "observations",
            (frame, 19 + axis),
            f"puts the cube at {'xyz'[axis]} = {cube[frame, axis]:.3g} m, far from the table",
            "scale positions as OGBench does: (position - [0.425, 0, 0]) * 10, in m",
        )
    found = rate(episode.observations)
    if found and not plan.RATE / RATE_FACTOR < found < plan.RATE * RATE_FACTOR:
        raise DataError(
            f"was recorded at about {found:.2g} frames a second, as its joint positions and"
            f" velocities say (observations[:, 0:12]); {plan.RATE:g} are needed",
            where=episode.name,
            fix=f"resample the episode to {plan.RATE:g} frames a second; scale its actions too",
        )


def rate(observations: Floats) -> float | None:
    """Frames a second, by how far the joints moved at the speeds seen; None if they hardly moved.

    Args:
        observations: (T, 28).
    """
    moved = np.diff(observations[:, 0:3].astype(np.float64), axis=0)
    speed = observations[:, 6:9].astype(np.float64)
    speed = (speed[1:] + speed[:-1]) / (2 * _LAST_SPEED)
    energy, step = float((speed * speed).sum()), float((moved * speed).sum())
    if energy <= _MOVED**2 * speed.size or step <= 0:
        return None
    return energy / step


def _fit(file: Path, headers: Mapping[str, Header]) -> None:
    many = headers["observations"][0][:1]
    for name, (shape, dtype) in headers.items():
        wanted = (*many, *([_WIDTHS[name]] if name in _WIDTHS else []))
        if not many or shape[1:] != wanted[1:] or len(shape) != len(wanted):
            width = "".join(f", {n}" for n in wanted[1:]) or ","
            what = f"{name} has shape {list(shape)}, not (N{width})"
            raise DataError(what, where=str(file), fix=_LAYOUT)
        if shape[0] != many[0]:
            what = f"{name} has {shape[0]} rows, and observations has {many[0]}"
            raise DataError(what, where=str(file), fix="give every array a row for each frame")
        if dtype.kind not in ("f" if name in _WIDTHS else "bfiu"):
            raise DataError(f"{name} holds {dtype}, not numbers", where=str(file), fix=_LAYOUT)
    if many == (0,):
        raise DataError("observations has no rows", where=str(file), fix="remove the file")


def _ends(terminals: NDArray[Any], file: Path) -> list[int]:
    """The row after the last one of every episode."""
    odd = np.flatnonzero((terminals != 0) & (terminals != 1))
    if len(odd):
        raise DataError(
            f"terminals[{odd[0]}] is {terminals[odd[0]]}, neither 0 nor 1",
            where=str(file),
            fix="set it to 1 in the last row of every episode, else to 0",
        )
    ends = [int(row) + 1 for row in np.flatnonzero(terminals)]
    if not ends or ends[-1] != len(terminals):
        raise DataError(
            f"terminals is 0 in the last row, {len(terminals) - 1}, so the last episode has no end",
            where=str(file),
            fix="check that the file is whole; set the last row of every episode to 1",
        )
    return ends


def _wrong(
    episode: Episode, field_: str, at: Sequence[Any], what: str, fix: str = _DROP
) -> DataError:
    place = f"{field_}[{int(at[0])}, {int(at[1])}]"
    return DataError(f"{place} {what}", where=episode.name, fix=fix)
