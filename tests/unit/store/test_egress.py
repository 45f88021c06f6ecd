"""The ledger on disk: it survives restarts, stays small, and forgets no byte."""

import sqlite3
from pathlib import Path

import pytest

from dcfm_node.errors import DiskError, Failed
from dcfm_node.store.egress import DAY_MS, HOUR_MS, LEDGER, Ledger, Span
from dcfm_node.swarm.egress import Sum, What

RUN, PEER, OTHER, DIGEST = b"r" * 32, b"p" * 32, b"o" * 32, b"d" * 32
NAMES = [(PEER, "east"), (OTHER, "south")]
SYNC, CHUNK = What(PEER, "control", "sync"), What(PEER, "bulk", "chunk", b"", DIGEST)
NOON = 400 * DAY_MS + 12 * HOUR_MS


def write(ledger: Ledger, at: int, *whats: What) -> None:
    ledger.write(RUN, NAMES, [(what, Sum(at, at + 5, 2, 100)) for what in whats], at + 5)


def test_lines_survive_and_name_their_peer(tmp_path: Path) -> None:
    write(Ledger(tmp_path), NOON, SYNC, CHUNK)
    first, second = Ledger(tmp_path).lines()
    assert (first.run, first.name, first.what, first.sum) == (
        RUN,
        "east",
        SYNC,
        Sum(NOON, NOON + 5, 2, 100),
    )
    assert second.what == CHUNK
    assert Ledger(tmp_path).lines(NOON + 6) == []
    assert (tmp_path / LEDGER).stat().st_mode & 0o777 == 0o600


def test_without_a_ledger_there_is_nothing_and_none_is_made(tmp_path: Path) -> None:
    assert (Ledger(tmp_path).lines(), Ledger(tmp_path).spans()) == ([], [])
    assert not (tmp_path / LEDGER).exists()


def test_past_hours_and_days_are_added_up(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    yesterday = NOON - DAY_MS
    for hour in range(3):
        for second in range(10):
            for day in (yesterday, NOON):
                write(ledger, day + hour * HOUR_MS + second * 10_000, SYNC, CHUNK)
    before = ledger.lines()
    ledger.compact(NOON + 2 * HOUR_MS + 600_000)
    after = ledger.lines()
    assert len(before) == 120
    assert sum(line.sum.size for line in after) == sum(line.sum.size for line in before)
    old = [line for line in after if line.sum.last_ms < NOON - 12 * HOUR_MS]
    assert sorted(line.what.kind for line in old) == ["chunk", "sync"]  # a day
    today = [line for line in after if line.sum.first_ms >= NOON]
    assert sum(line.what == SYNC for line in today) == 2 + 10  # two past hours, and the present one
    assert sum(line.what == CHUNK for line in today) == 2 + 10
    ledger.compact(NOON + 2 * HOUR_MS + 600_000)
    assert ledger.lines() == after


def test_a_peer_that_asks_often_makes_the_ledger_forget_no_digest(tmp_path: Path) -> None:
    """A chunk of each of 20 snapshots every 10 s, in past hours and in the present one."""
    ledger = Ledger(tmp_path)
    honest = CHUNK._replace(peer=OTHER)
    write(ledger, NOON - 3 * HOUR_MS, honest)
    asked = [CHUNK._replace(digest=bytes([n]) * 32) for n in range(20)]
    for hour in (-2, 0):
        for time in range(10):
            write(ledger, NOON + hour * HOUR_MS + time * 10_000, *asked)
    ledger.compact(NOON + 110_000, most=100)
    lines = ledger.lines()
    assert len(lines) == 1 + 20 + 20
    assert all(line.what.digest for line in lines)
    assert lines[0].what == honest


def test_a_ledger_is_bounded_and_keeps_every_byte(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for day in range(20):
        at = NOON + day * DAY_MS
        write(ledger, at, *(CHUNK._replace(digest=bytes([day, n]) * 16) for n in range(50)))
    ledger.compact(NOON + 20 * DAY_MS, most=600)
    lines = ledger.lines()
    assert len(lines) <= 600
    assert sum(line.sum.size for line in lines) == 20 * 50 * 100
    assert {line.sum.last_ms for line in lines if line.what.digest} == {
        NOON + day * DAY_MS + 5 for day in range(11, 20)
    }


def test_starts_and_ends_are_known(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert ledger.begin(1_000) is None
    ledger.write(RUN, NAMES, [], 2_000, opened_ms=1_000)
    assert ledger.spans() == [Span(1_000, 2_000, False)]
    ledger.begin(5_000)
    ledger.write(RUN, NAMES, [], 6_000, opened_ms=5_000, closed=True)
    assert ledger.spans() == [Span(1_000, 2_000, False), Span(5_000, 6_000, True)]


def test_a_damaged_ledger_is_kept_aside_and_another_begins(tmp_path: Path) -> None:
    (tmp_path / LEDGER).write_bytes(b"no database at all" * 100)
    with pytest.raises(Failed):
        write(Ledger(tmp_path), NOON, SYNC)
    with pytest.raises(Failed):
        Ledger(tmp_path).lines()
    kept = Ledger(tmp_path).begin(NOON)
    assert kept is not None and kept.read_bytes().startswith(b"no database")
    write(Ledger(tmp_path), NOON, SYNC)
    assert len(Ledger(tmp_path).lines()) == 1


def test_another_programs_database_is_not_written_to(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / LEDGER) as db:
        db.execute("CREATE TABLE sent (a)")
    with pytest.raises(Failed, match="not an egress ledger"):
        write(Ledger(tmp_path), NOON, SYNC)


def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    with pytest.raises(DiskError):
        write(Ledger(tmp_path / "absent"), NOON, SYNC)
