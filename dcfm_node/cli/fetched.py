"""Students in folders: `student fetch`, which replaces an earlier one, and `student rollback`."""

import shlex
from pathlib import Path

from dcfm_node.api.document import RunName
from dcfm_node.api.students import Fetched, FolderStudents, RolledBack
from dcfm_node.cli.options import codec_file, state_folder
from dcfm_node.cli.recorded import student_files_of
from dcfm_node.errors import Failed, PeerError
from dcfm_node.records.manifest import Manifest
from dcfm_node.store.card import model_card
from dcfm_node.store.snapshots import describe
from dcfm_node.store.student import CONFIG, MODEL, previous_of, roll_back, write_student
from dcfm_node.store.student_check import read_student, unreadable
from dcfm_node.student.columns import columns_of
from dcfm_node.student.facts import facts_of, standing_of
from dcfm_node.student.folder import opened
from dcfm_node.swarm.lineage import claimed
from dcfm_node.swarm.lineage import verify as verify_lineage
from dcfm_node.wire.envelope import run_id


def fetched(config: Path, out: Path, digest: str, *, force: bool) -> Fetched:
    """Write a student's folder.

    Args:
        digest: the start of the student's digest; empty for the newest endorsed student.
        force: replace any student that the folder holds.

    Raises:
        UserError: there is no such student, the node does not hold it, or the folder holds
            something else.
    """
    found, offline = student_files_of(config, digest or "latest")
    lineage, new = bytes.fromhex(found.lineage), found.student.digest
    try:
        proven = verify_lineage(lineage, bytes.fromhex(new))
    except PeerError as error:
        raise Failed(f"this node's own lineage of it is not valid: {error}") from error
    manifest, latest = proven.view.manifest, not digest
    old = _replaced(out, new, manifest, latest, force)
    went_back = latest and not force and old not in (None, new) and _held(previous_of(out)) == new
    if not went_back:
        columns = columns_of(config, manifest)
        write_student(
            out,
            model=state_folder(config) / found.path,
            manifest=manifest,
            scale=proven.view.scale,
            lineage=lineage,
            card=model_card(manifest, facts_of(proven)),
            codec=codec_file(config) if manifest.codec.digest is not None else None,
            digest=bytes.fromhex(new),
            columns=columns.names if columns.known else (),
        )
    return Fetched(
        **dict(found.student),
        folder=str(out),
        written=not went_back,
        offline=offline,
        replaced=old,
    )


def fetched_text(found: Fetched) -> str:
    """What `student fetch` did, as text."""
    out, new, old = found.folder, found.digest, found.replaced
    if not found.written and old is not None:
        return (
            f"{out} keeps student {old[:12]}: you went back to it from the newest, {new[:12]}"
            f"\nto use the newest again: dcfm-node student rollback {shlex.quote(out)}, or --force"
        )
    text = f"wrote {out}: student {new[:12]} of round {found.round}"
    if old == new:
        text = f"{out} holds student {new[:12]} already; its lineage is now up to date"
    elif old is not None:
        text += f", in place of {old[:12]}, which 'student rollback' goes back to"
    if found.offline:
        text += "\nnote: no daemon answered, so this is what the node's files had when it stopped"
    return f"{text}\nnext: dcfm-node student verify {shlex.quote(out)}"


def rolled_back(folder: Path) -> RolledBack:
    """Go back to the student that a folder held before. It is verified first.

    Raises:
        Failed: none is kept, or it is not valid; nothing was changed.
    """
    current, previous = _held(folder), previous_of(folder)
    if current is None:
        raise Failed("not a student: no model", where=str(folder), fix="name a student's folder")
    if _held(previous) is None:
        raise Failed(
            f"no earlier student is kept in {previous}",
            where=str(folder),
            fix="'student list' shows all; fetch one by its digest, with --force",
        )
    _, proven = opened(previous)
    roll_back(folder)
    return RolledBack(
        folder=str(folder),
        digest=proven.student.body.snapshot.digest.hex(),
        run=RunName(name=proven.view.manifest.name, id=proven.run.hex()),
        round=proven.student.body.round,
        standing=standing_of(proven),
        previous=current,
    )


def rolled_back_text(found: RolledBack) -> str:
    """What `student rollback` did, as text."""
    return (
        f"{found.folder} holds student {found.digest[:12]} of round {found.round} again,"
        f" {found.standing} when it was fetched"
        f"\nkept  {found.previous[:12]}: a second rollback returns to it"
    )


def folder_students(folder: Path) -> FolderStudents:
    """Which students a folder and the one beside it hold. Only the models' digests are checked.

    Raises:
        Failed: the folder holds no student.
    """
    if (current := _held(folder)) is None:
        raise Failed("not a student: no model", where=str(folder), fix="name a student's folder")
    return FolderStudents(folder=str(folder), current=current, previous=_held(previous_of(folder)))


def _held(folder: Path) -> str | None:
    """Digest (hex) of the model in a student's folder; None if there is none."""
    if not (folder / CONFIG).exists() or not (folder / MODEL).exists():
        return None
    try:
        return describe(folder / MODEL).digest.hex()
    except OSError as error:
        raise unreadable(error, folder) from error


def _replaced(out: Path, new: str, manifest: Manifest, latest: bool, force: bool) -> str | None:
    """Digest (hex) of the student in a folder, which may be replaced; None without a student.

    Args:
        new: digest of the new student, hex.

    Raises:
        Failed: the folder holds a student that is not an earlier one of this run, and --force is
            not given.
    """
    try:
        old = _held(out)
    except Failed:
        if force:
            return "a model that cannot be read"
        raise
    if old is None:
        return None
    if force or old == new:
        return old
    try:
        before = claimed(read_student(out).lineage)
    except PeerError as error:
        fix = "name another folder with --out, or replace it with --force"
        raise Failed(
            f"holds a student whose lineage is unreadable: {error}", where=str(out), fix=fix
        ) from error
    runs = [run_id(manifest)]
    if manifest.continues is not None:
        runs.append(manifest.continues.run)
    if not latest or run_id(before) not in runs:
        raise Failed(
            f"holds another student: {old[:12]} of run {before.name} {run_id(before).hex()[:8]}",
            where=str(out),
            fix="name another folder with --out, or replace it with --force",
        )
    return old
