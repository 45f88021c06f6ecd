"""A snapshot as its lossless difference to another one (SPEC 5.4).

The weights of one round differ little from those that their training started from. Read as integers
in the order of the numbers, their bits have a small difference: its high bytes are mostly zero, and
compress well.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from dcfm_node.errors import PeerError
from dcfm_node.swarm.chunks import CHUNK_BYTES

LEVEL = 1
"""The zlib level. Higher levels hardly save more (decision 14)."""
MAX_BLOCK_BYTES = CHUNK_BYTES + (CHUNK_BYTES >> 8)
"""Most bytes of a compressed chunk: zlib never needs more."""
_PREFIX = 4

Words = NDArray[Any]
"""Unsigned integers of 2 or 4 bytes."""


def encode(base: Path, target: Path, coded: Path, width: int) -> None:
    """Write the difference between two files.

    Args:
        base, target: the file to start from, and the file to make.
        coded: where to write the difference.
        width: bytes per number, 2 or 4.
    """
    with base.open("rb") as old, target.open("rb") as new, coded.open("wb") as out:
        while data := new.read(CHUNK_BYTES):
            block = code(old.read(CHUNK_BYTES), data, width)
            out.write(len(block).to_bytes(_PREFIX, "big") + block)


def decode(base: Path, coded: Path, target: Path, size: int, width: int) -> None:
    """Write the file of `size` bytes that `encode` coded as `coded`.

    Raises:
        PeerError: `encode` makes no such file. At most `size` bytes were written, and a few chunks
            held in memory.
    """
    with base.open("rb") as old, coded.open("rb") as file, target.open("wb") as out:
        blocks = _blocks(file)
        for start in range(0, size, CHUNK_BYTES):
            length = min(CHUNK_BYTES, size - start)
            block = next(blocks, None)
            if block is None:
                raise PeerError("a delta ends before the snapshot that it makes")
            out.write(restore(old.read(CHUNK_BYTES), block, length, width))
        if next(blocks, None) is not None:
            raise PeerError("a delta goes on beyond the snapshot that it makes")


def code(base: bytes, data: bytes, width: int) -> bytes:
    """Code one chunk against the same chunk of the base; zeros fill up a shorter base."""
    difference = _ordered(_words(data, len(data), width)) - _ordered(_words(base, len(data), width))
    top = difference.dtype.type(8 * width - 1)
    # Zigzag: small differences of both signs become small integers.
    folded = (difference << 1) ^ (np.zeros_like(difference) - (difference >> top))
    planes = folded.view(np.uint8).reshape(-1, width).T
    return zlib.compress(np.ascontiguousarray(planes).tobytes(), LEVEL)


def restore(base: bytes, block: bytes, length: int, width: int) -> bytes:
    """The `length` bytes that `code` turned into the block.

    Raises:
        PeerError: `code` makes no such block from `length` bytes.
    """
    wanted = -(-length // width) * width
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(block, wanted + 1)
    except zlib.error as error:
        raise PeerError(f"a delta's block is no zlib stream: {error}") from error
    if len(raw) != wanted or not inflater.eof or inflater.unused_data:
        raise PeerError(f"a delta's block does not make {wanted} bytes")
    planes = np.frombuffer(raw, np.uint8).reshape(width, -1).T
    folded = np.ascontiguousarray(planes).view(_dtype(width))[:, 0]
    difference = (folded >> 1) ^ (np.zeros_like(folded) - (folded & 1))
    words = _ordered(_words(base, length, width)) + difference
    return _unordered(words).tobytes()[:length]


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while prefix := file.read(_PREFIX):
        length = int.from_bytes(prefix, "big")
        if len(prefix) < _PREFIX or not 0 < length <= MAX_BLOCK_BYTES:
            raise PeerError(f"a delta has a block of {length} bytes")
        block = file.read(length)
        if len(block) != length:
            raise PeerError("a delta ends within a block")
        yield block


def _dtype(width: int) -> np.dtype[Any]:
    return np.dtype("<u2") if width == 2 else np.dtype("<u4")


def _words(data: bytes, length: int, width: int) -> Words:
    """The first `length` bytes as integers, filled up with zeros."""
    padded = data[:length].ljust(-(-length // width) * width, b"\0")
    found: Words = np.frombuffer(padded, _dtype(width))
    return found


def _ordered(words: Words) -> Words:
    """Bits of floats as integers in the order of the floats (negative ones inverted)."""
    top = words.dtype.type(1 << (8 * words.itemsize - 1))
    found: Words = np.where(words & top, ~words, words | top)
    return found


def _unordered(words: Words) -> Words:
    top = words.dtype.type(1 << (8 * words.itemsize - 1))
    found: Words = np.where(words & top, words & ~top, ~words)
    return found
