"""The bulk plane over real sockets on the loopback (SPEC 5)."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from random import Random
from threading import Barrier, Condition

import pytest
import zmq

from dcfm_node.net.bulk import (
    BadPeer,
    Bulk,
    BulkEvent,
    Crashed,
    Fetched,
    FetchFailed,
    FetchProgressed,
)
from dcfm_node.net.peers import Faulted, LinkPeer
from dcfm_node.records.entries import Snapshot
from dcfm_node.swarm.chunks import CHUNK_BYTES, chunk_hashes, snapshot_of

WAIT_S = 30.0


class MemoryFiles:
    """Snapshots in memory."""

    def __init__(self, *held: bytes) -> None:
        self.held = {snapshot_of(data).digest: data for data in held}
        self.lists = {digest: chunk_hashes(data) for digest, data in self.held.items()}
        self.partial: dict[bytes, bytearray] = {}
        self.written: list[int] = []
        self.failures = 0

    def hashes(self, digest: bytes) -> bytes | None:
        return self.lists.get(digest)

    def read(self, digest: bytes, index: int) -> bytes:
        start = index * CHUNK_BYTES
        return bytes((self.held.get(digest) or self.partial[digest])[start : start + CHUNK_BYTES])

    def begin(self, snapshot: Snapshot) -> None:
        if snapshot.digest not in self.partial:
            self.partial[snapshot.digest] = bytearray(snapshot.size)

    def write(self, digest: bytes, index: int, data: bytes | memoryview) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        start = index * CHUNK_BYTES
        self.partial[digest][start : start + len(data)] = data
        self.written.append(index)

    def finish(self, digest: bytes, hashes: bytes) -> None:
        data = bytes(self.partial.pop(digest))
        assert chunk_hashes(data) == hashes
        self.held[digest], self.lists[digest] = data, hashes

    def discard(self, digest: bytes) -> None:
        self.partial.pop(digest, None)


class GatedFiles(MemoryFiles):
    """Serves no chunk before every holder at the gate was asked for one."""

    def __init__(self, data: bytes, gate: Barrier, tampers: bool = False) -> None:
        super().__init__(data)
        self.gate, self.tampers, self.calls = gate, tampers, 0

    def read(self, digest: bytes, index: int) -> bytes:
        self.calls += 1
        if self.calls == 1:
            self.gate.wait(WAIT_S)
        data = super().read(digest, index)
        return bytes([data[0] ^ 1]) + data[1:] if self.tampers else data


@dataclass
class Node:
    """A node under test: its keys, files, and every event that its bulk thread told."""

    name: str
    files: MemoryFiles = field(default_factory=MemoryFiles)
    events: list[BulkEvent] = field(default_factory=list)
    told: Condition = field(default_factory=Condition)
    bulk: Bulk | None = None
    upload: float = inf

    def __post_init__(self) -> None:
        public, secret = zmq.curve_keypair()
        self.public, self.secret = public.decode(), secret.decode()
        self.id = self.name.encode().ljust(32, b".")

    def peer(self, bulk: str | None = None) -> LinkPeer:
        return LinkPeer(self.id, self.name, self.public, None, bulk)

    def start(self, *peers: LinkPeer, listen: str | None = "tcp://127.0.0.1:*") -> str:
        self.bulk = Bulk(
            secret=self.secret,
            public=self.public,
            listen=listen,
            peers=peers,
            files=self.files,
            notify=self.notify,
            upload=self.upload,
        )
        self.bulk.start()
        return self.bulk.address or ""

    def notify(self, event: BulkEvent) -> None:
        with self.told:
            self.events.append(event)
            self.told.notify_all()

    def fetch(self, snapshot: Snapshot) -> None:
        assert self.bulk
        self.bulk.fetch(snapshot)

    def until(self, condition: Callable[[list[BulkEvent]], bool]) -> None:
        with self.told:
            assert self.told.wait_for(lambda: condition(self.events), WAIT_S), self.events

    def until_fetched(self, snapshot: Snapshot) -> None:
        self.until(lambda events: Fetched(snapshot.digest) in events)


@contextmanager
def nodes(*running: Node) -> Iterator[None]:
    try:
        yield
    finally:
        for node in running:
            if node.bulk is not None:
                node.bulk.close()


def make(size: int, seed: int = 0) -> tuple[bytes, Snapshot]:
    data = Random(seed).randbytes(size)
    return data, snapshot_of(data)


def test_a_node_that_only_dials_out_fetches_and_serves() -> None:
    ours, our_snapshot = make(3 * CHUNK_BYTES + 17, seed=1)
    theirs, their_snapshot = make(CHUNK_BYTES - 1, seed=2)
    server, silo = Node("server", MemoryFiles(theirs)), Node("silo", MemoryFiles(ours))
    with nodes(server, silo):
        address = server.start(silo.peer())
        silo.start(server.peer(address), listen=None)
        server.fetch(our_snapshot)
        silo.fetch(their_snapshot)
        server.until_fetched(our_snapshot)
        silo.until_fetched(their_snapshot)
        assert server.bulk and silo.bulk
        assert server.bulk.stats()[silo.id][1] > len(ours)
        assert silo.bulk.stats()[server.id][1] > len(theirs)
        # The author of a snapshot holds it: fetching it again ends at once.
        silo.fetch(our_snapshot)
        silo.until_fetched(our_snapshot)
    assert server.files.held[our_snapshot.digest] == ours
    assert silo.files.held[their_snapshot.digest] == theirs


def test_twenty_megabytes_from_two_holders_of_which_one_tampers() -> None:
    data, snapshot = make(20_000_000)
    gate, reader = Barrier(2), Node("reader")
    honest = Node("honest", GatedFiles(data, gate))
    tampering = Node("tampering", GatedFiles(data, gate, tampers=True))
    with nodes(honest, tampering, reader):
        addresses = [node.start(reader.peer()) for node in (honest, tampering)]
        reader.start(honest.peer(addresses[0]), tampering.peer(addresses[1]))
        reader.fetch(snapshot)
        reader.until_fetched(snapshot)
    assert reader.files.held[snapshot.digest] == data
    bad = [event for event in reader.events if isinstance(event, BadPeer)]
    assert [(event.peer_id, event.digest) for event in bad] == [(tampering.id, snapshot.digest)]
    assert "chunk" in bad[0].reason
    assert FetchProgressed(snapshot.digest, snapshot.size, snapshot.size) in reader.events


def test_two_honest_holders_share_the_load() -> None:
    data, snapshot = make(24 * CHUNK_BYTES)
    gate, reader = Barrier(2), Node("reader")
    holders = [Node(name, GatedFiles(data, gate)) for name in ("first", "second")]
    with nodes(reader, *holders):
        address = reader.start(*(holder.peer() for holder in holders))
        for holder in holders:
            holder.start(reader.peer(address), listen=None)
        reader.fetch(snapshot)
        reader.until_fetched(snapshot)
        assert reader.bulk
        received = [reader.bulk.stats()[holder.id][1] for holder in holders]
    assert sorted(reader.files.written) == list(range(24))
    assert min(received) >= CHUNK_BYTES


def test_a_half_written_partial_is_resumed() -> None:
    data, snapshot = make(10 * CHUNK_BYTES + 5)
    holder, reader = Node("holder", MemoryFiles(data)), Node("reader")
    kept = bytearray(data[: 6 * CHUNK_BYTES].ljust(len(data), b"\0"))
    kept[2 * CHUNK_BYTES] ^= 1  # a torn write
    reader.files.partial[snapshot.digest] = kept
    with nodes(holder, reader):
        reader.start(holder.peer(holder.start(reader.peer())))
        reader.fetch(snapshot)
        reader.until_fetched(snapshot)
    assert sorted(reader.files.written) == [2, 6, 7, 8, 9, 10]
    assert reader.files.held[snapshot.digest] == data


def test_a_fetch_waits_for_a_holder_to_appear() -> None:
    data, snapshot = make(2 * CHUNK_BYTES)
    holder, reader = Node("holder", MemoryFiles(data)), Node("reader")
    with nodes(holder, reader):
        address = reader.start(holder.peer())
        reader.fetch(snapshot)
        holder.start(reader.peer(address), listen=None)
        reader.until_fetched(snapshot)
    assert reader.files.held[snapshot.digest] == data


def test_a_full_disk_is_reported_and_the_fetch_taken_up_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dcfm_node.net.carrier.RETRY_S", 0.2)
    data, snapshot = make(4 * CHUNK_BYTES)
    holder, reader = Node("holder", MemoryFiles(data)), Node("reader")
    reader.files.failures = 1
    with nodes(holder, reader):
        reader.start(holder.peer(holder.start(reader.peer())))
        reader.fetch(snapshot)
        reader.until_fetched(snapshot)
    failed = [event for event in reader.events if isinstance(event, FetchFailed)]
    assert len(failed) == 1 and "No space left" in failed[0].reason


def test_a_fault_is_told_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data, snapshot = make(3)
    reader, holder = Node("reader"), Node("holder", MemoryFiles(data))
    whole, bad = reader.files.hashes, make(1, seed=1)[1]

    def broken(digest: bytes) -> bytes | None:
        if digest == bad.digest:
            raise RuntimeError("a defect")
        return whole(digest)

    monkeypatch.setattr(reader.files, "hashes", broken)
    with nodes(reader, holder):
        reader.start(holder.peer(holder.start(reader.peer())))
        reader.fetch(bad)
        reader.until(lambda events: Faulted("RuntimeError: a defect", 1) in events)
        reader.fetch(snapshot)
        reader.until_fetched(snapshot)
        assert not any(isinstance(event, Crashed) for event in reader.events)


@pytest.mark.parametrize(
    "error", [OSError(errno.EMFILE, "Too many open files"), MemoryError(), OSError(errno.EIO, "")]
)
@pytest.mark.parametrize("call", ["begin", "write", "finish"])
def test_what_the_machine_refuses_is_told_and_tried_again(
    call: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcfm_node.net.carrier.RETRY_S", 0.2)
    data, snapshot = make(2 * CHUNK_BYTES)
    holder, reader = Node("holder", MemoryFiles(data)), Node("reader")
    done, left = getattr(reader.files, call), [1]

    def refusing(*arguments: object) -> None:
        if left:
            left.pop()
            raise error
        done(*arguments)

    monkeypatch.setattr(reader.files, call, refusing)
    with nodes(holder, reader):
        reader.start(holder.peer(holder.start(reader.peer())))
        reader.fetch(snapshot)
        reader.until_fetched(snapshot)
    failed = [event for event in reader.events if isinstance(event, FetchFailed)]
    assert [type(error).__name__ in event.reason for event in failed] == [True]


def peak_kib() -> int:
    """The most memory that this process held at once since it was reset, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def test_memory_does_not_grow_with_the_snapshot() -> None:
    data, snapshot = make(100 * CHUNK_BYTES)
    holder, reader = Node("holder", MemoryFiles(data)), Node("reader", MemoryFiles())
    reader.files.begin(snapshot)
    reader.files.partial[snapshot.digest][:] = b"\1" * len(data)  # resident before we measure
    with nodes(holder, reader):
        reader.start(holder.peer(holder.start(reader.peer())))
        # The copy that the files below make at the end is not ours to count.
        reader.files.finish = lambda digest, hashes: None  # type: ignore[method-assign]
        Path("/proc/self/clear_refs").write_text("5")
        before = peak_kib()
        reader.fetch(snapshot)
        reader.until_fetched(snapshot)
        assert peak_kib() - before < 48 << 10


