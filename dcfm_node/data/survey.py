"""What a silo's files hold, found from their path alone: for `dcfm-node init --data`."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dcfm_node.data.alike import first_alike, repeated
from dcfm_node.data.features import odd_features
from dcfm_node.data.frames import read_episodes
from dcfm_node.data.labels import encode, plain
from dcfm_node.data.layout import Layout, layout
from dcfm_node.data.look import look, unlabelled
from dcfm_node.data.names import MAX_VALUE, alike, normal, ordered
from dcfm_node.data.raw import Raw, arranged
from dcfm_node.data.recordings import Ranged, ranged
from dcfm_node.data.scale import odd_scale
from dcfm_node.data.source import checked_numbers, counts, read
from dcfm_node.data.spec import (
    AttributeSource,
    EpisodeSource,
    FileData,
    FolderData,
    LerobotData,
)
from dcfm_node.errors import DataError
from dcfm_node.records.manifest import Attribute
from dcfm_node.samples import Labels, Stored, unit

LARGE = 3 * 32 * 32
"""Numbers of a sample above which judging takes long."""
RANGES = (
    "an episode is read at {} evenly spaced times, and the ranges of its channels are those of"
    " these data, a little wider. 'run merge' joins those of all sites. If you know the robot's"
    " limits, write them as low and high under [[domain.channel]] of run.toml"
)
TOLD = 8
"""Combinations that warnings name."""
FEW = 20
"""Fewer samples of a combination than this get a warning."""
IDLE = "it has another value for nearly every sample"


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
        chose: which columns of a table were taken for attributes by rule, and how to change it.
        attributes: (name, values that occur), in the order of the files.
        combinations: (a value per attribute, number of samples), sorted.
        columns: names of the numbers of a sample, in order, if the files have names.
        warnings: what the operator should look at.
        notes: facts that need no action.
        fps, channels: what run.toml needs under [domain] for a robot's recordings; else 0 and ().
        categories: (name, values that occur) of each column of a table of categories; else ().
    """

    spec: FileData
    sample_shape: tuple[int, ...]
    assumed: str
    chose: str
    samples: int
    attributes: tuple[tuple[str, tuple[str, ...]], ...]
    combinations: tuple[tuple[tuple[str, ...], int], ...]
    features: tuple[Feature, ...]
    columns: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    fps: float = 0.0
    channels: tuple[Ranged, ...] = ()
    categories: tuple[tuple[str, tuple[str, ...]], ...] = ()


def survey(path: Path, chosen: Sequence[str] = (), names: str | None = None) -> Survey:
    """Read a silo's files, and find the shape of a sample and the attributes.

    Args:
        chosen: names of the attributes in the files; () leaves it to the rules.
        names: how names of pictures give labels, such as `{shape}_{colour}_*`.

    Raises:
        DataError: the path holds none of the formats; a file cannot be read; nothing in it can be
            an attribute.
    """
    there = look(path, chosen, names)
    if wrong := [name for name in chosen if normal(name) not in map(normal, there.keys)]:
        fix = f"--attributes may name {', '.join(there.keys) or 'none'}"
        raise DataError(f"has no labels {wrong[0]!r}", where=str(path), fix=fix)
    if not there.keys:
        raise unlabelled(path, there.spec, there.notes)
    columns = attribute_names(tuple(chosen) or there.keys, path)
    if isinstance(there.spec, LerobotData):
        raw = read_episodes(there.spec, columns, there.places, there.shape[1])
    else:
        raw = read(there.spec, columns, tuple(columns), there.shape)
    raw = replace(raw, columns={name: plain(column) for name, column in raw.columns.items()})
    x = checked_numbers(raw)
    values = {name: values_of(raw, name) for name in columns}
    unused = [name for name in columns if not divides(values[name], len(x))]
    if chosen and unused:
        raise DataError(
            f"{unused[0]!r} cannot be an attribute: {IDLE}",
            where=raw.file,
            fix="leave it out of --attributes: a column of numbers is then one of the sample's",
        )
    if not (kept := [name for name in columns if name not in unused]):
        raise unlabelled(path, there.spec, (*there.notes, *(idle(name, raw) for name in unused)))
    attributes = tuple((name, ordered(values[name])) for name in kept)
    source = EpisodeSource if there.places else AttributeSource
    sources = {n: source(column=columns[n]) for n in kept if columns[n] != n}
    spec = there.spec.model_copy(update={"attributes": sources})
    labels = np.stack([_encoded(raw, name, names, spec) for name, names in attributes], axis=1)
    found = Layout(there.shape) if there.places else layout(x, labels, there.names)
    x = arranged(x, found.shape)
    combinations = tuple(
        (tuple(names[i] for (_, names), i in zip(attributes, label, strict=True)), number)
        for label, number in counts(labels)
    )
    again = repeated(labels, first_alike(x), raw.row)
    features = ranges(x, there.names)
    return Survey(
        spec,
        found.shape,
        found.assumed or (RANGES.format(found.shape[1]) if there.places else ""),
        there.assumed,
        len(x),
        attributes,
        combinations,
        features,
        () if there.places else there.names,
        (
            *there.warnings,
            *_large(there.spec, math.prod(found.shape)),
            *_odd_numbers(x, there.names),
            *odd_labels(attributes, combinations),
        ),
        (*there.notes, *(idle(name, raw) for name in unused), *raw.notes, *filter(None, [again])),
        there.fps,
        tuple(
            ranged(place, one.least, one.greatest)
            for place, one in zip(there.places, features, strict=False)
        ),
    )


