"""One process per state folder. The kernel holds the lock, and frees it with the process."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dcfm_node.errors import Failed
from dcfm_node.files import private_folder

FILE_NAME = "lock"
MOVED = "moved"
"""File in the state folder of a node that moved to another machine (`export`)."""


@contextmanager
def lock(state: Path) -> Iterator[None]:
    """Hold a state folder for the duration of the context, or until the process ends in any way.

    The lock file stays afterwards and has no meaning by itself. Child processes do not inherit
    the lock.

    Args:
        state: the folder; it is made if missing, and set to mode 0700.

    Raises:
        Failed: another process holds the folder, or it cannot be used or made private.
    """
    try:
        private_folder(state)
        fd = os.open(state / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Failed(
            f"cannot use the state folder: {error.strerror}",
            where=str(state),
            fix="check that the folder exists and belongs to the user that runs the node",
        ) from error
    try:
        _seize(fd, state)
        yield
    finally:
        os.close(fd)


def _seize(fd: int, state: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        # The file is empty between the other process's flock and its write.
        pid = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
        raise Failed(
            f"another dcfm-node (pid {pid}) already runs on this state folder",
            where=str(state),
            fix="stop that process, or give this node its own state folder",
        ) from error
    except OSError as error:
        raise Failed(
            f"cannot lock the state folder: {error.strerror}",
            where=str(state),
            fix="put the state folder on a local disk that supports flock",
        ) from error
    with suppress(OSError):  # the pid only informs, and the disk may be full
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
