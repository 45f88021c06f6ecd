"""Writes samples into a file: a picture, a table or arrays."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from dcfm_node.domains import base as domains
from dcfm_node.domains.space import Space
from dcfm_node.errors import ConfigError, Failed
from dcfm_node.files import replacing
from dcfm_node.records.manifest import Manifest
from dcfm_node.samples import Combination, Samples
from dcfm_node.student.columns import Columns, write_cells, write_csv, write_npz, write_texts

SUFFIXES = (".png", ".csv", ".npz", ".txt")
MAX_TILES, MAX_PANELS = 4_096, 100
"""Most images, or combinations of vectors and series, in a picture: captions take memory."""


def check_form(manifest: Manifest, out: Path, count: int, different: int, *, force: bool) -> None:
    """Check, before anything is drawn, whether samples can be written to a file.

    Args:
        count, different: numbers of samples, and of combinations among them.
        force: whether a file may be replaced.

    Raises:
        ConfigError: the file has another suffix, or a picture would have too many images.
        Failed: the file exists.
        UserError: a package is missing.
    """
    kinds = SUFFIXES if _are_texts(manifest) else SUFFIXES[:-1]
    if out.suffix not in kinds:
        raise ConfigError(
            f"cannot write {out.suffix or 'a file without suffix'}",
            where=str(out),
            fix=f"name a file that ends in one of {', '.join(kinds)}",
        )
    if out.exists() and not force:
        fix = "name another file, or replace this one with --force (in Python: force=True)"
        raise Failed("the file exists already", where=str(out), fix=fix)
    if out.suffix != ".png":
        return
    images = len(manifest.sample_shape) == 3
    if not images:  # matplotlib draws these
        domains.of(manifest).check_packages()
    if (many := count if images else different) > (most := MAX_TILES if images else MAX_PANELS):
        raise ConfigError(
            f"a picture shows {most} {'samples' if images else 'combinations'} at most, and"
            f" {many} are asked for",
            where=str(out),
            fix="draw fewer samples, or of fewer combinations, or write a .csv or .npz file",
        )


def names_columns(manifest: Manifest, out: Path) -> bool:
    """Whether such a file shows the names of the numbers of a sample."""
    numbers = out.suffix == ".csv" or (out.suffix == ".png" and len(manifest.sample_shape) == 1)
    return numbers and not _are_texts(manifest)


def _are_texts(manifest: Manifest) -> bool:
    """Whether samples of the run are texts."""
    none = np.zeros((0, *manifest.sample_shape), np.float32)
    return domains.of(manifest).text(none) is not None


def write(
    out: Path,
    manifest: Manifest,
    samples: Samples,
    novel: tuple[Combination, ...],
    columns: Columns,
) -> None:
    """Write samples, completely or not at all.

    A picture (.png) has the values beside the samples, and marks what is novel. A table (.csv) has
    a column for each number and each attribute; of texts, a column `text`. A text file (.txt) has a
    line for each sample: its values, a tab, the text. Arrays (.npz) are `x`, shape (N,
    *sample_shape), float32, and the values of each attribute as text, shape (N,), under its name.

    Args:
        novel: the combinations that no silo trained on.
        columns: names of the numbers of a sample.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    domain = domains.of(manifest)
    with replacing(out) as scratch:
        if out.suffix == ".png":
            features = columns.names if columns.known else ()
            space = Space(manifest.attributes, novel, features)
            domain.sheet(space, samples).save(scratch, format="PNG")
            return
        if out.suffix == ".csv" and (cells := domain.cells(samples.x)) is not None:
            write_cells(scratch, manifest, cells, samples.c)
            return
        if out.suffix == ".txt" and (texts := domain.text(samples.x)) is not None:
            write_texts(scratch, manifest, texts, samples.c)
            return
        samples = replace(samples, x=domain.measured(samples.x))
        if out.suffix == ".npz":
            write_npz(scratch, manifest, samples)
        else:
            write_csv(scratch, manifest, columns, samples)
