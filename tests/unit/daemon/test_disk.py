"""A full disk: said, waited for, and gone on from with nothing lost."""

import asyncio
from pathlib import Path

import pytest

from dcfm_node.api.problems import Code, Problem
from dcfm_node.daemon.disk import Disk, low
from dcfm_node.store.journals import JournalStore
from tests.unit.swarm.builders import Run

RUN = Run(3)


def test_a_write_that_the_disk_refuses_is_tried_until_it_is_taken(tmp_path: Path) -> None:
    store = JournalStore(tmp_path / "journals.sqlite")
    author = RUN.authors[0]
    said = [author.join() for _ in range(60)]
    store.append(RUN.id, author.key, 0, said[0].envelope)
    rows = [(author.key, seq, sealed.envelope) for seq, sealed in enumerate(said)]
    # What SQLite says when no page can be added is what it says of a full disk.
    store._db.execute("PRAGMA max_page_count = 1")
    seen: list[list[Problem]] = []

    async def pause() -> None:
        assert disk.waiting
        assert store.load(RUN.id)[0] == said[:1]
        seen.append(disk.problems())
        if len(seen) == 2:
            store._db.execute("PRAGMA max_page_count = 1000")

    disk = Disk(pause)
    asyncio.run(disk.insist("the journals", lambda: store.append_many(RUN.id, rows)))
    assert len(seen) == 2 and seen[0][0].code is Code.DISK_FULL and "full" in seen[0][0].sentence
    assert not disk.waiting and disk.problems() == []
    assert store.load(RUN.id)[0] == said


def test_what_else_the_disk_refuses_is_said_until_it_is_taken() -> None:
    async def never() -> None:
        raise AssertionError

    now = iter((100.0, 130.0, 150.0))
    disk = Disk(never, lambda: next(now))
    disk.refused("snapshots", "Input/output error")
    disk.refused("snapshots", "No space left on device")
    (problem,) = disk.problems()
    assert problem.since_s == 50.0
    assert problem.sentence == "the disk refuses snapshots: No space left on device"
    assert "make room" in problem.fix
    disk.accepted("snapshots")
    disk.accepted("snapshots")
    assert disk.problems() == []


def test_the_folder_is_named_that_the_disk_refuses_to_write_to() -> None:
    async def never() -> None:
        raise AssertionError

    disk = Disk(never, folder=Path("/srv/state"))
    disk.refused("snapshots", "No space left on device")
    (problem,) = disk.problems()
    assert problem.sentence == "the disk refuses snapshots in /srv/state: No space left on device"


def test_whether_the_disk_refuses_is_told_once_and_again_when_it_takes_all() -> None:
    async def never() -> None:
        raise AssertionError

    disk, told = Disk(never), list[bool]()
    disk.tell = told.append
    disk.refused("snapshots", "full")
    disk.refused("snapshots", "full")
    disk.refused("the journals", "full")
    disk.accepted("snapshots")
    assert told == [True]
    disk.accepted("the journals")
    disk.accepted("the journals")
    assert told == [True, False]


@pytest.mark.parametrize(("free", "is_low"), [(None, False), (10**9, False), (10**6, True)])
def test_little_room_is_a_problem_and_an_unknown_one_is_not(free: int | None, is_low: bool) -> None:
    assert [problem.code for problem in low(free)] == [Code.DISK_LOW] * is_low


def test_something_is_done_while_the_disk_refuses() -> None:
    tries, shown = iter((OSError(28, "full"), OSError(28, "full"), None)), list[bool]()

    def write() -> None:
        if (error := next(tries)) is not None:
            raise error

    async def pause() -> None:
        assert disk.waiting

    disk = Disk(pause)
    asyncio.run(disk.insist("the journals", write, lambda: shown.append(disk.waiting)))
    assert shown == [True, True]
