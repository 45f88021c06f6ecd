"""Writes small datasets in the layout of LeRobot, as its specification and its writers have it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

FPS = 10
JOINTS = ("shoulder.pos", "elbow.pos", "gripper.pos")
TASKS = ("push the cube left", "push the cube right")

Columns = dict[str, Any]


def episode(task: int, frames: int = 40, seed: int = 0) -> Columns:
    """Frames of one episode: the first joint ends below 0 for task 0, above 0 for task 1."""
    rng = np.random.default_rng(seed)
    way = np.linspace(0.0, 1.0 if task else -1.0, frames)
    state = np.stack([way, way**2, rng.normal(0.0, 0.1, frames)], axis=1).astype(np.float32)
    return {
        "observation.state": state,
        "action": (state[:, :2] + np.float32(0.1)).astype(np.float32),
        "observation.environment": np.full((frames, 1), seed % 2, np.int64),
        "success": np.arange(frames) == frames - 1,
        "operator": ["ann", "bo"][seed % 2],
        "timestamp": (np.arange(frames) / FPS).astype(np.float32),
        "frame_index": np.arange(frames),
        "task_index": np.full(frames, task),
    }


def some(many: int = 8, frames: int = 40) -> list[Columns]:
    """Episodes of both tasks, of different lengths."""
    return [episode(i // 2 % 2, frames + i, i) for i in range(many)]


def write(
    folder: Path,
    episodes: Sequence[Columns],
    version: str = "v2.1",
    *,
    info: Mapping[str, Any] | None = None,
    lengths: Mapping[int, int] | None = None,
    groups: int = 16,
    files: int = 3,
) -> Path:
    """Write a dataset; v3 has `files` episodes in a file, in row groups of `groups` frames."""
    meta = folder / "meta"
    meta.mkdir(parents=True)
    tables, start = [], 0
    for number, columns in enumerate(episodes):
        tables.append(_table(columns, number, start, fixed=version == "v3.0"))
        start += len(tables[-1])
    old = version != "v3.0"
    said = {
        "codebase_version": version,
        "robot_type": "so101",
        "total_episodes": len(episodes),
        "total_frames": start,
        "total_tasks": len(TASKS),
        "chunks_size": 1000,
        "fps": FPS,
        "splits": {"train": f"0:{len(episodes)}"},
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
        if old
        else "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
        "features": _features(old),
    }
    (meta / "info.json").write_text(json.dumps(said | dict(info or {}), indent=4))
    known = {i: len(table) for i, table in enumerate(tables)} | dict(lengths or {})
    rows = [{"episode_index": i, "tasks": [TASKS[0]], "length": many} for i, many in known.items()]
    chunk = folder / "data" / "chunk-000"
    chunk.mkdir(parents=True)
    if old:
        _lines(meta / "episodes.jsonl", rows)
        _lines(meta / "tasks.jsonl", [{"task_index": i, "task": t} for i, t in enumerate(TASKS)])
        for i, table in enumerate(tables):
            parquet.write_table(table, chunk / f"episode_{i:06d}.parquet", row_group_size=groups)
        return folder
    # Pandas writes its index, the texts, as the last column.
    tasks = pa.table({"task_index": range(len(TASKS)), "__index_level_0__": TASKS})
    parquet.write_table(tasks, meta / "tasks.parquet")
    listed = meta / "episodes" / "chunk-000"
    listed.mkdir(parents=True)
    for row in rows:
        row |= {"data/chunk_index": 0, "data/file_index": 0, "stats/action/min": [0.0, 0.0]}
    parquet.write_table(pa.Table.from_pylist(rows), listed / "file-000.parquet")
    for place, first in enumerate(range(0, len(tables), files)):
        whole = pa.concat_tables(tables[first : first + files])
        parquet.write_table(whole, chunk / f"file-{place:03d}.parquet", row_group_size=groups)
    return folder


def _features(old: bool) -> dict[str, Any]:
    joints = {"motors": [*JOINTS]} if old else [*JOINTS]
    video = {"dtype": "video", "shape": [48, 64, 3], "names": ["height", "width", "channels"]}
    numbers = {"timestamp": "float32", "frame_index": "int64", "episode_index": "int64"}
    more = {"index": "int64", "task_index": "int64", "success": "bool", "operator": "string"}
    return {
        "observation.state": {"dtype": "float32", "shape": [3], "names": joints},
        "action": {"dtype": "float32", "shape": [2], "names": None},
        "observation.environment": {"dtype": "int64", "shape": [1], "names": None},
        "observation.images.top": video,
    } | {name: {"dtype": d, "shape": [1], "names": None} for name, d in (numbers | more).items()}


def _table(columns: Columns, number: int, start: int, *, fixed: bool) -> pa.Table:
    frames = len(columns["frame_index"])
    arrays = {name: _array(value, frames, fixed) for name, value in columns.items()}
    arrays["episode_index"] = pa.array(np.full(frames, number))
    arrays["index"] = pa.array(np.arange(start, start + frames))
    return pa.table(arrays)


def _array(value: Any, frames: int, fixed: bool) -> pa.Array:
    if isinstance(value, str):
        return pa.array([value] * frames)
    if isinstance(value, np.ndarray) and value.ndim == 2 and value.shape[1] > 1:
        return _lists(value, fixed)
    return pa.array(value[:, 0] if isinstance(value, np.ndarray) and value.ndim == 2 else value)


def _lists(value: NDArray[Any], fixed: bool) -> pa.Array:
    """LeRobot's own writer has lists of fixed size; converters and pandas have plain ones."""
    if fixed:
        return pa.FixedSizeListArray.from_arrays(pa.array(value.ravel()), value.shape[1])
    return pa.array([*value], pa.list_(pa.from_numpy_dtype(value.dtype)))


def _lines(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
