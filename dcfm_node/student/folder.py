"""Opens a student's folder: who may have made it, and what its signed lineage says of it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dcfm_node.errors import Failed, MissingPackageError, PeerError
from dcfm_node.records.settings import other_versions
from dcfm_node.store.download import unpack
from dcfm_node.store.snapshots import describe
from dcfm_node.store.student_check import (
    StudentFolder,
    differing,
    read_student,
    unreadable,
    with_codec,
)
from dcfm_node.swarm.lineage import Lineage, replayed

DISTRUST = "do not use this model; fetch the student again"


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A student's folder: the path itself, or the content of an archive (`store.download`) in a
    scratch folder, which is deleted at the end.

    Raises:
        Failed: the archive is not one of a student, or a check inside the block failed; the error
            names the archive.
    """
    if not path.is_file():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="dcfm-node-") as scratch:
        inside = Path(scratch)
        unpack(path, inside)
        try:
            yield inside
        except Failed as error:
            raise Failed(
                error.what.replace(scratch, ""), where=str(path), fix=error.fix, more=error.more
            ) from error


def opened(folder: Path) -> tuple[StudentFolder, Lineage]:
    """A student's folder, and what its lineage proves about its model (SPEC 9.1).

    Reads no more bytes of the model than a student of the lineage can have. config.json must match
    the lineage.

    Raises:
        Failed: a file cannot be read, or does not match the signed lineage.
    """
    student = read_student(folder)
    try:
        records = replayed(student.lineage)
        if not records.sizes:
            raise PeerError("it has no student by an elected leader")
        least, most = min(records.sizes), max(records.sizes)
        proven = records.of_model(describe(student.model, least=least, most=most).digest)
    except MissingPackageError as error:
        fix = "install them if you trust their authors and the sender of this folder, and try again"
        raise Failed(f"cannot be verified: {error}", where=str(folder), fix=fix) from error
    except PeerError as error:
        raise Failed(
            f"the lineage is not valid: {error}", where=str(folder), fix=DISTRUST
        ) from error
    except OSError as error:
        raise unreadable(error, folder) from error
    if other := other_versions(proven.view.manifest.plugins):
        what = f"it was made with {'; '.join(other)}, as is installed here"
        raise Failed(what, where=str(folder), fix="install the version that it was made with")
    _require_config(folder, student, proven)
    return with_codec(student, proven.view.manifest), proven


def _require_config(folder: Path, student: StudentFolder, proven: Lineage) -> None:
    """Raises Failed if config.json does not match the lineage."""
    view, digest = proven.view, proven.student.body.snapshot.digest
    if wrong := differing(student, view.manifest, view.scale, digest):
        raise Failed(
            f"config.json ({', '.join(wrong)}): does not match the signed lineage",
            where=str(folder),
            fix=f"{DISTRUST}, which writes all its files again",
        )


def counts_of(proven: Lineage) -> dict[str, dict[tuple[int, ...], int]]:
    """Label counts of the student's teachers, by silo; an ensemble's weights (Eq. 5 of DCFM)."""
    view = proven.view
    authors = [view.expert_entries[entry].author for entry in proven.student.body.teachers]
    weighed = view.weighed(authors)
    return {view.manifest.silo_name(key): dict(counts) for key, counts in weighed.items()}
