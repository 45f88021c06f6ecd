"""Snapshots on disk."""

import errno
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from dcfm_node.records.base import MAX_SNAPSHOT_BYTES
from dcfm_node.records.entries import Snapshot
from dcfm_node.store.snapshots import SnapshotStore, describe
from dcfm_node.swarm.chunks import (
    CHUNK_BYTES,
    SnapshotFiles,
    chunk_count,
    chunk_hashes,
    snapshot_of,
)

DATA = Random(7).randbytes(2 * CHUNK_BYTES + 12_345)


def chunk(data: bytes, index: int) -> bytes:
    return data[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]


def download(store: SnapshotStore, data: bytes, order: Iterable[int] = (2, 0, 1)) -> Snapshot:
    snapshot = snapshot_of(data)
    store.begin(snapshot)
    for index in order:
        store.write(snapshot.digest, index, chunk(data, index))
    return snapshot


def adopt(store: SnapshotStore, data: bytes, folder: Path) -> Snapshot:
    path = folder / "output.safetensors"
    path.write_bytes(data)
    return store.adopt(path)


def read(store: SnapshotStore, digest: bytes) -> bytes | None:
    if store.hashes(digest) is None:
        return None
    count = len(store.hashes(digest) or b"") // 32
    return b"".join(store.read(digest, index) for index in range(count))


def finish(store: SnapshotStore, snapshot: Snapshot, data: bytes) -> None:
    store.finish(snapshot.digest, chunk_hashes(data))


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(tmp_path)


def test_it_is_what_the_transfer_asks_for(store: SnapshotStore) -> None:
    files: SnapshotFiles = store
    assert files.hashes(b"d" * 32) is None


@pytest.mark.parametrize("size", [1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, len(DATA)])
def test_describe_agrees_with_the_transfer(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA[:size])
    assert describe(path) == snapshot_of(DATA[:size])


@pytest.mark.parametrize("size", [0, MAX_SNAPSHOT_BYTES + 1])
def test_an_empty_or_too_large_file_is_no_snapshot(tmp_path: Path, size: int) -> None:
    """An operator's file, or one from a bundle: a fault of the file, told by its name."""
    (tmp_path / "file").touch()
    os.truncate(tmp_path / "file", size)  # it takes no room on the disk
    with pytest.raises(OSError, match="is empty" if not size else "is too large"):
        describe(tmp_path / "file")


def test_a_pipe_is_no_snapshot_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "file")
    with pytest.raises(OSError, match="not a regular file"):
        describe(tmp_path / "file")


def test_a_download_in_any_order_is_held(store: SnapshotStore, tmp_path: Path) -> None:
    snapshot = download(store, DATA)
    assert store.partials() == {snapshot.digest}
    assert store.held() == set()
    assert store.hashes(snapshot.digest) is None
    finish(store, snapshot, DATA)
    assert store.hashes(snapshot.digest) == chunk_hashes(DATA)
    assert store.held() == {snapshot.digest}
    assert store.partials() == set()
    path = store.path(snapshot.digest)
    assert path == tmp_path / "snapshots" / f"{snapshot.digest.hex()}.safetensors"
    assert path.read_bytes() == DATA
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_download_is_taken_up_after_a_restart(store: SnapshotStore, tmp_path: Path) -> None:
    snapshot = download(store, DATA, order=(1,))
    again = SnapshotStore(tmp_path)
    again.begin(snapshot)
    parts = [again.read(snapshot.digest, i) for i in range(chunk_count(snapshot.size))]
    assert parts == [b"", chunk(DATA, 1), b""]
    for index in (0, 2):
        again.write(snapshot.digest, index, chunk(DATA, index))
    finish(again, snapshot, DATA)
    assert read(again, snapshot.digest) == DATA


def test_zeros_that_were_written_are_told_from_room_that_was_only_allocated(
    store: SnapshotStore,
) -> None:
    zeros = bytes(2 * CHUNK_BYTES)
    snapshot = download(store, zeros, order=(1,))
    assert [store.read(snapshot.digest, i) for i in (0, 1)] == [b"", bytes(CHUNK_BYTES)]


def test_what_was_fetched_can_be_discarded(store: SnapshotStore) -> None:
    snapshot = download(store, DATA, order=(0, 1))
    store.discard(snapshot.digest)
    store.discard(snapshot.digest)
    assert store.partials() == set()


def test_a_partial_file_of_another_size_is_fitted(store: SnapshotStore, tmp_path: Path) -> None:
    snapshot = snapshot_of(DATA)
    partial = tmp_path / "partial" / snapshot.digest.hex()
    for wrong in (1, len(DATA) + 1):
        partial.write_bytes(bytes(wrong))
        store.begin(snapshot)
        assert partial.stat().st_size == len(DATA)


