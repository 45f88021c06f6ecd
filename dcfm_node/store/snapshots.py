"""Snapshots on disk (SPEC 5), named by their digest: the SHA-256 of their size and hash list.

    STATE/snapshots/<hex>.safetensors    complete and verified; appears only by a rename
    STATE/partial/<hex>                  allocated in full, filled in any order

Every byte is hashed once: the author hashes a file when it adopts it, a reader hashes each chunk as
it arrives. The store keeps the hash lists, so that serving hashes nothing. A start hashes all files
again (`verify`). An adopted snapshot is durable before any peer hears of it. A download is not
synced: the next start finds what a power cut took, and fetches it again.

Several threads use one store: the bulk thread downloads and serves; those of the daemon adopt, look
up and remove. This is safe because no file changes once it has its final name, no file stays open
between calls, and one lock covers the shared state: the hash lists of held snapshots, and the
renames and removals that change them. Hashing and syncing happen outside the lock. A download has
one writer: `begin`, `write`, `finish` and `discard` of a digest come from one thread.
"""

import errno
import os
from contextlib import suppress
from io import BufferedReader
from math import inf
from pathlib import Path
from shutil import disk_usage
from stat import S_ISREG
from threading import Lock

from dcfm_node.errors import PeerError
from dcfm_node.files import open_regular, private_folder, sync
from dcfm_node.records.base import MAX_SNAPSHOT_BYTES, Snapshot
from dcfm_node.swarm.chunks import CHUNK_BYTES, chunk_hash, snapshot_digest

SUFFIX = ".safetensors"


def describe(path: Path, *, least: int = 1, most: int = MAX_SNAPSHOT_BYTES) -> Snapshot:
    """Digest and size of a file, as a record names them.

    Args:
        least, most: bounds of its size in bytes; a file outside them is not read.

    Raises:
        OSError: the file cannot be read, is not regular, or has a size out of bounds.
    """
    return _hash(path, least, most)[0]


def _hash(path: Path, least: int = 1, most: int = MAX_SNAPSHOT_BYTES) -> tuple[Snapshot, bytes]:
    """Snapshot and hash list of a file, in one pass with one buffer."""
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
    """Read until the buffer is full or the file ends; returns the number of bytes read."""
    done = 0
    while done < len(buffer) and (length := file.readinto(buffer[done:])):
        done += length
    return done


def snapshot_path(state: Path, digest: bytes) -> Path:
    """The path at which a state folder keeps a snapshot, if it holds it."""
    return state / "snapshots" / f"{digest.hex()}{SUFFIX}"


def digest_of_name(path: Path) -> bytes | None:
    """The digest in the name of a snapshot's file; None for any other name."""
    return _digest(path.stem) if path.suffix == SUFFIX else None


