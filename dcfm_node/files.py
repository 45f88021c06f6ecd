"""Reads files that others may have made, and writes our files completely or not at all.

A folder from others may hold a device that never ends, a pipe without a writer, a folder in place
of a file, or a sparse file of any size. None of these may hang a command or fill its memory.
Every refusal is an OSError that says why, like any other file error.
"""

import errno
import os
import pwd
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from stat import S_IMODE, S_ISDIR, S_ISREG, S_ISVTX

from dcfm_node.errors import Failed

PIECE_BYTES = 1 << 20


def shipped(*names: str) -> Path:
    """A file or folder of `configs`: inside the package in a wheel, beside it in a source tree."""
    inside = Path(__file__).parent / "configs"
    folder = inside if inside.is_dir() else Path(__file__).parents[1] / "configs"
    return folder.joinpath(*names)


def shipped_text(name: str) -> str:
    """The text of a file that the package brings along."""
    return shipped(name).read_text(encoding="utf-8")


def open_regular(path: Path, most: int, *, least: int = 0, follow: bool = True) -> BufferedReader:
    """Open a file for reading, if it is a regular file with a size within bounds.

    Args:
        most, least: bounds of its size, in bytes.
        follow: whether `path` may be a symbolic link.

    Raises:
        OSError: it is not a regular file, its size is out of bounds, or it cannot be opened;
            `strerror` says which.
    """
    no_link = 0 if follow else os.O_NOFOLLOW
    # Without O_NONBLOCK, open() would wait for the writer of a pipe.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | no_link)
    try:
        found = os.fstat(fd)
        if S_ISDIR(found.st_mode):
            raise OSError(errno.EISDIR, "is a folder, not a file", str(path))
        if not S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
        if found.st_size > most:
            what = f"is too large: {found.st_size} bytes, {most} at most"
            raise OSError(errno.EFBIG, what, str(path))
        if found.st_size < least:
            what = "is empty" if not found.st_size else f"is cut short: {found.st_size} bytes"
            raise OSError(errno.EINVAL, what, str(path))
        return os.fdopen(fd, "rb")
    except BaseException:
        os.close(fd)
        raise


def read_bounded(path: Path, most: int, *, follow: bool = True) -> bytes:
    """The content of a regular file of at most `most` bytes.

    Raises:
        OSError: as `open_regular`; also if the file grows beyond the bound meanwhile.
    """
    data = bytearray()
    with open_regular(path, most, follow=follow) as file:
        while piece := file.read(PIECE_BYTES):
            data += piece
            if len(data) > most:
                raise OSError(errno.EFBIG, f"is too large: {most} bytes at most", str(path))
    return bytes(data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file completely or not at all: after a kill, the old file or the new one is there.

    Yields a scratch path beside `path` with this process's id in its name, so that several
    processes may write the same file. At the end the scratch file replaces `path`. After an
    exception it is deleted.
    """
    scratch = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield scratch
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def exchange(one: Path, other: Path) -> None:
    """Swap the names of two files or folders of one file system, in one step where the kernel can
    (Linux: renameat2 with RENAME_EXCHANGE), else in three.

    Raises:
        OSError: one does not exist, or a rename is refused.
    """
    if _exchanged(one, other):
        return
    scratch = one.with_name(f".{one.name}.{os.getpid()}.tmp")
    one.rename(scratch)
    try:
        other.rename(one)
    except OSError:
        scratch.rename(one)
        raise
    scratch.rename(other)


def _exchanged(one: Path, other: Path) -> bool:
    """Whether the kernel swapped both names; not every kernel and file system can."""
    import ctypes  # noqa: PLC0415 - one command needs it

    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    call = getattr(ctypes.CDLL(None), "renameat2", None)
    return call is not None and call(here, bytes(one), here, bytes(other), swap) == 0


def sync(path: Path) -> None:
    """Wait until a file or a folder is on the disk, so that a power cut does not lose it."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def owner_of(path: Path) -> str:
    """The user to whom a path belongs, or the nearest folder above it that can be seen; "#" and the
    number of a user without a name, as sudo takes it."""
    seen = next(place for place in (path, *path.absolute().parents) if _visible(place))
    uid = seen.stat().st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def _visible(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return False
    return True


def private_folder(path: Path, *, make: bool = True) -> None:
    """Make sure that only its owner can use a folder (mode 0700).

    Raises:
        Failed: others can use it, and its mode cannot be changed.
        OSError: it cannot be made or read.
    """
    if make:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = path.stat().st_mode
    if not mode & 0o077:
        return
    what = f"users other than its owner may use this folder (mode {S_IMODE(mode):04o})"
    fix = f"chmod 700 {shlex.quote(str(path))}, as its owner"
    if mode & S_ISVTX:
        raise Failed(what, where=str(path), fix="use a folder that belongs to this node alone")
    try:
        path.chmod(0o700)
    except OSError as error:
        raise Failed(f"{what}: {error.strerror}", where=str(path), fix=fix) from error
    if path.stat().st_mode & 0o077:  # some file systems accept a mode and ignore it
        raise Failed(what, where=str(path), fix="put it on a file system that keeps modes")
