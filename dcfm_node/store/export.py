"""A whole node in one file, to move it to another machine: settings, keys and state.

    MAGIC                               names the format and its version
    1 byte                              1 if what follows is encrypted (`sealing`), else 0
    8 bytes, 32 bytes                   length and SHA-256 of the list
    list                                JSON: name, size and SHA-256 of every file, in order
    files                               one after the other

A file to import is hostile until checked. Names are of a fixed form, so nothing is written outside
the folder that the operator chose; there are no links and no modes. All sizes are bounded and known
before the first byte is written, and every byte is hashed before the node's folder appears.

Two machines with one key would sign two histories. So an export leaves the file `moved` in the old
state folder, and a node with that file does not start.
"""

import hashlib
import os
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, BinaryIO

from pydantic import Field, ValidationError

from dcfm_node.errors import ConfigError, Failed
from dcfm_node.files import PIECE_BYTES, open_regular, replacing, sync
from dcfm_node.records.base import Model, Name
from dcfm_node.store.archive import DATABASE
from dcfm_node.store.lock import FILE_NAME as LOCK
from dcfm_node.store.lock import MOVED
from dcfm_node.store.sealing import SealedReader, SealingWriter, Sink, Source, Wrong

MAGIC = b"dcfm-node state 1\n"
PART = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}"
NAME = rf"^(node\.toml|run\.toml|peers\.toml|codec|(keys|state)(/{PART}){{1,3}})$"
MAX_FILES, MAX_LIST_BYTES, MAX_BYTES = 65_536, 16 << 20, 1 << 42
LEFT = {LOCK, MOVED, "control.sock", f"{DATABASE}-shm", "worker.log", "partial"}
"""What a new machine makes anew."""


