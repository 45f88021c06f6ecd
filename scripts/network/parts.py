"""What each piece of the way of a snapshot costs alone, in CPU seconds for a gigabyte."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from blake3 import blake3

from network.streams import PIECE, cpu_seconds

PIECES = 128


def measure(repeats: int) -> dict[str, float]:
    """The least of some repeats, of each part in turn."""
    data = np.random.default_rng(0).standard_normal(PIECE // 4, np.float32)
    piece = data.tobytes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        fd = os.open(path, os.O_RDWR | os.O_CREAT)

        def write(index: int) -> None:
            if index == 0:
                os.ftruncate(fd, 0)
                os.posix_fallocate(fd, 0, PIECES * PIECE)
            os.pwrite(fd, piece, index * PIECE)

        parts: dict[str, Callable[[int], object]] = {
            "SHA-256": lambda _: hashlib.sha256(piece).digest(),
            "BLAKE3": lambda _: blake3(piece).digest(),
            "write": write,
            "read": lambda index: os.pread(fd, PIECE, index * PIECE),
            "check values": lambda _: (data.min(), data.max()),
        }
        try:
            return {name: min(_once(part) for _ in range(repeats)) for name, part in parts.items()}
        finally:
            os.close(fd)


def _once(part: Callable[[int], object]) -> float:
    used = cpu_seconds()
    for index in range(PIECES):
        part(index)
    return (cpu_seconds() - used) * 1e9 / (PIECES * PIECE)
