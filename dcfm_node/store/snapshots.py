"""Snapshots on disk, named by their SHA-256 (SPEC 5).

    STATE/snapshots/<hex>.safetensors    whole and verified; only ever appears by a rename
    STATE/partial/<hex>                  allocated in full, filled in any order

Every byte is hashed once: by its author when it is adopted, by a reader chunk by chunk as it comes.
The hash lists of both are kept, so that serving hashes nothing. A start hashes all anew (`verify`).
What was adopted is durable before anyone hears of it; a download is not synced, since what a power
cut took of it is found by the next start and fetched again.

Several threads use one store: the bulk thread downloads and serves, the daemon's adopt, look up and
remove. That is safe because no file is changed once it bears its final name, nothing is kept open
between calls, and one lock covers what they share: the hash lists of held snapshots, and the
renames and removals that change them. Hashing and syncing happen outside it. One download has one
writer: `begin`, `write`, `finish` and `discard` of a digest come from one thread.
"""

import errno
import os
from io import BufferedReader
from math import inf
from pathlib import Path
from stat import S_ISREG
from threading import Lock

from dcfm_node.errors import PeerError
from dcfm_node.files import open_regular, private_folder, sync
from dcfm_node.records.base import MAX_SNAPSHOT_BYTES, Snapshot
from dcfm_node.swarm.chunks import CHUNK_BYTES, chunk_hash, snapshot_digest

SUFFIX = ".safetensors"


def describe(path: Path, *, least: int = 1, most: int = MAX_SNAPSHOT_BYTES) -> Snapshot:
    """What a record says of a file.

    Args:
        least, most: bounds of its size in bytes; a file beyond them is not read.

    Raises:
        OSError: the file cannot be read, is no regular one, or not of such a size.
    """
    return _hash(path, least, most)[0]


def _hash(path: Path, least: int = 1, most: int = MAX_SNAPSHOT_BYTES) -> tuple[Snapshot, bytes]:
    """A file's record and hash list, in one pass and one buffer."""
    hashes, size, buffer = [], 0, memoryview(bytearray(CHUNK_BYTES))
    with open_regular(path, most, least=least) as file:
        while length := _fill(file, buffer):
            hashes.append(chunk_hash(buffer[:length]))
            size += length
            if size > most:
                raise OSError(errno.EFBIG, "grew while it was read", str(path))
    found = b"".join(hashes)
    return Snapshot(digest=snapshot_digest(size, found), size=size), found


def _fill(file: BufferedReader, buffer: memoryview) -> int:
    """Read until the buffer is full or the file ends; the bytes read."""
    done = 0
    while done < len(buffer) and (length := file.readinto(buffer[done:])):
        done += length
    return done


def snapshot_path(state: Path, digest: bytes) -> Path:
    """Where a state folder keeps a snapshot, if it does."""
    return state / "snapshots" / f"{digest.hex()}{SUFFIX}"


def digest_of_name(path: Path) -> bytes | None:
    """The digest that a snapshot's file is named by; None for any other name."""
    return _digest(path.stem) if path.suffix == SUFFIX else None


