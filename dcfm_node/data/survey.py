"""What a silo's files hold, found from their path alone: for `dcfm-node init --data`."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median_low
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dcfm_node.data.alike import first_alike, repeated
from dcfm_node.data.features import odd_features
from dcfm_node.data.idx import idx_shape
from dcfm_node.data.labels import encode, plain
from dcfm_node.data.layout import layout
from dcfm_node.data.listing import found, listed
from dcfm_node.data.names import normal, ordered
from dcfm_node.data.npz import npz_headers, npz_labels
from dcfm_node.data.pictures import picture_shape
from dcfm_node.data.raw import Raw, arranged, readable
from dcfm_node.data.roles import roles
from dcfm_node.data.sheet import sheet_rows
from dcfm_node.data.source import checked_numbers, counts, odd_scale, read
from dcfm_node.data.spec import (
    AttributeSource,
    FileData,
    FolderData,
    IdxData,
    NpzData,
    TableData,
)
from dcfm_node.errors import DataError
from dcfm_node.records.manifest import Attribute
from dcfm_node.samples import Labels, Stored, unit

LARGE_PICTURE = 64
"""Pixels a side above which training takes long."""
USUAL = (8, 16, 24, 32, 48, 64)
"""Sides of pictures."""
MAX_VALUE = 64
"""Most characters of an attribute's value."""
TOLD = 8
"""Combinations that warnings name."""
FEW = 20
"""Fewer samples of a combination than this get a warning."""
FEW_FLOATS = 20
"""Most values of labels that are stored as floating point numbers."""
_IMAGES = re.compile(r"(.*)images(.)idx3(-ubyte)?(\.gz)?")
_FORMATS = (
    "give an .npz archive, a .csv table of numbers or of pictures' names, a folder of pictures, or"
    " the images of an IDX pair"
)


