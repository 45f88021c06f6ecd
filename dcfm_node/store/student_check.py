"""Reads a student's folder, and compares it with what its signed lineage gives."""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from dcfm_node.errors import Failed
from dcfm_node.files import read_bounded
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.moments import Scale
from dcfm_node.store.student import (
    CARD,
    CODEC,
    COLUMNS,
    CONFIG,
    FILES,
    FORMAT,
    LINEAGE,
    MODEL,
    check_codec,
    config_of,
    json_bytes,
)
from dcfm_node.words import plain

_FETCH = "fetch the student again: dcfm-node student fetch --latest --out DIR"

MAX_LINEAGE_BYTES = 32 << 20
"""The largest lineage that a daemon sends: in hex it fills an answer (`api.client`)."""
MAX_TEXT_BYTES = 4 << 20
"""Most bytes of config.json and of the model card, with names and reasons of all silos."""
MAX_TOLD = 8
"""Most names of one kind in a message."""


@dataclass(frozen=True, slots=True)
class StudentFolder:
    """The content of a student folder, not verified.

    Attributes:
        model: path of the weights.
        card: None if there is none.
        codec: a codec's file; None if there is none.
        others: names of the first few other files in the folder.
    """

    model: Path
    config: bytes
    lineage: bytes
    card: bytes | None
    codec: Path | None
    others: Sequence[str]


def read_student(folder: Path) -> StudentFolder:
    """Read a student's folder, without its weights.

    Raises:
        Failed: a file is missing, not regular, too large, or cannot be read; or the folder has
            another format.
    """
    try:
        found = [name for name in FILES if os.path.lexists(folder / name)]
        if missing := [name for name in (MODEL, CONFIG, LINEAGE) if name not in found]:
            raise Failed(f"not a student: no {', '.join(missing)}", where=str(folder), fix=_FETCH)
        config = read_bounded(folder / CONFIG, MAX_TEXT_BYTES)
        lineage = read_bounded(folder / LINEAGE, MAX_LINEAGE_BYTES)
        card = read_bounded(folder / CARD, MAX_TEXT_BYTES) if CARD in found else None
    except OSError as error:
        raise unreadable(error, folder) from error
    said = _parsed(config)
    form = said.get("format") if isinstance(said, dict) else None
    if form != FORMAT:
        what = "not JSON" if said is None else f"the format is {form!r:.80}, expected {FORMAT!r}"
        fix = f"read it with the version of dcfm-node that wrote it, or {_FETCH}"
        raise Failed(what, where=str(folder / CONFIG), fix=fix)
    codec, others = _others(folder)
    return StudentFolder(folder / MODEL, config, lineage, card, codec, others)


def read_columns(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    """Names of the numbers of a sample, in order; () if the folder has none. Nothing proves them.

    Raises:
        Failed: the file cannot be read, or does not name the run's numbers.
    """
    try:
        found = _parsed(read_bounded(folder / COLUMNS, MAX_TEXT_BYTES))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise unreadable(error, folder) from error
    taken, many = {one.name for one in manifest.attributes}, math.prod(manifest.sample_shape)
    if (
        not isinstance(found, list)
        or len(found) != many
        or not all(isinstance(name, str) and name and plain(name) == name for name in found)
        or len({*found} | taken) != many + len(taken)
    ):
        what = f"does not hold {many} different names, other than {', '.join(sorted(taken))}"
        fix = "delete this file: samples then have numbered columns"
        raise Failed(what, where=str(folder / COLUMNS), fix=fix)
    return tuple(found)


def with_codec(student: StudentFolder, manifest: Manifest) -> StudentFolder:
    """The same, with its codec's file checked. If the run has none, that file is another file.

    Raises:
        Failed: the file is not the run's codec, or cannot be read.
    """
    if student.codec is None:
        return student
    if manifest.codec.digest is None:
        return replace(student, codec=None, others=[student.codec.name, *student.others])
    check_codec(student.codec, manifest)
    return student


def _others(folder: Path) -> tuple[Path | None, list[str]]:
    """A codec's file, and names of the first few other files beside a student."""
    codec: Path | None = None
    others: list[str] = []
    try:
        with os.scandir(folder) as listed:
            for entry in listed:
                if entry.name in FILES:
                    continue
                if codec is None and Path(entry.name).stem == CODEC:
                    codec = folder / entry.name
                elif len(others) < MAX_TOLD:
                    others.append(entry.name)
    except OSError as error:
        raise unreadable(error, folder) from error
    return codec, sorted(others)


def unreadable(error: OSError, folder: Path) -> Failed:
    """The error for a student's file that cannot be read."""
    return Failed(
        f"cannot read the student: {error.strerror or error}",
        where=str(error.filename or folder),
        fix=f"check that you may read the folder, or {_FETCH}",
    )


def differing(
    student: StudentFolder,
    manifest: Manifest,
    scale: Scale | None,
    digest: bytes,
) -> list[str]:
    """Names of the parts of config.json that differ from what the lineage gives, byte for byte.

    Args:
        manifest, scale, digest: of the run and of the model, from the verified lineage.
    """
    right = config_of(manifest, scale, digest)
    if student.config != json_bytes(right):
        said = _parsed(student.config)
        said = said if isinstance(said, dict) else {}
        keys = [key for key in right if key not in said or said[key] != right[key]]
        keys += [plain(str(key)) for key in islice(said.keys() - right.keys(), MAX_TOLD)]
        return keys or ["spelled in another way"]
    return []


def _parsed(config: bytes) -> Any:
    """The parsed JSON; None if it is not JSON."""
    try:
        return json.loads(config)
    except (ValueError, RecursionError):
        return None
