"""A silo's private data, checked against the run and split into training and hold-out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from dcfm_node.data.alike import Firsts, first_alike, repeated
from dcfm_node.data.features import odd_features
from dcfm_node.data.folder import read_folder
from dcfm_node.data.idx import read_idx
from dcfm_node.data.labels import binned, constant, encode, from_one
from dcfm_node.data.npz import read_npz
from dcfm_node.data.oddities import DataWarning
from dcfm_node.data.raw import Raw, check_shapes
from dcfm_node.data.scale import PART, odd_scale
from dcfm_node.data.sheet import read_sheet, sheet_features
from dcfm_node.data.spec import (
    AttributeSource,
    BuiltinData,
    DataSpec,
    EpisodesData,
    EpisodeSource,
    FileData,
    IdxData,
    LerobotData,
    NpzData,
    RadiographsData,
    TableData,
    TextData,
)
from dcfm_node.errors import DataError
from dcfm_node.records.manifest import Attribute, Manifest
from dcfm_node.samples import Floats, Labels, Samples, Stored, unit

Counts = tuple[tuple[tuple[int, ...], int], ...]


@dataclass(frozen=True, slots=True)
class SiloData:
    """A silo's private data D_k in two parts.

    Attributes:
        counts: (combination, number of training samples), sorted; what `join` publishes.
        digest: of all samples and labels, hex. Training resumes only from a checkpoint of the same
            data.
        warnings: what looks wrong although training is possible.
        notes: facts for the operator that need no action.
        together: of the training and of the hold-out samples, the same integer for samples that
            belong together, such as of one patient; None if all are independent.
    """

    train: Samples
    holdout: Samples
    counts: Counts
    digest: str = ""
    warnings: tuple[DataWarning, ...] = ()
    notes: tuple[str, ...] = ()
    together: tuple[Firsts, Firsts] | None = None


Reader = Callable[[FileData, Mapping[str, str], tuple[str, ...], tuple[int, ...]], Raw]
"""Reads a silo's files, as `read` does."""


def load(spec: FileData, manifest: Manifest, reader: Reader | None = None) -> SiloData:
    """Read, check and split a silo's files; the same input gives the same split.

    Args:
        reader: of the files; default `read`.

    Raises:
        DataError: a file, field or attribute is missing; a label is outside the vocabulary; the
            shape is not the run's; values are not finite; there are fewer than two samples.
    """
    raw, c = _files(spec, manifest, reader or read)
    return _prepared(raw, c, spec, manifest)


def checked(samples: Samples, spec: BuiltinData, manifest: Manifest) -> SiloData:
    """Check and split samples that a domain made.

    Raises:
        DataError: their shape is not the run's, or there are fewer than two.
    """
    name = f"builtin {spec.name}"
    raw = Raw(samples.x, {}, f"{name}: row {{}}".format, name)
    return prepared(raw, samples.c, spec, manifest)


def prepared(raw: Raw, c: Labels, spec: DataSpec, manifest: Manifest) -> SiloData:
    """Check and split samples that were read otherwise, with labels c (N, n).

    Raises:
        DataError: their shape is not the run's, there are fewer than two, or values are not finite.
    """
    check_shapes(raw.x.shape, {}, manifest.sample_shape, raw.file)
    return _prepared(raw, c, spec, manifest)


def _prepared(raw: Raw, c: Labels, spec: DataSpec, manifest: Manifest) -> SiloData:
    many = manifest.path.alphabet
    x = checked_tokens(raw, many) if many else checked_numbers(raw)
    _check_feasible(raw, c, manifest)
    # Domains draw with replacement, and their results are published: keep their repeats.
    first = np.arange(len(x)) if isinstance(spec, BuiltinData) else first_alike(x)
    side = first if raw.together is None else raw.together
    held = holdout_mask(c, spec.holdout, manifest.method.seed, side)
    alike = _all_alike(first)
    scale = "" if many or (alike and manifest.standardises) else odd_scale(x, raw.names)
    warnings = _warnings(raw.file, scale, alike, _from_one(spec, manifest, raw))
    if (
        manifest.standardises
    ):  # by others' moments, where this silo has too few samples to state any
        warnings = tuple(replace(w, unscaled=w.code == "data-scale") for w in warnings)
    if not many and not alike and x.ndim == 2 and x.dtype != np.uint8:
        odd = odd_features(unit(x), manifest.standardises, raw.names)
        told = (DataWarning("data-features", f"{raw.file}: {what}", fix) for what, fix in odd)
        warnings = (*warnings, *told)
    warnings = (*warnings, *raw.warnings)
    again = repeated(c, first, raw.row)
    notes = (*raw.notes, *([f"{raw.file}: {again}"] if again else []))
    train, holdout = (Samples(x[rows], c[rows]) for rows in (~held, held))
    digest = _digest(train.x, train.c, holdout.x, holdout.c)
    together = None if raw.together is None else (raw.together[~held], raw.together[held])
    return SiloData(train, holdout, counts(train.c), digest, warnings, notes, together)