def test_a_full_disk_is_an_oserror_and_takes_no_room(
    store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, offset: int, length: int) -> None:
        os.ftruncate(fd, length // 2)  # a filesystem may get half way
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left") as refused:
        store.begin(snapshot_of(DATA))
    assert refused.value.errno == errno.ENOSPC
    assert store.partials() == set()


def test_a_disk_error_on_resuming_keeps_what_was_fetched(
    store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = download(store, DATA, order=(0,))

    def failing(fd: int, offset: int, length: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "posix_fallocate", failing)
    with pytest.raises(OSError, match="Input/output"):
        store.begin(snapshot)
    assert store.read(snapshot.digest, 0) == chunk(DATA, 0)


def test_writing_to_no_download_is_an_oserror(store: SnapshotStore) -> None:
    with pytest.raises(FileNotFoundError):
        store.write(b"d" * 32, 0, b"data")


def test_adopting_moves_the_file_in(store: SnapshotStore, tmp_path: Path) -> None:
    output = tmp_path / "output.safetensors"
    output.write_bytes(DATA)
    output.chmod(0o644)
    assert store.adopt(output) == snapshot_of(DATA)
    assert not output.exists()
    path = store.path(snapshot_of(DATA).digest)
    assert path is not None
    assert path.stat().st_mode & 0o777 == 0o600


def test_adopting_what_is_held_keeps_it(store: SnapshotStore, tmp_path: Path) -> None:
    first = adopt(store, DATA, tmp_path)
    assert adopt(store, DATA, tmp_path) == first
    assert read(store, first.digest) == DATA


def test_a_removed_snapshot_is_gone(store: SnapshotStore, tmp_path: Path) -> None:
    digest = adopt(store, DATA, tmp_path).digest
    path = store.path(digest)
    store.remove(digest)
    store.remove(digest)
    assert path is not None and not path.exists()
    assert store.hashes(digest) is None and store.path(digest) is None
    with pytest.raises(FileNotFoundError):
        store.read(digest, 0)


def test_a_start_serves_what_it_hashed_and_found_sound(
    store: SnapshotStore, tmp_path: Path
) -> None:
    """SPEC 5.3.4: a disk can change a bit."""
    sound, rotten = (adopt(store, DATA[size:], tmp_path).digest for size in (0, 1))
    path = store.path(rotten)
    assert path is not None
    path.write_bytes(DATA[1:-1] + b"?")
    again = SnapshotStore(tmp_path)
    assert again.hashes(sound) is None
    assert again.verify(sound) and again.hashes(sound) == chunk_hashes(DATA)
    assert not again.verify(rotten) and again.held() == {sound}
    assert not path.exists() and not again.verify(rotten)


def test_a_snapshot_deleted_by_hand_is_held_no_more(store: SnapshotStore, tmp_path: Path) -> None:
    digest = adopt(store, DATA, tmp_path).digest
    path = store.path(digest)
    assert path is not None
    assert store.vanished() == set()
    path.unlink()
    assert store.hashes(digest) is None
    assert store.vanished() == {digest}
    assert store.path(digest) == path, "what was begun with it fails, and is tried again"
    store.remove(digest)
    assert (store.held(), store.vanished()) == (set(), set())


def test_a_store_whose_folders_were_deleted_takes_snapshots_as_before(
    store: SnapshotStore, tmp_path: Path
) -> None:
    gone = adopt(store, DATA, tmp_path).digest
    for folder in ("snapshots", "partial"):
        shutil.rmtree(tmp_path / folder)
    assert store.vanished() == {gone}
    assert download(store, DATA).digest == gone
    assert store.read(gone, 0) == chunk(DATA, 0), "of the download, while it is on its way"
    store.finish(gone, chunk_hashes(DATA))
    assert (store.held(), store.vanished()) == ({gone}, set())
    shutil.rmtree(tmp_path / "snapshots")
    assert adopt(store, DATA, tmp_path).digest == gone
    assert (tmp_path / "snapshots").stat().st_mode & 0o777 == 0o700


def test_a_start_finds_what_is_held_and_clears_its_scratch(
    store: SnapshotStore, tmp_path: Path
) -> None:
    held = adopt(store, DATA, tmp_path).digest
    begun = download(store, DATA[:100], order=(0,)).digest
    folder, scratch = tmp_path / "snapshots", tmp_path / "partial"
    foreign = {"notes.txt", "ab.safetensors", f"{'A' * 64}.safetensors", f"{'cd' * 32}.bin"}
    for name in foreign:
        (folder / name).write_text("x")
    (folder / f"{'00' * 32}.safetensors").touch()
    (folder / f"{'11' * 32}.safetensors").symlink_to(folder / "notes.txt")
    (folder / f"{'22' * 32}.safetensors").mkdir()
    for name in ("junk", held.hex(), "AB" * 32):
        (scratch / name).write_text("x")
    (scratch / ("33" * 32)).touch()
    (scratch / ("44" * 32)).symlink_to(tmp_path)
    (scratch / "folder").mkdir()

    again = SnapshotStore(tmp_path)
    assert again.held() == {held}
    assert again.partials() == {begun}
    assert {path.name for path in scratch.iterdir()} == {begun.hex(), "folder"}
    assert foreign <= {path.name for path in folder.iterdir()}


def test_two_threads_agree_on_what_is_held(store: SnapshotStore, tmp_path: Path) -> None:
    """One downloads, one removes and looks: every digest that is held can be read whole."""
    datas = [Random(n).randbytes(1_000) for n in range(60)]
    whole = {snapshot_of(data).digest: data for data in datas}

    def bulk() -> None:
        for data in datas:
            finish(store, download(store, data, order=(0,)), data)

    def main() -> None:
        while not busy.done():
            for digest in store.held():
                assert read(store, digest) == whole[digest]
                store.remove(digest)

    with ThreadPoolExecutor(2) as threads:
        busy = threads.submit(bulk)
        threads.submit(main).result()
        busy.result()
    for digest in store.held():
        assert read(store, digest) == whole[digest]
    on_disk = {path.stem for path in (tmp_path / "snapshots").iterdir()}
    assert on_disk == {digest.hex() for digest in store.held()}
