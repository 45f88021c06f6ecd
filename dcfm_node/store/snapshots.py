"""Snapshots on disk, named by their SHA-256 (SPEC 5).

    STATE/snapshots/<hex>.safetensors    whole and verified; only ever appears by a rename
    STATE/partial/<hex>                  allocated in full, filled in any order

Several threads use one store: the bulk thread downloads and serves, the daemon's adopt, look up and
remove. That is safe because no file is changed once it bears its final name, nothing is kept open
between calls, and one lock covers what they share: the set of held digests, the mapped views, and
the renames and removals that change either. Hashing and syncing happen outside it. One download has
one writer: `begin`, `write`, `finish` and `discard` of a digest come from one thread.
"""

import hashlib
import mmap
import os
from collections import OrderedDict
from pathlib import Path
from stat import S_ISREG
from threading import Lock

from dcfm_node.errors import PeerError
from dcfm_node.records.entries import MAX_SNAPSHOT_BYTES, Snapshot
from dcfm_node.swarm.transfer import CHUNK_BYTES, chunk_root

SUFFIX = ".safetensors"
CACHED_VIEWS = 64
"""Mapped files kept at hand; an older one is mapped again when it is asked for."""


def describe(path: Path) -> Snapshot:
    """Hash a file in one pass: what a record says of it.

    Raises:
        OSError: the file cannot be read.
        pydantic.ValidationError: it is empty or exceeds MAX_SNAPSHOT_BYTES.
    """
    whole, hashes, size = hashlib.sha256(), bytearray(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            whole.update(chunk)
            hashes += hashlib.sha256(chunk).digest()
            size += len(chunk)
    return Snapshot(digest=whole.digest(), size=size, chunks=chunk_root(bytes(hashes)))


class SnapshotStore:
    """The snapshots of one node; a `swarm.transfer.SnapshotFiles`.

    Args:
        state: the state folder. Files with foreign names in `snapshots` are left alone; in
            `partial`, which is scratch, they are removed.
    """

    def __init__(self, state: Path) -> None:
        self._folder, self._scratch = state / "snapshots", state / "partial"
        for folder in (self._folder, self._scratch):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = Lock()
        self._views: OrderedDict[bytes, memoryview] = OrderedDict()
        self._held = {
            digest
            for path in self._folder.iterdir()
            if path.suffix == SUFFIX and (digest := _digest(path.stem)) and _fits(path)
        }
        for path in self._scratch.iterdir():
            digest = _digest(path.name)
            if digest is None or digest in self._held or not _fits(path):
                _clear(path)

    def held(self) -> set[bytes]:
        """Digests of the snapshots held whole."""
        with self._lock:
            return set(self._held)

    def path(self, digest: bytes) -> Path | None:
        """Where a snapshot lies, None when it is not held."""
        with self._lock:
            return self._final(digest) if digest in self._held else None

    def adopt(self, path: Path) -> Snapshot:
        """Take over a file that the worker wrote, on the same filesystem; durable on return."""
        snapshot = describe(path)
        path.chmod(0o600)
        self._publish(path, snapshot.digest)
        return snapshot

    def remove(self, digest: bytes) -> None:
        """Forget a snapshot. Views that were handed out stay readable until they are dropped."""
        with self._lock:
            self._held.discard(digest)
            self._views.pop(digest, None)
            self._final(digest).unlink(missing_ok=True)

    def partials(self) -> set[bytes]:
        """Digests of downloads begun and neither finished nor discarded."""
        return {digest for path in self._scratch.iterdir() if (digest := _digest(path.name))}

    def view(self, digest: bytes) -> memoryview | None:
        """The mapped bytes of a snapshot, read-only; None when it is not held."""
        with self._lock:
            if digest not in self._held:
                return None
            try:
                view = self._views.pop(digest, None) or _map(self._final(digest))
            except FileNotFoundError:  # deleted by hand: it can be fetched again
                self._held.discard(digest)
                return None
            self._views[digest] = view
            if len(self._views) > CACHED_VIEWS:
                self._views.popitem(last=False)
            return view

    def begin(self, snapshot: Snapshot) -> None:
        """Allocate the partial file, keeping the chunks that one of an earlier start holds.

        Raises:
            OSError: ENOSPC when the disk lacks the room; what it took meanwhile is freed.
        """
        path = self._partial(snapshot.digest)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(path, flags, 0o600)
        found = os.fstat(fd).st_size
        try:
            if found > snapshot.size:
                os.ftruncate(fd, snapshot.size)
            os.posix_fallocate(fd, 0, snapshot.size)
        except OSError:
            if found < snapshot.size:  # never allocated in full, so no chunk was written
                path.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)

    def read_partial(self, digest: bytes, index: int) -> bytes:
        """Chunk `index` as the partial file has it."""
        with self._partial(digest).open("rb", buffering=0) as file:
            file.seek(index * CHUNK_BYTES)
            return file.read(CHUNK_BYTES)

    def write(self, digest: bytes, index: int, data: bytes) -> None:
        """Put chunk `index` at its place in the partial file."""
        fd = os.open(self._partial(digest), os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            done = 0
            while done < len(data):
                done += os.pwrite(fd, memoryview(data)[done:], index * CHUNK_BYTES + done)
        finally:
            os.close(fd)

    def finish(self, digest: bytes) -> None:
        """Hash the whole file, which has the size it was begun with, and put it in its place.

        Raises:
            PeerError: its record promised a digest that these bytes do not have.
        """
        path = self._partial(digest)
        with path.open("rb", buffering=0) as file:
            if hashlib.file_digest(file, "sha256").digest() != digest:
                raise PeerError("the snapshot's bytes do not hash to the digest of its record")
        self._publish(path, digest)

    def discard(self, digest: bytes) -> None:
        """Remove the partial file, if there is one."""
        self._partial(digest).unlink(missing_ok=True)

    def _publish(self, path: Path, digest: bytes) -> None:
        # The bytes before the name: after a power cut a name in `snapshots` still means whole.
        _sync(path)
        with self._lock:
            path.replace(self._final(digest))
            self._held.add(digest)
        _sync(self._folder)

    def _final(self, digest: bytes) -> Path:
        return self._folder / f"{digest.hex()}{SUFFIX}"

    def _partial(self, digest: bytes) -> Path:
        return self._scratch / digest.hex()


def _map(path: Path) -> memoryview:
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _digest(name: str) -> bytes | None:
    """The digest that a file name spells in lower-case hex, None for any other name."""
    try:
        digest = bytes.fromhex(name)
    except ValueError:
        return None
    return digest if len(digest) == 32 and digest.hex() == name else None


def _fits(path: Path) -> bool:
    """A regular file of a size that a snapshot can have."""
    status = path.lstat()
    return S_ISREG(status.st_mode) and 0 < status.st_size <= MAX_SNAPSHOT_BYTES


def _clear(path: Path) -> None:
    """Remove a stray file; a folder is somebody's and stays."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
