"""A student's folder, which can be copied, read and loaded without a daemon.

model.safetensors    the weights, byte for byte the published snapshot
config.json          the run's manifest, and its description of samples and network
README.md            the model card
lineage.msgpack      the signed records. `student verify` checks the model against them, and
                     config.json and the card, which are derived from them
columns.json         names of the numbers of a sample, if the run.toml or the table of the site that
                     fetched it has any. No record holds them, so nothing proves them
codec.*              the codec's file, if the run has one; its suffix is that of the node's copy

The student that a fetch replaced stays beside the folder, in DIR.previous, for `student rollback`.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dcfm_node.errors import Failed
from dcfm_node.files import exchange, open_regular, sync
from dcfm_node.records.base import MAX_SNAPSHOT_BYTES
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.moments import Scale
from dcfm_node.store.snapshots import describe

MODEL, CONFIG, CARD, LINEAGE = "model.safetensors", "config.json", "README.md", "lineage.msgpack"
FILES = (MODEL, CONFIG, CARD, LINEAGE)
CODEC, COLUMNS = "codec", "columns.json"
FORMAT = "dcfm-node/student/1"


def write_student(
    folder: Path,
    *,
    model: Path,
    manifest: Manifest,
    scale: Scale | None,
    lineage: bytes,
    card: str,
    codec: Path | None = None,
    digest: bytes | None = None,
    columns: Sequence[str] = (),
) -> None:
    """Write a student's folder, completely or not at all, in place of an earlier student. An
    earlier one that differs is kept in `previous_of(folder)`, in place of any before it.

    Args:
        model: the snapshot to copy.
        digest: that the copy must have; None does not compare it.
        scale: that its training data were standardised by, by its lineage.
        codec: the codec's file to copy, if the run has one.
        columns: names of the numbers of a sample, in order, if they are known.

    Raises:
        Failed: the folder holds other files, or cannot be written; or the model or the codec's file
            is not the one that is named.
    """
    target = folder.resolve()
    for kept in (target, previous_of(target)):
        _refuse_foreign(kept)
    if codec is not None:
        check_codec(codec, manifest)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
            new = Path(scratch) / "new"
            new.mkdir()
            shutil.copyfile(model, new / MODEL)
            found = describe(new / MODEL).digest
            if digest not in (None, found):
                raise Failed(
                    "this node's copy of the student is damaged: its digest is another",
                    where=str(model),
                    fix="start the daemon, which fetches it again, or fetch it at another site",
                )
            config = config_of(manifest, scale, found)
            (new / CONFIG).write_bytes(json_bytes(config))
            (new / CARD).write_text(card, encoding="utf-8")
            (new / LINEAGE).write_bytes(lineage)
            if codec is not None:
                shutil.copyfile(codec, new / f"{CODEC}{codec.suffix}")
            if columns:
                (new / COLUMNS).write_bytes(json_bytes([*columns]))
            for path in new.iterdir():
                sync(path)
            _swap(new, target)
            sync(target.parent)
    except OSError as error:
        raise Failed(
            f"cannot write the student: {error.strerror}",
            where=str(error.filename or folder),
            fix="choose a folder that you may write, on a disk with space for the model",
        ) from error


def check_codec(file: Path, manifest: Manifest) -> None:
    """Compare a file with the codec that the manifest names by its digest.

    Raises:
        Failed: it is another file, or cannot be read.
    """
    wanted = manifest.codec.digest or b""
    fix = f"get the codec's file with SHA-256 {wanted.hex()} from whoever set up the run"
    try:
        with open_regular(file, MAX_SNAPSHOT_BYTES) as opened:
            found = hashlib.file_digest(opened, "sha256").digest()
    except OSError as error:
        what = f"the codec's file cannot be read: {error.strerror}"
        raise Failed(what, where=str(file), fix=fix) from error
    if found != wanted:
        raise Failed(f"not the run's codec: SHA-256 {found.hex()}", where=str(file), fix=fix)


def json_bytes(document: dict[str, Any] | list[str]) -> bytes:
    """A document as config.json spells it."""
    return f"{json.dumps(document, indent=2)}\n".encode()


def config_of(manifest: Manifest, scale: Scale | None, digest: bytes) -> dict[str, Any]:
    """The content of config.json, for the model of this digest.

    Args:
        scale: a sample is mean + deviation * z of a drawn z, before the codec decodes it; None if
            it is z.
    """
    document = json.loads(json.dumps(manifest.model_dump(), default=bytes.hex))
    return {
        "format": FORMAT,
        "name": manifest.name,
        "digest": digest.hex(),
        "sample_shape": document["sample_shape"],
        "attributes": {item.name: list(item.values) for item in manifest.attributes},
        "network": document["network"],
        "scale": None if scale is None else scale.model_dump(mode="json"),
        "manifest": document,
    }


def _refuse_foreign(target: Path) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise Failed("this is a file", where=str(target), fix="name a folder to write to")
    found = sorted(path.name for path in target.iterdir())
    others = [name for name in found if name not in FILES and name != COLUMNS]
    foreign = [name for name in others if Path(name).stem != CODEC] or others[1:]
    if foreign or (found and not {*FILES} <= {*found}):
        what = f"it holds {foreign[0]!r}" if foreign else "files are missing"
        raise Failed(
            f"the folder holds more than a student, or less: {what}",
            where=str(target),
            fix="name a new or empty folder, or one that holds a student and nothing else",
        )


def _swap(new: Path, target: Path) -> None:
    """Move `new` to `target`, and the student that was there to `previous_of(target)`, unless it
    has the same model; then it is left in `new`.

    No call renames a folder over one with files, so two folders swap their names. A kill between
    two steps leaves the replaced folder in the scratch folder beside the target.
    """
    if not target.exists():
        new.rename(target)
        return
    exchange(new, target)
    try:
        _keep(new, target)
    except OSError:
        exchange(new, target)
        raise


def _keep(old: Path, target: Path) -> None:
    """Keep a replaced student beside the target, unless it has the same model or cannot be read."""
    previous = previous_of(target)
    try:
        if describe(old / MODEL) == describe(target / MODEL):
            return
    except OSError:
        return
    if previous.exists():
        exchange(old, previous)
    else:
        old.rename(previous)


def previous_of(folder: Path) -> Path:
    """Where the student is that a folder held before."""
    target = folder.resolve()
    return target.with_name(f"{target.name}.previous")


def roll_back(folder: Path) -> None:
    """Swap a student's folder with the one before it. A second call swaps them back.

    Raises:
        Failed: a folder cannot be renamed.
    """
    target = folder.resolve()
    try:
        exchange(target, previous_of(target))
        sync(target.parent)
    except OSError as error:
        fix = "check that you may write the folder that holds both"
        what = f"cannot go back: {error.strerror}"
        raise Failed(what, where=str(folder), fix=fix) from error