def _check_feasible(raw: Raw, c: Labels, manifest: Manifest) -> None:
    """Check that the run lists the combination of every sample, if it lists any."""
    listed, attributes = frozenset(manifest.feasible), manifest.attributes
    for row, label in enumerate(map(tuple, c.tolist())) if listed else ():
        if label not in listed:
            pairs = zip(attributes, label, strict=True)
            shown = ", ".join(f"{attribute.name}={attribute.values[v]}" for attribute, v in pairs)
            raise DataError(
                f"shows {shown[:400]}, which the run does not list as feasible",
                where=raw.row(row),
                fix="leave the sample out, or add the combination to feasible in run.toml",
            )


def counts(c: Labels) -> Counts:
    """How often each combination occurs in labels (N, n), sorted by combination."""
    labels, numbers = np.unique(c, axis=0, return_counts=True)
    return tuple(
        (tuple(label), number)
        for label, number in zip(labels.tolist(), numbers.tolist(), strict=True)
    )


def _digest(*arrays: NDArray[Any]) -> str:
    found = blake3()
    for array in arrays:
        found.update(repr(array.shape).encode()).update(np.ascontiguousarray(array).data.cast("B"))
    return found.hexdigest()


def holdout_mask(
    c: Labels, fraction: float, seed: int, first: Firsts | None = None
) -> NDArray[np.bool_]:
    """Which of N samples are held out, (N,): the fraction, rounded, at least one and never all.

    The only sample of a combination stays in training while others can be held out, so that
    training sees every combination. Equal samples go to the same side, unless all are equal.
    """
    alone = np.unique(first) if first is not None else np.arange(len(c))
    if first is not None and 1 < len(alone) < len(c):
        held = np.zeros(len(c), np.bool_)
        held[alone] = holdout_mask(c[alone], fraction, seed)
        return held[first]
    order = np.random.default_rng(seed).permutation(len(c))
    _, firsts = np.unique(c[order], axis=0, return_index=True)
    spare = np.delete(order, firsts)
    wanted = min(max(1, round(fraction * len(c))), max(1, len(spare)))
    held = np.zeros(len(c), np.bool_)
    held[(spare if len(spare) else order)[:wanted]] = True
    return held


def _all_alike(first: Firsts) -> str:
    return "" if first.any() else "all samples are equal, so the hold-out measures nothing"


def _warnings(file: str, scale: str, alike: str, labels: Sequence[str]) -> tuple[DataWarning, ...]:
    """Warnings about a file's scale, equal samples and labels; empty texts give none.

    Args:
        scale: what is odd, then "; ", then what to do.
    """
    what, _, fix = scale.partition("; ")
    found = [DataWarning("data-scale", f"{file}: {what}", fix)] * bool(scale)
    found += [DataWarning("data-alike", f"{file}: {alike}")] * bool(alike and not scale)
    found += [DataWarning("data-labels", f"{file}: {odd}") for odd in labels if odd]
    return tuple(found)


def _from_one(spec: DataSpec, manifest: Manifest, raw: Raw) -> list[str]:
    sources = (
        {} if isinstance(spec, BuiltinData | EpisodesData | RadiographsData) else spec.attributes
    )
    return [
        from_one(attribute, sources.get(attribute.name, AttributeSource()), column)
        for attribute in manifest.attributes
        if (column := raw.columns.get(attribute.name)) is not None
    ]


def _files(spec: FileData, manifest: Manifest, reader: Reader) -> tuple[Raw, Labels]:
    sources = _sources(spec, manifest)
    raw = reader(spec, _columns(sources), tuple(sources), manifest.sample_shape)
    c = [
        _labels(attribute, source, raw)
        for attribute, source in zip(manifest.attributes, sources.values(), strict=True)
    ]
    return raw, np.stack(c, axis=1)