def attribute_names(keys: Sequence[str], path: Path) -> dict[str, str]:
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


def values_of(raw: Raw, name: str) -> set[str]:
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


def divides(values: set[str], samples: int) -> bool:
    """Whether values can be an attribute's: they recur, as a patient's number does not."""
    return len(values) <= min(1_000, max(2, samples // 2))


def idle(name: str, raw: Raw) -> str:
    return f"{raw.file}: {name!r} is not used: {IDLE}"


def _encoded(raw: Raw, name: str, values: tuple[str, ...], spec: FileData) -> Labels:
    attribute = Attribute.model_construct(name=name, values=values)
    source = spec.attributes.get(name, AttributeSource())
    return encode(attribute, source, raw.columns[name], raw.row)


def ranges(x: Stored, names: Sequence[str]) -> tuple[Feature, ...]:
    """The ranges of vectors' features, or of the channels of series and pictures."""
    word = "feature" if x.ndim == 2 else "channel"
    named = (
        names if names and len(names) == x.shape[1] else [f"{word} {i}" for i in range(x.shape[1])]
    )
    parts = (unit(x[:, i]).astype(np.float64) for i in range(x.shape[1]))
    return tuple(
        Feature(name, *(float(f(part)) for f in (np.min, np.max, np.mean, np.std)))
        for name, part in zip(named, parts, strict=True)
    )


def _large(spec: FileData, numbers: int) -> Iterator[str]:
    if numbers > LARGE:
        way = "store smaller ones"
        if isinstance(spec, FolderData):
            way = "set a smaller sample_shape in run.toml, and resize = true under [data]"
        yield (
            f"samples of {numbers} numbers take hours to train on and to judge; {way}, at every"
            " site"
        )


def _odd_numbers(x: Stored, names: Sequence[str]) -> Iterator[str]:
    """What is odd about the samples, if the run's settings are the packaged ones."""
    if x.ndim == 2 and x.dtype != np.uint8:
        yield from (
            f"{what}; {fix}" for what, fix in odd_features(unit(x), standardised=True, names=names)
        )
    elif x.ndim == 4:  # runs on pictures do not standardise
        yield from filter(None, [odd_scale(x)])


def odd_labels(
    attributes: tuple[tuple[str, tuple[str, ...]], ...],
    combinations: tuple[tuple[tuple[str, ...], int], ...],
) -> Iterator[str]:
    for name, values in attributes:
        if len(values) == 1:
            yield (
                f"{name!r} is always {values[0]!r} here; a run needs its values at the other sites"
            )
        yield from (
            f"{name} has {', '.join(map(repr, group))}, which differ only in case, blanks or"
            f" hyphens and count as {len(group)} values; if they are one, write it alike"
            for group in alike(values)
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
    for number, label in few[:TOLD]:
        yield f"only {number} {'sample is' if number == 1 else 'samples are'} {label}"
    if len(few) > TOLD:
        yield f"{len(few) - TOLD} more combinations have fewer than {FEW} samples"
