"""A snapshot as what changed since another one, losslessly (SPEC 5.4).

Weights of one round differ little from those they were trained from. So the difference of their
bits, taken as integers in the order of the numbers that they stand for, is small: its high bytes
are mostly zero and compress.
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
"""Higher ones hardly save more (decision 0014)."""
MAX_BLOCK_BYTES = CHUNK_BYTES + (CHUNK_BYTES >> 8)
"""What zlib makes at most of a chunk, and more."""
_PREFIX = 4

Words = NDArray[Any]
"""Unsigned, of 2 or 4 bytes."""


def encode(base: Path, target: Path, coded: Path, width: int) -> None:
    """Write what turns one file into another.

    Args:
        width: bytes of a number, 2 or 4.
    """
    with base.open("rb") as old, target.open("rb") as new, coded.open("wb") as out:
        while data := new.read(CHUNK_BYTES):
            block = code(old.read(CHUNK_BYTES), data, width)
            out.write(len(block).to_bytes(_PREFIX, "big") + block)


def decode(base: Path, coded: Path, target: Path, size: int, width: int) -> None:
    """Write the file of `size` bytes that `encode` was given.

    Raises:
        PeerError: it is not what `encode` makes of any such file. No more than `size` bytes were
            written, and no more than a few chunks held in memory.
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
    """One chunk, given the same chunk of the base; zeros stand for what the base lacks."""
    difference = _ordered(_words(data, len(data), width)) - _ordered(_words(base, len(data), width))
    top = difference.dtype.type(8 * width - 1)
    # Zigzag: small ones of both signs become small.
    folded = (difference << 1) ^ (np.zeros_like(difference) - (difference >> top))
    planes = folded.view(np.uint8).reshape(-1, width).T
    return zlib.compress(np.ascontiguousarray(planes).tobytes(), LEVEL)


def restore(base: bytes, block: bytes, length: int, width: int) -> bytes:
    """The `length` bytes of which `code` made the block.

    Raises:
        PeerError: it made it of nothing of that length.
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
    """The first `length` bytes as numbers, filled up with zeros."""
    padded = data[:length].ljust(-(-length // width) * width, b"\0")
    found: Words = np.frombuffer(padded, _dtype(width))
    return found


def _ordered(words: Words) -> Words:
    """Bits of floats as integers in the same order (negative ones turned round)."""
    top = words.dtype.type(1 << (8 * words.itemsize - 1))
    found: Words = np.where(words & top, ~words, words | top)
    return found


def _unordered(words: Words) -> Words:
    top = words.dtype.type(1 << (8 * words.itemsize - 1))
    found: Words = np.where(words & top, words & ~top, ~words)
    return found
