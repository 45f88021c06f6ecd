"""What a folder in the layout of LeRobot says of itself, v2.0, v2.1 or v3.0: `meta`, and where the
frames are.

v2 has a parquet file for each episode, v3 many episodes in a file. In both, each row is a frame and
names its episode, so frames are found by that (`frames.py`), and what `meta` says is checked.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dcfm_node.data.raw import MAX_DATA_BYTES, readable
from dcfm_node.errors import DataError, UserError
from dcfm_node.files import open_regular, read_bounded

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

VERSIONS = ("v2.0", "v2.1", "v3.0")
INFO = Path("meta", "info.json")
MAX_META_BYTES = 1 << 28
MAX_SIDE = 1 << 16
"""Largest side of a feature."""
MAX_ROWS = 1 << 20
"""Most rows of `meta`: episodes, or tasks."""
NUMBERS = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")
_EPISODE = ("episode_index", "length")
_WRITE = "write the dataset anew with LeRobot"


class Feature(NamedTuple):
    """A column of the frames, as meta/info.json describes it."""

    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...] = ()
    """Of its numbers, in order; () if it has none."""


class Dataset(NamedTuple):
    """A folder of recordings, without the frames.

    Attributes:
        fps: frames a second.
        features: column -> what it holds.
        files: the parquet files of the frames, in order.
        lengths: episode -> number of its frames.
    """

    folder: Path
    fps: float
    features: Mapping[str, Feature]
    files: tuple[Path, ...]
    lengths: Mapping[int, int]

    def tasks(self) -> dict[int, str]:
        """task_index -> text.

        Raises:
            DataError: the file of the tasks is missing or broken.
        """
        rows, file = _rows(self.folder, "tasks")
        found: dict[int, str] = {}
        for number, row in enumerate(rows):
            # Pandas names the column of the texts `task`, or `__index_level_0__`.
            texts = [value for value in row.values() if isinstance(value, str)]
            index = row.get("task_index")
            if type(index) is not int or len(texts) != 1:
                raise DataError(
                    "does not give task_index and the task's text",
                    where=f"{file}: row {number}",
                    fix=_WRITE,
                )
            found[index] = texts[0]
        return found


def is_lerobot(folder: Path) -> bool:
    """Whether a folder has the file that tells of such a dataset."""
    return (folder / INFO).is_file()


def described(folder: Path) -> Dataset:
    """Read `meta` of a dataset.

    Raises:
        DataError: it is not there, is broken, or has another version of the layout.
    """
    file = folder / INFO
    if not is_lerobot(folder):
        raise DataError(
            f"is not a LeRobot dataset: it has no {INFO}",
            where=str(folder),
            fix="set path under [data] to the folder that holds 'meta' and 'data'",
        )
    info = _info(file)
    if (version := info.get("codebase_version")) not in VERSIONS:
        raise DataError(
            f"codebase_version is {version!r}; this node reads {', '.join(VERSIONS)}",
            where=str(file),
            fix="convert the dataset with the tools of LeRobot",
        )
    fps = info.get("fps")
    if not isinstance(fps, int | float) or isinstance(fps, bool) or not 0 < fps < 1e6:
        raise DataError(f"fps is {fps!r}", where=str(file), fix="set the frames a second, above 0")
    files = tuple(sorted((folder / "data").glob("*/*.parquet")))
    if not files:
        raise DataError(
            "holds no frames: there is no file data/*/*.parquet",
            where=str(folder),
            fix="copy the whole dataset, or check path under [data]",
        )
    return Dataset(folder, float(fps), _features(info, file), files, _lengths(folder))


@contextmanager
def parquet(file: Path) -> Iterator["ParquetFile"]:
    """Open a parquet file; errors from reading it name it.

    Raises:
        DataError: it is missing, or not a parquet file.
        UserError: pyarrow is not installed.
    """
    try:
        from pyarrow import ArrowException  # noqa: PLC0415 - an extra, and heavy
        from pyarrow.parquet import ParquetFile  # noqa: PLC0415
    except ImportError as error:
        raise UserError(
            "data in the layout of LeRobot need pyarrow, which is not installed",
            fix="pip install 'dcfm-node[robots]'",
        ) from error
    broken = (ArrowException, ValueError, NotImplementedError)
    with (
        readable(file, *broken, fix="check that the file is whole; " + _WRITE),
        open_regular(file, MAX_DATA_BYTES) as stream,
        ParquetFile(stream) as opened,
    ):
        yield opened


def _info(file: Path) -> Mapping[str, Any]:
    with readable(file, ValueError, RecursionError, fix=_WRITE):
        info = json.loads(read_bounded(file, MAX_META_BYTES))
        if not isinstance(info, dict):
            raise ValueError("it is not a JSON object")
        return info


def _features(info: Mapping[str, Any], file: Path) -> dict[str, Feature]:
    said, found = info.get("features"), {}
    for name, feature in said.items() if isinstance(said, dict) else ():
        shape = feature.get("shape") if isinstance(feature, dict) else None
        if not isinstance(shape, list) or not all(
            type(side) is int and 1 <= side <= MAX_SIDE for side in shape
        ):
            what = f"features.{name} has no shape with sides from 1 to {MAX_SIDE}"
            raise DataError(what, where=str(file), fix=_WRITE)
        found[name] = Feature(str(feature.get("dtype")), tuple(shape), _names(feature, shape))
    if not found:
        raise DataError("describes no features", where=str(file), fix=_WRITE)
    return found


def _names(feature: Mapping[str, Any], shape: list[int]) -> tuple[str, ...]:
    """Names of the numbers: a list, or an object with one list such as {"motors": [...]}."""
    names = feature.get("names")
    if isinstance(names, dict) and len(names) == 1:
        names = next(iter(names.values()))
    fits = isinstance(names, list) and [len(names)] == shape
    return tuple(map(str, names)) if fits and isinstance(names, list) else ()


def _lengths(folder: Path) -> dict[int, int]:
    rows, file = _rows(folder, "episodes")
    found: dict[int, int] = {}
    for number, row in enumerate(rows):
        episode, length = row.get("episode_index"), row.get("length")
        if type(episode) is not int or type(length) is not int or episode in found:
            raise DataError(
                "does not give episode_index, once, and length",
                where=f"{file}: row {number}",
                fix=_WRITE,
            )
        found[episode] = length
    return found


def _rows(folder: Path, kind: str) -> tuple[list[Mapping[str, Any]], Path]:
    """The rows of meta/episodes or meta/tasks, and where they are."""
    lines = folder / "meta" / f"{kind}.jsonl"
    if lines.is_file():  # v2
        with readable(lines, ValueError, RecursionError, fix=_WRITE):
            text = read_bounded(lines, MAX_META_BYTES).decode()
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
            if not all(isinstance(row, dict) for row in rows):
                raise ValueError("a line is not a JSON object")
            return rows, lines
    one = folder / "meta" / f"{kind}.parquet"
    files = [one] if one.is_file() else sorted((folder / "meta" / kind).glob("*/*.parquet"))
    if not files:
        raise DataError("has no such file", where=str(lines), fix="copy the whole dataset")
    found: list[Mapping[str, Any]] = []
    for file in files:
        with parquet(file) as opened:
            # The statistics of episodes are large.
            columns = [n for n in opened.schema_arrow.names if kind == "tasks" or n in _EPISODE]
            for batch in opened.iter_batches(1024, columns=columns, use_threads=False):
                if len(found) + batch.num_rows > MAX_ROWS:
                    raise ValueError(f"meta has more than {MAX_ROWS} {kind}")
                found += batch.to_pylist()
    return found, files[0]
