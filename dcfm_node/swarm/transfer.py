"""Downloading snapshots from several holders at once (SPEC 5). Pure: events in, requests out."""

from typing import Protocol

from dcfm_node.records.entries import Snapshot

CHUNK_BYTES = 1 << 20
"""Every chunk of a snapshot has this size except its last."""


class SnapshotFiles(Protocol):
    """Where the bytes of snapshots lie. May raise OSError; called from the bulk thread alone."""

    def view(self, digest: bytes) -> memoryview | None:
        """The mapped bytes of a snapshot held whole, None when it is not held."""
        ...

    def begin(self, snapshot: Snapshot) -> None:
        """Allocate the partial file of a snapshot, or reopen the one that is there."""
        ...

    def read_partial(self, digest: bytes, index: int) -> bytes:
        """Chunk `index` as the partial file has it, to be hashed again when resuming."""
        ...

    def write(self, digest: bytes, index: int, data: bytes) -> None:
        """Put chunk `index` at its place in the partial file."""
        ...

    def finish(self, digest: bytes) -> None:
        """Hash the whole file, sync it and rename it into place. PeerError on a mismatch."""
        ...

    def discard(self, digest: bytes) -> None:
        """Remove the partial file, if there is one."""
        ...