def test_a_cancelled_fetch_leaves_nothing_behind() -> None:
    _, snapshot = make(CHUNK_BYTES)
    _, marker = make(1, seed=3)
    reader = Node("reader", MemoryFiles(make(1, seed=3)[0]))
    with nodes(reader):
        reader.start()
        reader.fetch(snapshot)
        assert reader.bulk
        reader.bulk.cancel(snapshot.digest)
        reader.fetch(marker)  # commands keep their order
        reader.until_fetched(marker)
        assert snapshot.digest not in reader.files.partial


def test_a_holder_on_a_slow_line_is_helped_by_those_who_fetch_from_it() -> None:
    """SPEC 5.3.5: what was verified is given on while the rest still comes."""
    data, snapshot = make(48 * CHUNK_BYTES)
    author = Node("author", MemoryFiles(data), upload=16 * CHUNK_BYTES)
    readers = [Node("first"), Node("second")]
    everyone = [author, *readers]
    with nodes(*everyone):
        addresses: list[str] = []
        for index, node in enumerate(everyone):
            before = zip(everyone[:index], addresses, strict=True)
            later = everyone[index + 1 :]
            peers = [peer.peer(address) for peer, address in before]
            addresses.append(node.start(*peers, *(peer.peer() for peer in later)))
        for reader in readers:
            reader.fetch(snapshot)
        for reader in readers:
            reader.until_fetched(snapshot)
        assert author.bulk
        given = sum(author.bulk.stats()[reader.id][0] for reader in readers)
    assert all(reader.files.held[snapshot.digest] == data for reader in readers)
    assert given < 80 * CHUNK_BYTES  # without help it is 96
