"""Files: reading those that others may have made, and writing ours whole or not at all.

A folder handed to us may hold a device that never ends, a pipe that nobody writes to, a folder
where a file belongs, or a sparse file of any size. None may hang a command or fill its memory.
Every refusal is an OSError that says why, like any other fault of a file.
"""

import errno
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from stat import S_IMODE, S_ISDIR, S_ISREG, S_ISVTX

from dcfm_node.errors import Failed

PIECE_BYTES = 1 << 20


def shipped(*names: str) -> Path:
    """A file or folder of `configs`, which a wheel has in the package, a source tree beside it."""
    inside = Path(__file__).parent / "configs"
    folder = inside if inside.is_dir() else Path(__file__).parents[1] / "configs"
    return folder.joinpath(*names)


def open_regular(path: Path, most: int, *, least: int = 0, follow: bool = True) -> BufferedReader:
    """A file opened for reading, if it is one and of a size within bounds.

    Args:
        most, least: bounds of its size in bytes.
        follow: whether it may be a symbolic link.

    Raises:
        OSError: it is none, or of another size, or cannot be opened; `strerror` says which.
    """
    no_link = 0 if follow else os.O_NOFOLLOW
    # Without O_NONBLOCK, a pipe would be waited for.
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
    """All that a regular file of at most so many bytes holds.

    Raises:
        OSError: as `open_regular`; also where the file grows beyond the bound meanwhile.
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
    """Write a file whole or not at all: a kill at any instant leaves the old file or the new one.

    Yields a scratch path beside `path`, named after this process, so that several may write the
    same file. What was written there takes the place of `path` at the end; after an exception,
    nothing of it is left behind.
    """
    scratch = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield scratch
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Wait until a file or a folder is on the disk, so that a power cut does not lose it."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def private_folder(path: Path, *, make: bool = True) -> None:
    """See to it that a folder is its owner's alone (0700).

    Raises:
        Failed: others may use it, and that cannot be changed.
        OSError: it cannot be made or looked at.
    """
    if make:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = path.stat().st_mode
    if not mode & 0o077:
        return
    what = f"others than its owner may use this folder (mode {S_IMODE(mode):04o})"
    fix = f"chmod 700 {shlex.quote(str(path))}, as its owner"
    if mode & S_ISVTX:
        raise Failed(what, where=str(path), fix="name a folder that is this node's alone")
    try:
        path.chmod(0o700)
    except OSError as error:
        raise Failed(f"{what}: {error.strerror}", where=str(path), fix=fix) from error
    if path.stat().st_mode & 0o077:  # some file systems take a mode and keep their own
        raise Failed(what, where=str(path), fix="put it on a file system that keeps modes")
