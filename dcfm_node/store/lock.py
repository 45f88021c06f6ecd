"""One process per state folder, held by the kernel: the lock dies with its process."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from dcfm_node.errors import Failed

FILE_NAME = "lock"


class StateLock:
    """Holds the state folder until `release` or the end of the process, however it comes.

    The file stays when the lock is released and means nothing by itself. Child processes do not
    inherit the lock.

    Args:
        state: the state folder; made, with mode 0700, if it is not there.

    Raises:
        Failed: another process holds the folder, or the folder cannot be used.
    """

    def __init__(self, state: Path) -> None:
        self._fd = -1
        try:
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(state / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Failed(
                f"cannot use the state folder: {error.strerror}",
                where=str(state),
                fix="check that the folder exists and belongs to the user that runs the node",
            ) from error
        try:
            _seize(fd, state)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def release(self) -> None:
        """Let another process have the folder. Harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def _seize(fd: int, state: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        # Empty for the instant between the other's flock and its write.
        pid = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
        raise Failed(
            f"another dcfm-node (pid {pid}) already runs on this state folder",
            where=str(state),
            fix="stop that process, or give this node a state folder of its own",
        ) from error
    except OSError as error:
        raise Failed(
            f"cannot lock the state folder: {error.strerror}",
            where=str(state),
            fix="put the state folder on a local disk that supports flock",
        ) from error
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