class SnapshotStore:
    """The snapshots of one node; a `swarm.chunks.SnapshotFiles`.

    Args:
        state: the state folder. The store leaves files with other names in `snapshots`, and
            deletes them in `partial`, which is scratch space.
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
        """Hash list of each held snapshot; for files of an earlier start, empty until `verify`."""
        for path in self._scratch.iterdir():
            digest = _digest(path.name)
            if digest is None or digest in self._held or not _fits(path):
                _clear(path)

    def held(self) -> set[bytes]:
        """Digests of the complete snapshots."""
        with self._lock:
            return set(self._held)

    def path(self, digest: bytes) -> Path | None:
        """The path of a snapshot; None if it is not held."""
        with self._lock:
            return self._final(digest) if digest in self._held else None

    def bytes_held(self) -> int:
        """Size of all complete snapshots together."""
        total = 0
        for digest in self.held():
            with suppress(OSError):  # somebody deleted it
                total += self._final(digest).stat().st_size
        return total

    def disk(self) -> tuple[int | None, int | None]:
        """Bytes that are free for this node where the snapshots are, and of the whole file system;
        None where the system does not say."""
        try:
            found = disk_usage(self._folder)
        except OSError:
            return None, None
        return found.free, found.total

    def vanished(self) -> set[bytes]:
        """Digests of held snapshots whose files somebody deleted. They count as held until the
        swarm learns of it, and drops them or fetches them again. The store serves none of them."""
        return {digest for digest in self.held() if _is_gone(self._final(digest))}

    def adopt(self, path: Path) -> Snapshot:
        """Take over a file that the worker wrote on the same file system; durable on return."""
        snapshot, hashes = _hash(path)
        path.chmod(0o600)
        sync(path)
        self._publish(path, snapshot.digest, hashes)
        sync(self._folder)
        return snapshot

    def install(self, path: Path, digest: bytes) -> None:
        """Take over a file that should be this snapshot.

        Raises:
            PeerError: its digest is another.
        """
        snapshot, hashes = _hash(path)
        if snapshot.digest != digest:
            raise PeerError("the restored file is not the snapshot that the record names")
        path.chmod(0o600)
        self._publish(path, digest, hashes)

    def verify(self, digest: bytes) -> bool:
        """Hash the file of a snapshot. If its digest is right, serve it; otherwise delete it."""
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
        """Delete a snapshot."""
        with self._lock:
            self._held.pop(digest, None)
            self._final(digest).unlink(missing_ok=True)

    def partials(self) -> set[bytes]:
        """Digests of downloads that are neither finished nor discarded."""
        return {digest for path in self._scratch.iterdir() if (digest := _digest(path.name))}

    def hashes(self, digest: bytes) -> bytes | None:
        """The hash list of a complete, verified snapshot; None for any other."""
        with self._lock:
            hashes = self._held.get(digest)
            return hashes if hashes and not _is_gone(self._final(digest)) else None

    def read(self, digest: bytes, index: int) -> bytes:
        """Chunk `index` of a complete or partial snapshot, as it is on disk. Empty beyond the end,
        and where nothing was written to a partial file yet.

        Raises:
            OSError: no file of it exists, or it cannot be read.
        """
        final, start = self.path(digest), index * CHUNK_BYTES
        if final is not None and _is_gone(final):  # it may be downloading again
            final = None
        path = final or self._partial(digest)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            # Reading allocated but unwritten space would fill the page cache with zeros.
            if not final and _next_data(fd, start) >= start + CHUNK_BYTES:
                return b""
            return os.pread(fd, CHUNK_BYTES, start)
        finally:
            os.close(fd)

    def begin(self, snapshot: Snapshot) -> None:
        """Allocate the partial file, and keep the chunks that an earlier start wrote to it.

        Raises:
            OSError: ENOSPC if the disk lacks the space; space allocated meanwhile is freed.
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
            if found < snapshot.size:  # it was never allocated in full, so no chunk was written
                path.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)

    def write(self, digest: bytes, index: int, data: bytes | memoryview) -> None:
        """Write chunk `index` to its place in the partial file."""
        fd = os.open(self._partial(digest), os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            done = 0
            while done < len(data):
                done += os.pwrite(fd, memoryview(data)[done:], index * CHUNK_BYTES + done)
        finally:
            os.close(fd)

    def finish(self, digest: bytes, hashes: bytes) -> None:
        """Move a download to its final place. Every chunk was verified against the hash list."""
        self._publish(self._partial(digest), digest, hashes)

    def discard(self, digest: bytes) -> None:
        """Delete the partial file, if it exists."""
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
    """The first written position of a file at or after `start`; `inf` if there is none."""
    try:
        return os.lseek(fd, start, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return inf


def _digest(name: str) -> bytes | None:
    """The digest that a file name spells in lower-case hex; None for any other name."""
    try:
        digest = bytes.fromhex(name)
    except ValueError:
        return None
    return digest if len(digest) == 32 and digest.hex() == name else None


def _is_gone(path: Path) -> bool:
    """Whether the file does not exist. A file that cannot be examined now is not gone."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _fits(path: Path) -> bool:
    """Whether this is a regular file with a possible size of a snapshot."""
    status = path.lstat()
    return S_ISREG(status.st_mode) and 0 < status.st_size <= MAX_SNAPSHOT_BYTES


def _clear(path: Path) -> None:
    """Delete a stray file. A folder may belong to somebody, and stays."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
