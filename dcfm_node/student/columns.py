"""Samples as a CSV table that reads like the site's own: named numbers, labels in words."""

import csv
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dcfm_node.config.node import load_node
from dcfm_node.config.pairing import RUN_FILE
from dcfm_node.config.run import features_of
from dcfm_node.data.source import feature_names
from dcfm_node.data.spec import BuiltinData, DataSpec, expecting
from dcfm_node.domains.base import Cells
from dcfm_node.errors import ConfigError, DataError, UserError
from dcfm_node.records.manifest import Manifest
from dcfm_node.samples import Labels, Samples, unit
from dcfm_node.store.student import COLUMNS
from dcfm_node.store.student_check import read_columns
from dcfm_node.words import cell, plain

NAMED = "named as in"
SHOWN = 6
"""Most names that `Columns.summary` lists."""


class Columns(NamedTuple):
    """Names of the numbers of a sample, in order, and where the names come from, in words.

    No record of a run holds such names. Each site orders its columns by their names, so its own
    table has them, and run.toml where the sites merged it.
    """

    names: tuple[str, ...]
    origin: str

    @property
    def known(self) -> bool:
        """Whether somebody gave these names."""
        return self.origin.startswith(NAMED)

    @property
    def summary(self) -> str:
        """Both in a few words, for people."""
        first, more = ", ".join(self.names[:SHOWN]), len(self.names) - SHOWN
        return f"columns   {first}{f' and {more} more' if more > 0 else ''}: {self.origin}"


def agreed(config: Path, manifest: Manifest, folder: Path | None = None) -> Columns | None:
    """The names that samples of a run have at all its sites; None where no file tells.

    Args:
        config: a node.toml; the run.toml beside it counts first, if it is of this run.
        folder: of a fetched student, which may tell.

    Raises:
        Failed: the folder's names cannot be read, or do not fit the run.
    """
    file: Path = config.with_name(RUN_FILE)
    names = features_of(file, manifest)
    if not names and folder is not None:
        file, names = folder / COLUMNS, read_columns(folder, manifest)
    return Columns(names, f"{NAMED} {file}") if names else None


def columns_of(config: Path, manifest: Manifest, folder: Path | None = None) -> Columns:
    """The names that are `agreed`, as the table of a site's node.toml has them; if none are, that
    table's own; else x1, x2, ….

    Args:
        config: a node.toml; it need not exist.
        folder: as for `agreed`.

    Raises:
        Failed: as for `agreed`.
    """
    known = agreed(config, manifest, folder)
    try:
        data = expecting(load_node(config).data, known.names if known is not None else ())
        names = feature_names(data, manifest)
        file = str(config) if isinstance(data, BuiltinData) else str(data.path)
        why = f"the samples in {file} have no names"
    except UserError as error:
        names, why = (), error.lines[0]
    if not names and known is not None:
        return known
    if {attribute.name for attribute in manifest.attributes} & {*names}:
        names, why = (), f"{file} has a column of numbers with the name of an attribute"
    if names:
        return Columns(names, f"{NAMED} {file}")
    return numbered(manifest, f"numbered ({why}); a site's table names them: --config NODE.TOML")


def require_agreed(config: Path, data: DataSpec, manifest: Manifest, folder: Path) -> None:
    """Check that a site's table has the columns that the student of a folder was trained on.

    Raises:
        DataError: it has others, or cannot be read.
        Failed: as for `agreed`.
    """
    if (known := agreed(config, manifest, folder)) is None:
        return
    try:
        feature_names(expecting(data, known.names), manifest)
    except DataError as error:
        error.more = (f"the student's samples are {known.origin}",)
        raise


def numbered(manifest: Manifest, origin: str) -> Columns:
    """x1, x2, …"""
    return Columns(tuple(f"x{k + 1}" for k in range(math.prod(manifest.sample_shape))), origin)


def named(manifest: Manifest, names: Sequence[str]) -> Columns:
    """Names that the caller gives, in the order of the numbers of a sample.

    Raises:
        ConfigError: there are too many or too few, or one is that of an attribute or occurs twice.
    """
    many = math.prod(manifest.sample_shape)
    taken = {attribute.name for attribute in manifest.attributes}
    if len(names) != many or len({*names} | taken) != many + len(taken):
        what = f"{len(names)} names are given"
        fix = f"give {many} different names, other than {', '.join(sorted(taken))}"
        raise ConfigError(what, where="columns", fix=fix)
    return Columns(tuple(names), f"{NAMED} the call")


def write_csv(out: Path, manifest: Manifest, columns: Columns, samples: Samples) -> None:
    """Write a row for each sample: its numbers (float32, as many digits as they have), then the
    value of each attribute in words. Text is made fit for a spreadsheet (`words.cell`)."""
    attributes = manifest.attributes
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        names = (*columns.names, *(attribute.name for attribute in attributes))
        writer.writerow(map(cell, names))
        numbers = unit(samples.x).reshape(len(samples), -1)
        for x, c in zip(numbers, _values(manifest, samples.c), strict=True):
            writer.writerow([*map(str, x), *map(cell, c)])


def write_texts(out: Path, manifest: Manifest, texts: Sequence[str], c: Labels) -> None:
    """Write a line for each text: the values of its label c (N, n), a tab, the text."""
    with out.open("w", encoding="utf-8", newline="") as file:
        for text, own in zip(texts, _values(manifest, c), strict=True):
            file.write(f"{plain(', '.join(own))}\t{plain(text)}\n")


def write_cells(out: Path, manifest: Manifest, cells: Cells, c: Labels) -> None:
    """Write a table of words, with a column for each attribute of the labels c (N, n)."""
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        names = (*cells.names, *(attribute.name for attribute in manifest.attributes))
        writer.writerow(map(cell, names))
        for row, own in zip(cells.rows, _values(manifest, c), strict=True):
            writer.writerow(map(cell, (*row, *own)))


def _values(manifest: Manifest, c: Labels) -> list[list[str]]:
    """The values of labels (N, n) in words."""
    return [
        [attribute.values[index] for attribute, index in zip(manifest.attributes, row, strict=True)]
        for row in c.tolist()
    ]


def write_npz(out: Path, manifest: Manifest, samples: Samples) -> None:
    """Write `x`, and the values of each attribute as text (N,) under its name, as `init --data` and
    a node read them. An attribute named x or c, which archives use otherwise, gets "-label" added.
    """
    arrays = {"x": samples.x}
    for attribute, c in zip(manifest.attributes, samples.c.T, strict=True):
        name = f"{attribute.name}-label" if attribute.name in ("x", "c") else attribute.name
        arrays[name] = np.asarray(attribute.values, np.str_)[c]
    # numpy.savez has parameters of its own, whose names an attribute may have.
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)
