"""What a node sends is recorded beside the sending, and nothing waits for the disk."""

import asyncio
from pathlib import Path
from threading import Thread

import pytest

from dcfm_node.daemon import egress as recording
from dcfm_node.daemon.disk import Disk
from dcfm_node.daemon.egress import Egress
from dcfm_node.net import frames
from dcfm_node.records.messages import Sync
from dcfm_node.store.egress import LEDGER, Ledger
from dcfm_node.swarm.egress import UNSORTED
from dcfm_node.wire.envelope import encode_message

ME, EAST, RUN = b"m" * 32, b"e" * 32, b"r" * 32
SYNC = encode_message(Sync(run=RUN, version="1", heads={}, beats={}, reply=True))


async def never() -> None:
    raise AssertionError("nobody waits for the ledger")


class Stage:
    """A recorder over a folder, with a clock that is set by hand."""

    def __init__(self, state: Path) -> None:
        self.now, self.disk, self.ledger = 1_000_000, Disk(never), Ledger(state)
        self.egress = Egress(
            self.ledger, self.disk, me=ME, run=RUN, names={EAST: "east"}, clock=lambda: self.now
        )

    def write(self, *, closed: bool = False) -> None:
        asyncio.run(self.egress.write(closed=closed))

    @property
    def size(self) -> int:
        return sum(line.sum.size for line in self.ledger.lines())


def test_both_planes_are_recorded_from_two_threads(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    chunk = frames.encode(frames.Chunk(b"d" * 32, 0, memoryview(b"x" * 5_000)))

    def sends() -> None:
        for _ in range(200):
            stage.egress.sent(EAST, "bulk", chunk)

    thread = Thread(target=sends)
    thread.start()
    for _ in range(200):
        stage.egress.sent(EAST, "control", [SYNC])
    thread.join()
    stage.write()
    lines = {line.what.kind: line.sum for line in stage.ledger.lines()}
    assert lines["sync"].size == 200 * len(SYNC)
    assert lines["chunk"].size == 200 * sum(map(len, chunk))
    assert lines["chunk"].items == 200


def test_answers_to_guests_of_invites_are_counted_by_name(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.egress.paired(b"g" * 32, "west", 400)
    stage.egress.paired(b"", "", 100)
    stage.write()
    lines = [(line.name, line.what.kind, line.sum.size) for line in stage.ledger.lines()]
    assert lines == [("west", "pairing", 400), ("", "pairing", 100)]


def test_what_the_disk_refuses_is_said_kept_and_written_later(tmp_path: Path) -> None:
    state = tmp_path / "state"
    stage = Stage(state)  # the folder is not there: a disk that refuses
    for _ in range(3):
        stage.egress.sent(EAST, "control", [SYNC])
        stage.write()
    (problem,) = stage.disk.problems()
    assert f"3 messages, {3 * len(SYNC)} bytes, that this node sent are unrecorded" in str(problem)
    state.mkdir()
    stage.egress.sent(EAST, "control", [SYNC])
    stage.write()
    assert stage.disk.problems() == []
    assert stage.size == 4 * len(SYNC)


def test_more_than_can_be_sorted_is_counted_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "MAX_WAITING_BYTES", 2 * len(SYNC))
    stage = Stage(tmp_path)
    for _ in range(10):
        stage.egress.sent(EAST, "control", [SYNC])
    stage.write()
    kinds = {line.what.kind: line.sum.items for line in stage.ledger.lines()}
    assert kinds == {"sync": 3, UNSORTED: 7}
    assert stage.size == 10 * len(SYNC)


def test_an_end_closes_the_ledger_and_a_kill_does_not(tmp_path: Path) -> None:
    killed = Stage(tmp_path)
    asyncio.run(killed.egress.begin())
    killed.write()
    stage = Stage(tmp_path)
    stage.now += 60_000
    stage.egress._opened_ms = stage.now
    asyncio.run(stage.egress.begin())
    stage.egress.sent(EAST, "control", [SYNC])
    stage.write(closed=True)
    stage.write()  # a write that was on its way does not open it again
    assert [span.closed for span in stage.ledger.spans()] == [False, True]


def test_a_damaged_ledger_does_not_keep_a_node_from_starting(tmp_path: Path) -> None:
    (tmp_path / LEDGER).write_bytes(b"rubbish" * 1_000)
    stage = Stage(tmp_path)
    asyncio.run(stage.egress.begin())
    stage.egress.sent(EAST, "control", [SYNC])
    stage.write()
    assert stage.size == len(SYNC)
    assert (tmp_path / f"{LEDGER}.damaged-1").exists()
