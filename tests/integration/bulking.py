"""Nodes of the bulk plane over real sockets on the loopback, with snapshots in memory."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from random import Random
from threading import Barrier, Condition

import zmq

from dcfm_node.net.bulk import Bulk, BulkEvent, Fetched
from dcfm_node.net.peers import LinkPeer
from dcfm_node.records.entries import Snapshot
from dcfm_node.swarm.chunks import CHUNK_BYTES, chunk_hashes, snapshot_of

WAIT_S = 60.0


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