class Feature(NamedTuple):
    """The range of one feature of vectors, or of one channel of series and pictures."""

    name: str
    least: float
    greatest: float
    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class Survey:
    """What a silo's files hold.

    Attributes:
        spec: what node.toml needs under [data].
        sample_shape: what run.toml needs.
        assumed: how its numbers are read, and how to change it; empty if nothing is in doubt.
        attributes: (name, values that occur), in the order of the files.
        combinations: (a value per attribute, number of samples), sorted.
        warnings: what the operator should look at.
        notes: facts that need no action.
    """

    spec: FileData
    sample_shape: tuple[int, ...]
    assumed: str
    samples: int
    attributes: tuple[tuple[str, tuple[str, ...]], ...]
    combinations: tuple[tuple[tuple[str, ...], int], ...]
    features: tuple[Feature, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


class _Look(NamedTuple):
    """What files hold, before they are read."""

    spec: FileData
    shape: tuple[int, ...]
    keys: tuple[str, ...]
    """What may be attributes, by their names in the files."""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """Of the features, if the files have names."""


def survey(path: Path, chosen: Sequence[str] = (), names: str | None = None) -> Survey:
    """Read a silo's files, and find the shape of a sample and the attributes.

    Args:
        chosen: names of the attributes in the files; () leaves it to the rules.
        names: how names of pictures give labels, such as `{shape}_{colour}_*`.

    Raises:
        DataError: the path holds none of the formats; a file cannot be read; nothing in it can be
            an attribute.
    """
    look = _look(path, chosen, names)
    if wrong := [name for name in chosen if normal(name) not in map(normal, look.keys)]:
        there = ", ".join(look.keys) or "none"
        fix = f"--attributes may name {there}"
        raise DataError(f"has no labels {wrong[0]!r}", where=str(path), fix=fix)
    if not look.keys:
        raise _unlabelled(path, look.spec, look.notes)
    columns = _named(tuple(chosen) or look.keys, path)
    raw = read(look.spec, columns, tuple(columns), look.shape)
    raw = replace(raw, columns={name: plain(column) for name, column in raw.columns.items()})
    x = checked_numbers(raw)
    values = {name: _values(raw, name) for name in columns}
    idle = [name for name in columns if not _divides(values[name], len(x))]
    if not (kept := [name for name in columns if name not in idle]):
        raise _unlabelled(path, look.spec, (*look.notes, *(_idle(name, raw) for name in idle)))
    attributes = tuple((name, ordered(values[name])) for name in kept)
    sources = {n: AttributeSource(column=columns[n]) for n in kept if columns[n] != n}
    spec = look.spec.model_copy(update={"attributes": sources})
    labels = np.stack([_encoded(raw, name, names, spec) for name, names in attributes], axis=1)
    found = layout(x, labels, look.names)
    x = arranged(x, found.shape)
    combinations = tuple(
        (tuple(names[i] for (_, names), i in zip(attributes, label, strict=True)), number)
        for label, number in counts(labels)
    )
    again = repeated(labels, first_alike(x), raw.row)
    return Survey(
        spec,
        found.shape,
        found.assumed,
        len(x),
        attributes,
        combinations,
        _features(x, look.names),
        (*look.warnings, *_odd_numbers(x), *_odd_labels(attributes, combinations)),
        (*look.notes, *(_idle(name, raw) for name in idle), *raw.notes, *filter(None, [again])),
    )


def _look(path: Path, chosen: Sequence[str], names: str | None) -> _Look:
    path = path.resolve()
    if names and not path.is_dir():
        fix = "remove --names; it is for pictures in a folder"
        raise DataError("is not a folder", where=str(path), fix=fix)
    if not path.exists():
        raise DataError("there is no such file or folder", where=str(path), fix=_FORMATS)
    if path.is_dir() and (names or not (files := _data_files(path))):
        return _look_at_pictures(FolderData(format="folder", path=path, names=names))
    if path.is_dir():
        return _look(files[0], chosen, names)
    if path.suffix.lower() == ".npz":
        return _look_at_npz(path)
    if path.suffix.lower() == ".csv":
        return _look_at_table(path, chosen)
    if pair := _idx_pair(path):
        shape = idx_shape(path, 3)
        return _Look(pair, (1, *shape[1:]), ("label",))
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


def _look_at_npz(file: Path) -> _Look:
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
    return _Look(spec, tuple(shape), keys, tuple(notes))


def _label(column: NDArray[Any], stored: np.dtype[Any]) -> bool:
    """Whether an array can be labels: integers or text, or few whole floats."""
    few = stored.kind != "f" or len(np.unique(column)) <= FEW_FLOATS
    return column.ndim == 1 and column.dtype.kind in "iuU" and few


def _look_at_table(file: Path, chosen: Sequence[str]) -> _Look:
    _, row = next(sheet_rows(file), (0, {}))
    if "file" in row:
        return _look_at_pictures(FolderData(format="folder", path=file.parent, index=file))
    found = roles(file, chosen)
    spec = TableData(format="csv", path=file, ignore=found.ignored)
    shape = (len(found.numbers),)
    return _Look(spec, shape, found.attributes, found.notes, names=found.numbers)


def _look_at_pictures(spec: FolderData) -> _Look:
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
    if max(height, width) > LARGE_PICTURE:
        warnings.append(
            f"{spec.path}: pictures of {height} x {width} take long to train on; for smaller ones"
            " set sample_shape in run.toml, and resize = true under [data] at every site"
        )
    keys = dict.fromkeys(key for item in items for key in item.labels if key != "file")
    return _Look(spec, (channels, height, width), tuple(keys), warnings=tuple(warnings))


def _size(sizes: Counter[tuple[int, int, int]]) -> tuple[int, int]:
    """Height and width of most pictures; where they have no size in common, a usual one that most
    pictures reach, so that several sites likely find the same."""
    ((shape, number),) = sizes.most_common(1)
    if 2 * number >= sizes.total():
        return shape[1], shape[2]
    height, width = (
        max((side for side in USUAL if side <= median_low(given)), default=USUAL[0])
        for given in zip(*(shape[1:] for shape in sizes.elements()), strict=True)
    )
    return height, width


def _named(keys: tuple[str, ...], path: Path) -> dict[str, str]:
    """Attribute name -> its name in the files."""
    columns: dict[str, str] = {}
    for key in keys:
        name = re.sub(r"[^a-z0-9_-]+", "-", key.lower()).strip("-_")[:32] or "attribute"
        if name in columns:
            raise DataError(
                f"{columns[name]!r} and {key!r} would both be the attribute {name!r}",
                where=str(path),
                fix="rename one of them; names use a-z, 0-9, _ and -",
            )
        columns[name] = key
    return columns


def _values(raw: Raw, name: str) -> set[str]:
    """The values of a column, as text."""
    column = [normal(str(value)) for value in raw.columns[name].tolist()]
    different = set(column)
    for wrong in sorted(value for value in different if not 0 < len(value) <= MAX_VALUE):
        raise DataError(
            f"{name!r} is {wrong[:MAX_VALUE]!r}",
            where=raw.row(column.index(wrong)),
            fix=f"a value has 1 to {MAX_VALUE} characters",
        )
    return different


def _divides(values: set[str], samples: int) -> bool:
    """Whether values can be an attribute's: they recur, as a patient's number does not."""
    return len(values) <= min(1_000, max(2, samples // 2))


def _idle(name: str, raw: Raw) -> str:
    return f"{raw.file}: {name!r} is not used: it has another value for nearly every sample"


def _unlabelled(path: Path, spec: FileData, notes: tuple[str, ...]) -> DataError:
    fix = "store an array (N,) of text or integers for each attribute beside x"
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


def _encoded(raw: Raw, name: str, values: tuple[str, ...], spec: FileData) -> Labels:
    attribute = Attribute.model_construct(name=name, values=values)
    source = spec.attributes.get(name, AttributeSource())
    return encode(attribute, source, raw.columns[name], raw.row)


def _features(x: Stored, names: Sequence[str]) -> tuple[Feature, ...]:
    """The ranges of vectors' features, or of the channels of series and pictures."""
    word = "feature" if x.ndim == 2 else "channel"
    named = names if x.ndim == 2 and names else [f"{word} {i}" for i in range(x.shape[1])]
    parts = (unit(x[:, i]).astype(np.float64) for i in range(x.shape[1]))
    return tuple(
        Feature(name, *(float(f(part)) for f in (np.min, np.max, np.mean, np.std)))
        for name, part in zip(named, parts, strict=True)
    )


def _odd_numbers(x: Stored) -> Iterator[str]:
    """What is odd about the samples, if the run's settings are the packaged ones."""
    if x.ndim == 2 and x.dtype != np.uint8:
        yield from (f"{what}; {fix}" for what, fix in odd_features(unit(x), standardised=True))
    elif x.ndim == 4:  # runs on pictures do not standardise
        yield from filter(None, [odd_scale(x)])


def _odd_labels(
    attributes: tuple[tuple[str, tuple[str, ...]], ...],
    combinations: tuple[tuple[tuple[str, ...], int], ...],
) -> Iterator[str]:
    for name, values in attributes:
        if len(values) == 1:
            yield (
                f"{name!r} is always {values[0]!r} here; a run needs its values at the other sites"
            )
    if len(attributes) == 1:
        ((name, values),) = attributes
        parts = {len(re.split(r"[_/,+ -]+", value)) for value in values}
        several = f": {values[0]!r} looks like several values" if parts not in ({1}, {0}) else ""
        yield (
            f"{name!r} is the only attribute, so there is nothing to compose{several}; give each"
            " attribute a label of its own, and label at least two"
        )
    few = [(number, ", ".join(label)) for label, number in combinations if number < FEW]
    yield from (f"only {number} samples are {label}" for number, label in few[:TOLD])
    if len(few) > TOLD:
        yield f"{len(few) - TOLD} more combinations have fewer than {FEW} samples"
