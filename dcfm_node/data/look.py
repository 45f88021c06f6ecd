"""What a silo's files are, found before they are read: their format, labels and shape."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median_low
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dcfm_node.data.frames import Place
from dcfm_node.data.idx import idx_shape
from dcfm_node.data.lerobot import is_lerobot
from dcfm_node.data.listing import found, listed
from dcfm_node.data.npz import npz_headers, npz_labels
from dcfm_node.data.pictures import picture_shape
from dcfm_node.data.raw import readable
from dcfm_node.data.recordings import recordings
from dcfm_node.data.roles import roles
from dcfm_node.data.sheet import sheet_rows
from dcfm_node.data.spec import (
    FileData,
    FolderData,
    IdxData,
    LerobotData,
    NpzData,
    TableData,
)
from dcfm_node.errors import DataError

USUAL = (8, 16, 24, 32)
"""Sides of pictures that a CPU can train on."""
FEW_FLOATS = 20
"""Most values of labels that are stored as floating point numbers."""
_IMAGES = re.compile(r"(.*)images(.)idx3(-ubyte)?(\.gz)?")
_FORMATS = (
    "give an .npz archive, a .csv table of numbers, of texts or of pictures' names, a folder of"
    " pictures, the images of an IDX pair, a .txt file of texts, a robot's recordings or episodes,"
    " or radiographs (docs/data.md)"
)


class Look(NamedTuple):
    """What files hold, before they are read."""

    spec: FileData
    shape: tuple[int, ...]
    keys: tuple[str, ...]
    """What may be attributes, by their names in the files."""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """Of the features, if the files have names."""
    places: tuple[Place, ...] = ()
    """Of the channels, in a robot's recordings; () for other files."""
    fps: float = 0.0
    """Frames a second of a robot's recordings."""
    assumed: str = ""
    """Which columns of a table are attributes by rule; else empty."""


def look(path: Path, chosen: Sequence[str], names: str | None) -> Look:
    """What a path holds. The arguments are those of `survey`.

    Raises:
        DataError: it holds none of the formats, or cannot be read.
    """
    path = path.resolve()
    if names and not path.is_dir():
        fix = "remove --names; it is for pictures in a folder"
        raise DataError("is not a folder", where=str(path), fix=fix)
    if not path.exists():
        raise DataError("there is no such file or folder", where=str(path), fix=_FORMATS)
    if path.is_dir() and not names and is_lerobot(path):
        return _look_at_recordings(path)
    if path.is_dir() and (names or not (files := _data_files(path))):
        return _look_at_pictures(FolderData(format="folder", path=path, names=names))
    if path.is_dir():
        return look(files[0], chosen, names)
    if path.suffix.lower() == ".npz":
        return _look_at_npz(path)
    if path.suffix.lower() == ".csv":
        return _look_at_table(path, chosen)
    if pair := _idx_pair(path):
        shape = idx_shape(path, 3)
        return Look(pair, (1, *shape[1:]), ("label",))
    raise DataError("is not data that can be read", where=str(path), fix=_FORMATS)


def _data_files(folder: Path) -> list[Path]:
    """The data file in a folder, if it does not hold pictures itself.

    Raises:
        DataError: there are several.
    """
    with readable(folder, fix="check the disk"):
        files = sorted(file for file in folder.iterdir() if file.is_file())
    known = [f for f in files if f.suffix.lower() in (".npz", ".csv") or _idx_pair(f)]
    if len(known) > 1:
        raise DataError(
            f"holds {len(known)} data files: {', '.join(file.name for file in known)}",
            where=str(folder),
            fix="name one of them; a node has one",
        )
    return known


def _idx_pair(images: Path) -> IdxData | None:
    """The settings for an IDX file of images, if its labels lie beside it."""
    found = _IMAGES.fullmatch(images.name)
    if not found:
        return None
    before, dot, byte, packed = (part or "" for part in found.groups())
    labels = images.with_name(f"{before}labels{dot}idx1{byte}{packed}")
    return IdxData(format="idx", path=images, labels=labels)


def _look_at_npz(file: Path) -> Look:
    spec = NpzData(format="npz", path=file)
    headers = npz_headers(spec)
    if "x" not in headers:
        there = ", ".join(sorted(headers)) or "none at all"
        raise DataError(
            f"has no array 'x', only {there}", where=str(file), fix="store the samples as x (N, …)"
        )
    many, *shape = headers["x"][0] or (0,)
    if not 1 <= len(shape) <= 3:
        raise DataError(
            f"x has shape {list(headers['x'][0])}",
            where=str(file),
            fix="store vectors (N, features), series (N, channels, length) or pictures"
            " (N, channels, height, width)",
        )
    labels = {name: header for name, header in headers.items() if name not in ("x", "c")}
    may = [name for name, (size, _) in labels.items() if size[:1] == (many,) and len(size) < 3]
    keys = tuple(
        name for name, column in npz_labels(spec, may).items() if _label(column, labels[name][1])
    )
    notes = [
        f"{file}: the array {name!r}, {dtype} {list(size)}, is not used: labels are one integer or"
        " text per sample, or one-hot"
        for name, (size, dtype) in labels.items()
        if name not in keys
    ]
    if not keys and "c" in headers and headers["c"][0][:1] == (many,):
        keys = tuple(f"c{i}" for i in range(math.prod(headers["c"][0][1:])))
        notes.append(f"{file}: name the columns of the array c in run.toml, in place of c0, c1, …")
    return Look(spec, tuple(shape), keys, tuple(notes))