def _labels(attribute: Attribute, source: AttributeSource, raw: Raw) -> Labels:
    if source.constant is not None:
        return constant(attribute, source.constant, len(raw.x))
    if isinstance(source, EpisodeSource) and source.edges:
        return binned(attribute, source.edges, raw.columns[attribute.name])
    return encode(attribute, source, raw.columns[attribute.name], raw.row)


def feature_names(spec: DataSpec, manifest: Manifest) -> tuple[str, ...]:
    """Names of the numbers of a sample, in the order of a sample; () if the data have no names.

    Raises:
        DataError: a table cannot be read, or does not fit the run.
    """
    if not isinstance(spec, TableData):
        return ()
    return sheet_features(spec, _columns(_sources(spec, manifest)), manifest.sample_shape)


def read(
    spec: FileData, columns: Mapping[str, str], order: tuple[str, ...], shape: tuple[int, ...]
) -> Raw:
    """What a silo's files hold.

    Args:
        columns: attribute name -> its name in the files, for attributes that are not constant.
        order: all attributes' names, in the run's order.
        shape: the run's sample_shape.

    Raises:
        DataError: the files do not fit, or cannot be read.
    """
    if isinstance(spec, NpzData):
        return read_npz(spec, columns, order, shape)
    if isinstance(spec, IdxData):
        return read_idx(spec, columns, shape)
    if isinstance(spec, TableData):
        return read_sheet(spec, columns, shape)
    if isinstance(spec, TextData):
        raise DataError(
            "holds texts, and the run does not say how they become tokens",
            where=str(spec.path),
            fix='run.toml needs [domain] kind = "text"',
        )
    if isinstance(spec, LerobotData):
        raise DataError(
            "is in the layout of LeRobot, and the run does not say which columns make a sample",
            where=str(spec.path),
            fix='run.toml needs [domain] kind = "trajectories" with its channels (docs/robots.md)',
        )
    return read_folder(spec, columns, shape)


def _sources(spec: FileData, manifest: Manifest) -> dict[str, AttributeSource]:
    """Attribute name -> its source, in the manifest's order."""
    names = [attribute.name for attribute in manifest.attributes]
    for name in spec.attributes:
        if name not in names:
            raise DataError(
                f"the run has no attribute {name!r}",
                where=f"data.attributes.{name}",
                fix=f"choose one of {', '.join(names)}",
            )
    given: Mapping[str, AttributeSource] = spec.attributes
    return {name: given.get(name, AttributeSource()) for name in names}


def _columns(sources: Mapping[str, AttributeSource]) -> dict[str, str]:
    """Attribute name -> its name in the files, for attributes that are not constant."""
    return {name: s.column or name for name, s in sources.items() if s.constant is None}


def checked_tokens(raw: Raw, many: int) -> Floats:
    """x as whole numbers from 0 to many - 1, in float32.

    Raises:
        DataError: x holds anything else.
    """
    x: NDArray[Any] = raw.x
    if x.dtype.kind not in "iuf":
        raise DataError(
            f"tokens are stored as {x.dtype}",
            where=raw.file,
            fix="store whole numbers (astype('int64'))",
        )
    flat = x.reshape(len(x), -1)
    bad = np.flatnonzero(~((flat >= 0) & (flat < many) & (flat == np.floor(flat))).all(axis=1))
    if bad.size:
        raise DataError(
            f"x holds something else than whole numbers from 0 to {many - 1} ({bad.size} samples)",
            where=raw.row(int(bad[0])),
            fix="repair these samples, or give run.toml's [path] as many tokens as there are",
        )
    return x.astype(np.float32)


def checked_numbers(raw: Raw) -> Stored:
    """x in the dtype that is kept; copied only if the dtype differs.

    Raises:
        DataError: x does not hold floating point numbers or uint8, or not all are finite.
    """
    x: NDArray[Any] = raw.x
    if x.dtype == np.uint8:
        return x
    if x.dtype.kind != "f":
        raise DataError(
            f"samples are stored as {x.dtype}",
            where=raw.file,
            fix="store floating point numbers (astype('float32')), or uint8 for pixels",
        )
    with np.errstate(over="ignore"):
        floats = x.astype(np.float32, copy=False)
    rows = np.array_split(floats.reshape(len(x), -1), max(1, x.size // PART))
    bad = np.flatnonzero(np.concatenate([~np.isfinite(part).all(axis=1) for part in rows]))
    if bad.size:
        raise DataError(
            f"x holds NaN or infinite values ({bad.size} samples)",
            where=raw.row(int(bad[0])),
            fix="remove or repair these samples",
        )
    return floats
