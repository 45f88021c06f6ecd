"""What the carrier does with messages and files, without a socket or a clock."""

import errno
from math import inf
from random import Random

from dcfm_node.net.carrier import (
    RETRY_S,
    BadPeer,
    BulkEvent,
    Carrier,
    Fetched,
    FetchFailed,
    FetchProgressed,
    ServeFailed,
)
from dcfm_node.net.frames import Ask, Buffer, Chunk, Frames, Holds, Lacks, Want, decode, encode
from dcfm_node.net.peers import Flooded
from dcfm_node.net.rate_limits import ASKS_AT_ONCE
from dcfm_node.records.entries import Snapshot
from dcfm_node.swarm.chunks import CHUNK_BYTES, chunk_hashes, snapshot_of

PEER = b"P" * 32
DATA = b"a" * CHUNK_BYTES + b"b" * CHUNK_BYTES + b"tail"
HASHES = chunk_hashes(DATA)
SNAPSHOT = snapshot_of(DATA)
DIGEST = SNAPSHOT.digest


class Files:
    """One snapshot in memory; `broken` names the call that the disk refuses."""

    def __init__(self, held: bytes | None = None) -> None:
        self.held = held
        self.partial = bytearray(len(DATA))
        self.broken = ""
        self.begun: list[int] = []

    def _touch(self, call: str) -> None:
        if self.broken == call:
            raise OSError(errno.EIO, "Input/output error")

    def hashes(self, digest: bytes) -> bytes | None:
        self._touch("hashes")
        return HASHES if self.held is not None and digest == DIGEST else None

    def begin(self, snapshot: Snapshot) -> None:
        self._touch("begin")
        self.begun.append(snapshot.size)

    def read(self, digest: bytes, index: int) -> bytes:
        self._touch("read")
        return bytes((self.held or self.partial)[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES])

    def write(self, digest: bytes, index: int, data: bytes | memoryview) -> None:
        self._touch("write")
        self.partial[index * CHUNK_BYTES : index * CHUNK_BYTES + len(data)] = data

    def finish(self, digest: bytes, hashes: bytes) -> None:
        self._touch("finish")
        assert hashes == HASHES
        self.held = bytes(self.partial)

    def discard(self, digest: bytes) -> None:
        self._touch("discard")
        self.partial = bytearray(len(DATA))


class Desk:
    """A carrier with its outbox and its events."""

    def __init__(self, held: bytes | None = None) -> None:
        self.files = Files(held)
        self.sent: list[Frames] = []
        self.events: list[BulkEvent] = []
        self.carrier = Carrier(self.files, self.send, self.events.append, Random(0))
        self.carrier.linked(PEER, True, 0.0)

    def send(self, peer: bytes, frames: list[Buffer]) -> bool:
        assert peer == PEER
        self.sent.append(decode([bytes(frame) for frame in frames]))
        return True

    def receive(self, message: Frames, now: float = 0.0) -> None:
        self.carrier.received(PEER, encode(message), now)

    def serve(self, now: float) -> None:
        """Answer as an honest holder until nothing is asked any more."""
        while self.sent or self.carrier.due(now) <= now:
            self.carrier.step(now)
            for message in self.take():
                if isinstance(message, Ask):
                    self.receive(Holds(DIGEST, b"", HASHES), now)
                elif isinstance(message, Want):
                    start = message.index * CHUNK_BYTES
                    data = DATA[start : start + CHUNK_BYTES]
                    self.receive(Chunk(DIGEST, message.index, data), now)

    def take(self) -> list[Frames]:
        taken, self.sent = self.sent, []
        return taken


def test_a_held_snapshot_is_served() -> None:
    desk = Desk(held=DATA)
    desk.receive(Ask(DIGEST))
    desk.receive(Want(DIGEST, 2))
    desk.receive(Want(DIGEST, 3))
    desk.receive(Ask(bytes(32)))
    desk.receive(Want(bytes(32), 0))
    desk.carrier.step(0.0)
    beyond, unknown = Lacks(DIGEST), Lacks(bytes(32))
    holds = Holds(DIGEST, b"", HASHES)
    assert desk.sent == [holds, unknown, Chunk(DIGEST, 2, b"tail"), beyond, unknown]


def test_a_snapshot_that_cannot_be_read_is_lacking_and_told() -> None:
    desk = Desk(held=DATA)
    desk.files.broken = "read"
    desk.receive(Want(DIGEST, 0))
    desk.carrier.step(0.0)
    assert desk.sent == [Lacks(DIGEST)]
    assert isinstance(desk.events[0], ServeFailed)