def _label(column: NDArray[Any], stored: np.dtype[Any]) -> bool:
    """Whether an array can be labels: integers or text, or few whole floats."""
    few = stored.kind != "f" or len(np.unique(column)) <= FEW_FLOATS
    return column.ndim == 1 and column.dtype.kind in "iuU" and few


def _look_at_table(file: Path, chosen: Sequence[str]) -> Look:
    _, row = next(sheet_rows(file), (0, {}))
    if "file" in row:
        return _look_at_pictures(FolderData(format="folder", path=file.parent, index=file))
    found = roles(file, chosen)
    spec = TableData(format="csv", path=file, ignore=found.ignored)
    shape = (len(found.numbers),)
    return Look(
        spec, shape, found.attributes, found.notes, names=found.numbers, assumed=found.assumed
    )


def _look_at_recordings(path: Path) -> Look:
    found = recordings(path)
    spec = LerobotData(format="lerobot", path=path)
    return Look(
        spec,
        (len(found.places), found.horizon),
        found.keys,
        found.notes,
        names=tuple(f"{place} {place.name}".rstrip() for place in found.places),
        places=found.places,
        fps=found.fps,
    )


def _look_at_pictures(spec: FolderData) -> Look:
    items = listed(spec, spec.index) if spec.index is not None else found(spec.path, spec.names)[0]
    if not items:
        raise DataError("holds no picture", where=str(spec.path), fix=_FORMATS)
    sizes = Counter(picture_shape(item.image) for item in items)
    channels = max(shape[0] for shape in sizes)
    height, width = _size(sizes)
    warnings = []
    if other := sum(number for shape, number in sizes.items() if shape[1:] != (height, width)):
        spec = spec.model_copy(update={"resize": True})
        warnings.append(
            f"{spec.path}: {other} of {len(items)} pictures are not {height} x {width} and are"
            " resampled (resize = true)"
        )
    keys = dict.fromkeys(key for item in items for key in item.labels if key != "file")
    return Look(spec, (channels, height, width), tuple(keys), warnings=tuple(warnings))


def _size(sizes: Counter[tuple[int, int, int]]) -> tuple[int, int]:
    """Height and width of most pictures; where they have no size in common, a usual one that half
    of them reach, so that several sites likely find the same."""
    ((shape, number),) = sizes.most_common(1)
    if 2 * number >= sizes.total():
        return shape[1], shape[2]
    height, width = (
        max((side for side in USUAL if side <= median_low(given)), default=USUAL[0])
        for given in zip(*(shape[1:] for shape in sizes.elements()), strict=True)
    )
    return height, width


def unlabelled(path: Path, spec: FileData, notes: tuple[str, ...]) -> DataError:
    """The error where no labels were found, with what to do for this format."""
    fix = "store an array (N,) of text or integers for each attribute beside x"
    if isinstance(spec, LerobotData):
        fix = "see docs/robots.md: make the node without --data, and give a rule for each attribute"
    if isinstance(spec, TableData):
        fix = "add a column for each attribute, or say which columns they are: --attributes A,B"
    if isinstance(spec, FolderData):
        fix = (
            "name folders by attribute and value, such as 'shape=cross' or"
            " 'shape=cross,colour=red'; or list the pictures in a CSV file with the column 'file'"
            f" and one per attribute; or say how their names give labels{_pattern(spec)}"
        )
    return DataError("gives no attribute", where=str(path), fix=fix, more=notes)


def _pattern(spec: FolderData) -> str:
    """An example of `names` for the first picture."""
    first = found(spec.path)[0][0].image.relative_to(spec.path).as_posix()
    words = iter(("{first}", "{second}", "{third}"))
    parts = re.split(r"([/_ -])", first.rpartition(".")[0])
    named = [next(words, "*") if re.search("[^0-9]", p) else "*" for p in parts[::2]]
    marks = [*parts[1::2], ""]
    pattern = "".join(name + mark for name, mark in zip(named, marks, strict=True))
    fitting = pattern if "{" in pattern else "{first}_{second}_*"
    return f", such as --names '{fitting}' for {first}, with your attributes' names in the braces"
