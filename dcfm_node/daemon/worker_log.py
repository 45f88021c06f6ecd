"""worker.log: what the training process itself writes to stderr, the newest of it, bounded."""

import asyncio
from pathlib import Path

import structlog

log = structlog.get_logger()

MAX_LOG_BYTES = 1 << 20
"""Of the file; as much again of what was before it is kept beside it, in `worker.log.1`."""
TAIL_BYTES = 4_096
MAX_LINE_CHARS = 300


class WorkerLog:
    """A file that is begun anew when it is full, and the end of what was written to it.

    Args:
        path: its name; the one before bears `.1` after it.
        limit: bytes after which a new one is begun.
    """

    def __init__(self, path: Path, limit: int = MAX_LOG_BYTES) -> None:
        self.path, self._limit = path, limit
        self._tail = b""
        self._refused = False

    def forget(self) -> None:
        """Another process writes from here on: `last_line` is about it alone."""
        self._tail = b""

    @property
    def last_line(self) -> str:
        """The last that the process wrote, fit for a message; empty if it wrote nothing."""
        lines = self._tail.decode(errors="replace").split("\n")
        found = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return "".join(c if c.isprintable() else "?" for c in found)[:MAX_LINE_CHARS]

    async def drain(self, stream: asyncio.StreamReader) -> None:
        """Write down all that comes, until it ends."""
        while data := await stream.read(1 << 16):
            self.write(data)

    def write(self, data: bytes) -> None:
        """Append; what the disk refuses is told once, and let pass."""
        self._tail = (self._tail + data)[-TAIL_BYTES:]
        try:
            with self.path.open("ab") as file:
                full = file.tell() > 0 and file.tell() + len(data) > self._limit
            if full:
                self.path.replace(self.path.with_name(self.path.name + ".1"))
            with self.path.open("ab") as file:
                file.write(data)
            self._refused = False
        except OSError as error:
            if not self._refused:
                log.warning("worker_log_refused", where=str(self.path), why=str(error))
            self._refused = True