def test_a_fetch_ends_with_the_whole_file() -> None:
    desk = Desk()
    desk.carrier.fetch(SNAPSHOT, 0.0)
    desk.carrier.fetch(SNAPSHOT, 0.0)
    assert desk.sent == [Ask(DIGEST)]
    desk.serve(0.0)
    assert desk.files.held == DATA
    assert desk.events[-2:] == [FetchProgressed(DIGEST, len(DATA), len(DATA)), Fetched(DIGEST)]


def test_a_fetch_of_the_wrong_size_first_ends_with_the_file_too() -> None:
    desk = Desk()
    desk.carrier.fetch(Snapshot(digest=DIGEST, size=len(DATA) + 1), 0.0)
    desk.carrier.fetch(SNAPSHOT, 0.0)
    desk.serve(0.0)
    assert desk.files.begun == [len(DATA) + 1, len(DATA)]
    assert desk.files.held == DATA and desk.events[-1] == Fetched(DIGEST)
    assert not any(isinstance(event, BadPeer) for event in desk.events)


def test_progress_is_told_at_intervals() -> None:
    desk = Desk()
    desk.carrier.fetch(SNAPSHOT, 0.0)
    desk.serve(0.0)
    told = [event.done_bytes for event in desk.events if isinstance(event, FetchProgressed)]
    assert told == [CHUNK_BYTES, len(DATA)]


def test_a_fetch_of_what_is_held_ends_at_once() -> None:
    desk = Desk(held=DATA)
    desk.carrier.fetch(SNAPSHOT, 0.0)
    assert (desk.events, desk.sent) == ([Fetched(DIGEST)], [])


def test_whatever_the_disk_refuses_is_told_and_tried_again() -> None:
    for call in ("hashes", "begin", "read", "write", "finish"):
        desk = Desk()
        desk.files.broken = call
        desk.carrier.fetch(SNAPSHOT, 0.0)
        desk.serve(0.0)
        failed = desk.events[-1]
        assert isinstance(failed, FetchFailed), call
        assert "Input/output error" in failed.reason
        desk.files.broken = ""
        desk.carrier.tick(RETRY_S - 1)
        assert desk.sent == []
        desk.carrier.tick(RETRY_S + 1)
        desk.serve(RETRY_S + 1)
        assert desk.files.held == DATA, call
        assert desk.events[-1] == Fetched(DIGEST)


def test_noise_names_its_sender_once_a_link() -> None:
    desk = Desk()
    for _ in range(3):
        desk.carrier.received(PEER, [b"noise"], 0.0)
    assert [type(event) for event in desk.events] == [BadPeer]
    desk.carrier.linked(PEER, False, 1.0)
    desk.carrier.received(PEER, [b"noise"], 1.0)
    assert len(desk.events) == 2


def test_a_lost_link_is_asked_again_when_it_returns() -> None:
    desk = Desk()
    desk.carrier.fetch(SNAPSHOT, 0.0)
    desk.carrier.linked(PEER, False, 1.0)
    desk.take()
    desk.carrier.linked(PEER, True, 2.0)
    assert desk.sent == [Ask(DIGEST)]


def test_a_cancelled_fetch_is_forgotten_with_its_file() -> None:
    desk = Desk()
    desk.files.partial[0] = 1
    desk.carrier.fetch(SNAPSHOT, 0.0)
    desk.carrier.cancel(DIGEST, 0.0)
    desk.take()
    desk.receive(Holds(DIGEST, b"", HASHES))
    desk.carrier.tick(100.0)
    assert desk.carrier.due(100.0) == inf and desk.sent == []
    assert desk.files.partial == bytearray(len(DATA))


def test_who_asks_without_end_is_answered_as_often_as_it_may_and_named() -> None:
    """An answer may bear 256 KiB of hashes: SPEC 4.7."""
    desk = Desk(held=DATA)
    for _ in range(int(2 * ASKS_AT_ONCE)):
        desk.carrier.received(PEER, encode(Ask(DIGEST)), 0.0)
    assert len(desk.sent) == ASKS_AT_ONCE
    assert [type(event) for event in desk.events[:1]] == [Flooded]
    assert len(desk.events) < 20
    desk.carrier.received(PEER, encode(Ask(DIGEST)), 1.0)
    assert len(desk.sent) == ASKS_AT_ONCE + 1
