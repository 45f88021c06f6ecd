"""A student's folder, which can be copied, read and loaded without a daemon.

model.safetensors    the weights, byte for byte the published snapshot
config.json          the run's manifest, and its description of samples and network
README.md            the model card
lineage.msgpack      the signed records. `student verify` checks the model against them, and
                     config.json and the card, which are derived from them
"""

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from dcfm_node.errors import Failed
from dcfm_node.files import read_bounded, sync
from dcfm_node.records.manifest import Manifest
from dcfm_node.store.snapshots import describe
from dcfm_node.words import plain

MODEL, CONFIG, CARD, LINEAGE = "model.safetensors", "config.json", "README.md", "lineage.msgpack"
FILES = (MODEL, CONFIG, CARD, LINEAGE)
FORMAT = "dcfm-node/student/1"
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
        others: names of the first few other files in the folder.
    """

    model: Path
    config: bytes
    lineage: bytes
    card: bytes | None
    others: Sequence[str]


def write_student(
    folder: Path, *, model: Path, manifest: Manifest, lineage: bytes, card: str
) -> None:
    """Write a student's folder, completely or not at all, in place of an earlier student.

    Args:
        model: the snapshot to copy.

    Raises:
        Failed: the folder holds other files, or cannot be written.
    """
    target = folder.resolve()
    _refuse_foreign(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
            new, old = Path(scratch) / "new", Path(scratch) / "old"
            new.mkdir()
            shutil.copyfile(model, new / MODEL)
            config = _config(manifest, describe(new / MODEL).digest)
            (new / CONFIG).write_bytes(_json(config))
            (new / CARD).write_text(card, encoding="utf-8")
            (new / LINEAGE).write_bytes(lineage)
            for name in FILES:
                sync(new / name)
            _swap(new, old, target)
            sync(target.parent)
    except OSError as error:
        raise Failed(
            f"cannot write the student: {error.strerror}",
            where=str(error.filename or folder),
            fix="choose a folder that you may write, on a disk with space for the model",
        ) from error


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
    return StudentFolder(folder / MODEL, config, lineage, card, _others(folder))


def _others(folder: Path) -> list[str]:
    """Names of the first few other files beside a student."""
    try:
        with os.scandir(folder) as listed:
            others = (entry.name for entry in listed if entry.name not in FILES)
            return sorted(islice(others, MAX_TOLD))
    except OSError as error:
        raise unreadable(error, folder) from error


def unreadable(error: OSError, folder: Path) -> Failed:
    """The error for a student's file that cannot be read."""
    return Failed(
        f"cannot read the student: {error.strerror or error}",
        where=str(error.filename or folder),
        fix=f"check that you may read the folder, or {_FETCH}",
    )


def differing_files(
    student: StudentFolder, manifest: Manifest, digest: bytes, card: str | None
) -> list[str]:
    """Names of the files that differ from what the lineage gives, byte for byte, and the parts.

    Args:
        manifest, digest: of the run and of the model, from the verified lineage.
        card: the model card that the lineage gives; None skips that file.
    """
    right = _config(manifest, digest)
    found = []
    if student.config != _json(right):
        said = _parsed(student.config)
        said = said if isinstance(said, dict) else {}
        keys = [key for key in right if key not in said or said[key] != right[key]]
        keys += [plain(str(key)) for key in islice(said.keys() - right.keys(), MAX_TOLD)]
        found.append(f"{CONFIG} ({', '.join(keys) or 'spelled in another way'})")
    if card is not None and student.card not in (None, card.encode()):
        found.append(CARD)
    return found


def _parsed(config: bytes) -> Any:
    """The parsed JSON; None if it is not JSON."""
    try:
        return json.loads(config)
    except (ValueError, RecursionError):
        return None


def _json(document: dict[str, Any]) -> bytes:
    return f"{json.dumps(document, indent=2)}\n".encode()


def _config(manifest: Manifest, digest: bytes) -> dict[str, Any]:
    document = json.loads(json.dumps(manifest.model_dump(), default=bytes.hex))
    return {
        "format": FORMAT,
        "name": manifest.name,
        "digest": digest.hex(),
        "sample_shape": document["sample_shape"],
        "attributes": {item.name: list(item.values) for item in manifest.attributes},
        "network": document["network"],
        "manifest": document,
    }


def _refuse_foreign(target: Path) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise Failed("this is a file", where=str(target), fix="name a folder to write to")
    found = sorted(path.name for path in target.iterdir())
    foreign = [name for name in found if name not in FILES]
    if foreign or (found and found != sorted(FILES)):
        what = f"it holds {foreign[0]!r}" if foreign else "files are missing"
        raise Failed(
            f"the folder holds more than a student, or less: {what}",
            where=str(target),
            fix="name a new or empty folder, or one that holds a student and nothing else",
        )


def _swap(new: Path, old: Path, target: Path) -> None:
    """Move `new` to `target`, and the previous content of `target` to `old`.

    No call renames a folder over one with files, so for an instant `target` does not exist. A kill
    in that instant leaves both folders in the scratch folder beside it.
    """
    replaces = target.exists()
    if replaces:
        target.rename(old)
    try:
        new.rename(target)
    except OSError:
        if replaces:
            old.rename(target)
        raise