class SnapshotStore:
    """The snapshots of one node; a `swarm.chunks.SnapshotFiles`.

    Args:
        state: the state folder. Files with foreign names in `snapshots` are left alone; in
            `partial`, which is scratch, they are removed.
    """

    def __init__(self, state: Path) -> None:
        self._folder, self._scratch = state / "snapshots", state / "partial"
        for folder in (self._folder, self._scratch):
            private_folder(folder)
        self._lock = Lock()
        self._held: dict[bytes, bytes] = {
            digest: b""
            for path in self._folder.iterdir()
            if path.suffix == SUFFIX and (digest := _digest(path.stem)) and _fits(path)
        }
        """The hash list of each; empty until `verify`, of what an earlier start left."""
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

    def vanished(self) -> set[bytes]:
        """Digests of those whose files somebody deleted. They count as held until the swarm, which
        is told, gives them up or fetches them anew; nothing is served of them meanwhile."""
        return {digest for digest in self.held() if _is_gone(self._final(digest))}

    def adopt(self, path: Path) -> Snapshot:
        """Take over a file that the worker wrote, on the same filesystem; durable on return."""
        snapshot, hashes = _hash(path)
        path.chmod(0o600)
        sync(path)
        self._publish(path, snapshot.digest, hashes)
        sync(self._folder)
        return snapshot

    def install(self, path: Path, digest: bytes) -> None:
        """Take over a file that was made to be this snapshot.

        Raises:
            PeerError: it is another.
        """
        snapshot, hashes = _hash(path)
        if snapshot.digest != digest:
            raise PeerError("what was made is not the snapshot that the record names")
        path.chmod(0o600)
        self._publish(path, digest, hashes)

    def verify(self, digest: bytes) -> bool:
        """Hash what is on disk under this name, and serve it if it is that; else it is removed."""
        path = self.path(digest)
        if path is None:
            return False
        snapshot, hashes = _hash(path)
        if snapshot.digest != digest:
            self.remove(digest)
            return False
        with self._lock:
            self._held[digest] = hashes
        return True

    def remove(self, digest: bytes) -> None:
        """Forget a snapshot."""
        with self._lock:
            self._held.pop(digest, None)
            self._final(digest).unlink(missing_ok=True)

    def partials(self) -> set[bytes]:
        """Digests of downloads begun and neither finished nor discarded."""
        return {digest for path in self._scratch.iterdir() if (digest := _digest(path.name))}

    def hashes(self, digest: bytes) -> bytes | None:
        """The hash list of a snapshot held whole and verified, None for another."""
        with self._lock:
            hashes = self._held.get(digest)
            return hashes if hashes and not _is_gone(self._final(digest)) else None

    def read(self, digest: bytes, index: int) -> bytes:
        """Chunk `index` of a snapshot, whole or in part, as it is on disk; empty beyond its end,
        and of a partial file where nothing was written yet.

        Raises:
            OSError: nothing of it is there, or it cannot be read.
        """
        final, start = self.path(digest), index * CHUNK_BYTES
        if final is not None and _is_gone(final):  # and perhaps on its way again
            final = None
        path = final or self._partial(digest)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            # Reading what was only allocated would fill the page cache with zeros.
            if not final and _next_data(fd, start) >= start + CHUNK_BYTES:
                return b""
            return os.pread(fd, CHUNK_BYTES, start)
        finally:
            os.close(fd)

    def begin(self, snapshot: Snapshot) -> None:
        """Allocate the partial file, keeping the chunks that one of an earlier start holds.

        Raises:
            OSError: ENOSPC when the disk lacks the room; what it took meanwhile is freed.
        """
        self._scratch.mkdir(mode=0o700, exist_ok=True)  # somebody may have deleted it
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

    def write(self, digest: bytes, index: int, data: bytes | memoryview) -> None:
        """Put chunk `index` at its place in the partial file."""
        fd = os.open(self._partial(digest), os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            done = 0
            while done < len(data):
                done += os.pwrite(fd, memoryview(data)[done:], index * CHUNK_BYTES + done)
        finally:
            os.close(fd)

    def finish(self, digest: bytes, hashes: bytes) -> None:
        """Put a download in its place: every chunk in it was verified against the hash list."""
        self._publish(self._partial(digest), digest, hashes)

    def discard(self, digest: bytes) -> None:
        """Remove the partial file, if there is one."""
        self._partial(digest).unlink(missing_ok=True)

    def _publish(self, path: Path, digest: bytes, hashes: bytes) -> None:
        with self._lock:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            path.replace(self._final(digest))
            self._held[digest] = hashes

    def _final(self, digest: bytes) -> Path:
        return self._folder / f"{digest.hex()}{SUFFIX}"

    def _partial(self, digest: bytes) -> Path:
        return self._scratch / digest.hex()


def _next_data(fd: int, start: int) -> float:
    """Where a file has something written at or after `start`; `inf` if nowhere."""
    try:
        return os.lseek(fd, start, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return inf


def _digest(name: str) -> bytes | None:
    """The digest that a file name spells in lower-case hex, None for any other name."""
    try:
        digest = bytes.fromhex(name)
    except ValueError:
        return None
    return digest if len(digest) == 32 and digest.hex() == name else None


def _is_gone(path: Path) -> bool:
    """Whether no file is there; one that only cannot be looked at now is not gone."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _fits(path: Path) -> bool:
    """A regular file of a size that a snapshot can have."""
    status = path.lstat()
    return S_ISREG(status.st_mode) and 0 < status.st_size <= MAX_SNAPSHOT_BYTES


def _clear(path: Path) -> None:
    """Remove a stray file; a folder is somebody's and stays."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
