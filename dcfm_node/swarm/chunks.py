"""The digest of a snapshot: it covers the hashes of all chunks (SPEC 5.1)."""

from typing import Protocol

from blake3 import blake3

from dcfm_node.records.entries import Snapshot
from dcfm_node.wire.canonical import sha256

CHUNK_BYTES = 1 << 20
"""Bytes of every chunk of a snapshot; the last one may be shorter."""
SNAPSHOT_DOMAIN = b"dcfm-node/snapshot/1\0"


def chunk_count(size: int) -> int:
    """Number of chunks of a snapshot of `size` bytes."""
    return -(-size // CHUNK_BYTES)


def chunk_length(size: int, index: int) -> int:
    """Bytes in chunk `index` of a snapshot of `size` bytes."""
    return min(CHUNK_BYTES, size - index * CHUNK_BYTES)


def chunk_hash(data: bytes | memoryview) -> bytes:
    """BLAKE3 of one chunk, 32 bytes."""
    return blake3(data).digest()


def chunk_hashes(data: bytes | memoryview) -> bytes:
    """The hash list: the 32-byte hashes of all chunks, concatenated."""
    view = memoryview(data)
    starts = range(0, len(view), CHUNK_BYTES)
    return b"".join(chunk_hash(view[start : start + CHUNK_BYTES]) for start in starts)


def snapshot_digest(size: int, hashes: bytes) -> bytes:
    """Digest of the snapshot of `size` bytes with this hash list, 32 bytes."""
    return sha256(SNAPSHOT_DOMAIN, size.to_bytes(8, "big"), hashes)


def snapshot_of(data: bytes | memoryview) -> Snapshot:
    """The record of some bytes: digest and size."""
    size = len(data)
    return Snapshot(digest=snapshot_digest(size, chunk_hashes(data)), size=size)


class SnapshotFiles(Protocol):
    """Storage of the bytes of snapshots. Methods may raise OSError; only the bulk thread calls
    them."""

    def hashes(self, digest: bytes) -> bytes | None:
        """The hash list of a snapshot held whole; None if it is not held."""
        ...

    def read(self, digest: bytes, index: int) -> bytes:
        """Chunk `index` of a snapshot held whole or in part. It may be empty beyond the end, or
        where nothing was written yet."""
        ...

    def begin(self, snapshot: Snapshot) -> None:
        """Allocate the partial file of a snapshot, or reopen an existing one."""
        ...

    def write(self, digest: bytes, index: int, data: bytes | memoryview) -> None:
        """Write chunk `index` at its place in the partial file."""
        ...

    def finish(self, digest: bytes, hashes: bytes) -> None:
        """Rename the partial file into place. Every chunk in it was verified against the list."""
        ...

    def discard(self, digest: bytes) -> None:
        """Remove the partial file, if there is one."""
        ...