class ExportedFile(Model):
    """One file."""

    name: Annotated[str, Field(pattern=NAME)]
    size: Annotated[int, Field(ge=0, le=MAX_BYTES)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Contents(Model):
    """The list at the head of an exported node."""

    silo: Name
    version: Annotated[str, Field(max_length=64)]
    """Of the software that wrote it."""
    exported_ms: int
    """Unix time."""
    files: Annotated[tuple[ExportedFile, ...], Field(max_length=MAX_FILES)]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


def files_in(folder: Path, name: str) -> tuple[dict[str, Path], list[Path]]:
    """The files of a folder that move, by the name they get, and those whose names or kind do not
    fit.

    Args:
        name: "keys" or "state".
    """
    found: dict[str, Path] = {}
    strange: list[Path] = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if _made_anew(name / inside):
            continue
        if path.is_symlink() or not path.is_dir():
            moved = f"{name}/{inside.as_posix()}"
            if path.is_symlink() or not path.is_file() or not re.fullmatch(NAME, moved):
                strange.append(path)
            else:
                found[moved] = path
    return found, strange


def _made_anew(name: Path) -> bool:
    """Whether a file of an export, by its name there, is one that does not move."""
    return len(name.parts) > 1 and (name.parts[1] in LEFT or name.suffix == ".tmp")


def export(
    target: Path,
    files: Mapping[str, Path],
    *,
    silo: str,
    version: str,
    now_ms: int,
    passphrase: str | None,
    state: Path,
) -> Contents:
    """Write a node into a file that must not exist, and mark its state folder as moved.

    The state folder must be locked. The mark is on the disk before the file has its name, so that
    there is no instant at which both machines could run. Once the file has its name, the mark stays
    whatever fails.

    Args:
        files: path of each file, by its name in the export.
        passphrase: encrypts the file; None leaves it plain.

    Raises:
        Failed: the file exists or cannot be written, or a file of the node changed meanwhile.
    """
    if target.exists():
        raise Failed("exists already", where=str(target), fix="name a new file")
    mark = state / MOVED
    try:
        contents = Contents(
            silo=silo,
            version=version,
            exported_ms=now_ms,
            files=tuple(_described(name, path) for name, path in files.items()),
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as scratch:
            with open(scratch, "xb", opener=_private) as file:
                _write(file, contents, files, passphrase)
                file.flush()
                os.fsync(file.fileno())
            _mark(mark, target)
    except (OSError, ValidationError) as error:
        mark.unlink(missing_ok=True)
        if isinstance(error, ValidationError):
            what, where = f"the node does not fit into a file: {error.errors()[0]['msg']}", state
        else:
            what, where = f"cannot be exported: {error.strerror}", Path(error.filename or target)
        fix = "name a file in a folder that you may write, on a disk with space for the state"
        raise Failed(what, where=str(where), fix=fix) from error
    except BaseException:
        if not target.exists():
            mark.unlink(missing_ok=True)
        raise
    try:
        sync(target.parent)
    except OSError as error:  # the file is complete, and may be imported: the mark stays
        raise Failed(
            f"written, but a power cut might lose it: {error.strerror}",
            where=str(target),
            fix="copy it to another disk, and import that copy; the node does not start here",
        ) from error
    return contents


def refuse_moved(state: Path) -> None:
    """Raises ConfigError: the node in this state folder was exported to another machine."""
    mark = state / MOVED
    if not os.path.lexists(mark):
        return
    raise ConfigError(
        "this node was exported to another machine. If both ran, they would sign two histories, and"
        " the other silos would exclude this one",
        where=str(mark),
        fix="start it there. Only if it was never started there, and never will be: delete the"
        f" exported file and its copies, and then undo the move with 'rm {shlex.quote(str(mark))}'",
    )


def _mark(mark: Path, target: Path) -> None:
    with open(mark, "w", opener=_private) as file:
        file.write(f"exported to {target.name}\n")
    if os.geteuid() == 0:  # root may export what belongs to the user of the service
        owner = mark.parent.stat()
        os.chown(mark, owner.st_uid, owner.st_gid)
    sync(mark)
    sync(mark.parent)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _described(name: str, path: Path) -> ExportedFile:
    hashed, size = hashlib.sha256(), 0
    with open_regular(path, MAX_BYTES) as file:
        while piece := file.read(PIECE_BYTES):
            hashed.update(piece)
            size += len(piece)
    return ExportedFile(name=name, size=size, sha256=hashed.hexdigest())


def _write(
    file: BinaryIO, contents: Contents, paths: Mapping[str, Path], passphrase: str | None
) -> None:
    file.write(MAGIC + bytes([passphrase is not None]))
    sealing = SealingWriter(file, passphrase) if passphrase is not None else None
    sink: Sink = sealing or file
    listed = contents.model_dump_json().encode()
    sink.write(len(listed).to_bytes(8, "big") + hashlib.sha256(listed).digest() + listed)
    for said in contents.files:
        hashed = hashlib.sha256()
        with open_regular(paths[said.name], MAX_BYTES) as source:
            while piece := source.read(PIECE_BYTES):
                hashed.update(piece)
                sink.write(piece)
        if hashed.hexdigest() != said.sha256:
            raise Failed(
                "the file changed while it was exported",
                where=str(paths[said.name]),
                fix="export again while nobody edits the node's files",
            )
    if sealing is not None:
        sealing.finish()


class Import:
    """An exported node, opened for reading.

    Args:
        path: the file.
        passphrase: opens it; asked for only if the file is encrypted.

    Raises:
        Failed: it cannot be read, is not an exported node, or the passphrase is wrong.
    """

    def __init__(self, path: Path, passphrase: Callable[[], str]) -> None:
        self._path = path
        try:
            self._file = open_regular(path, 2 * MAX_BYTES)
        except OSError as error:
            raise self._failed(f"cannot be read: {error.strerror}") from error
        head = self._file.read(len(MAGIC) + 1)
        if head[:-1] != MAGIC or head[-1] > 1:
            raise self._failed("is not a node that this version of dcfm-node exported")
        self._source: Source = SealedReader(self._file, passphrase()) if head[-1] else self._file
        length = int.from_bytes(self._exactly(8), "big")
        if length > MAX_LIST_BYTES:
            raise self._failed(f"its list has more than {MAX_LIST_BYTES} bytes")
        digest, listed = self._exactly(32), self._exactly(length)
        if hashlib.sha256(listed).digest() != digest:
            raise self._failed("its list is damaged")
        try:
            self.contents = Contents.model_validate_json(listed)
        except ValidationError as error:
            raise self._failed(f"its list is malformed: {error.errors()[0]['msg']}") from error
        names = [file.name for file in self.contents.files]
        if made := next((name for name in names if _made_anew(Path(name))), None):
            raise self._failed(f"its list names {made}, which a new machine makes anew")
        if len(set(names)) < len(names) or self.contents.size > MAX_BYTES:
            raise self._failed("its list names a file twice, or too many bytes")

    def unpack(self, folders: Mapping[str, Path]) -> None:
        """Write all files, each checked, into new private folders.

        Args:
            folders: by the first part of a name, such as "state"; "" for the other files.

        Raises:
            Failed: the file was damaged, altered or cut off, or the disk is full.
        """
        try:
            for said in self.contents.files:
                first, _, rest = said.name.partition("/")
                path = folders[first] / rest if rest else folders[""] / first
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with open(path, "xb", opener=_private) as file:
                    hashed, left = hashlib.sha256(), said.size
                    while left:
                        piece = self._exactly(min(left, PIECE_BYTES))
                        hashed.update(piece)
                        file.write(piece)
                        left -= len(piece)
                    file.flush()
                    os.fsync(file.fileno())
                if hashed.hexdigest() != said.sha256:
                    raise self._failed(f"{said.name} in it is damaged")
        except OSError as error:
            where = str(error.filename or self._path)
            raise Failed(f"cannot be written: {error.strerror}", where=where) from error
        if self._some(1):
            raise self._failed("it holds more than its list names")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            if not (piece := self._some(size - len(data))):
                raise self._failed("it is cut off")
            data += piece
        return bytes(data)

    def _some(self, size: int) -> bytes:
        try:
            return self._source.read(size)
        except Wrong as error:
            what = "the passphrase is wrong, or the file was altered or cut off"
            raise self._failed(what, "check the passphrase, or copy the file again") from error

    def _failed(
        self, what: str, fix: str = "name a complete file that 'export-state' wrote"
    ) -> Failed:
        return Failed(what, where=str(self._path), fix=fix)
