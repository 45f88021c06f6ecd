"""Damaged journals: kept for whoever wants to look, and begun anew (SPEC 3.5)."""

import sqlite3
from pathlib import Path

import pytest

from dcfm_node.daemon.disk import open_journals
from dcfm_node.errors import Failed
from tests.unit.swarm.builders import Run


def test_damaged_journals_are_kept_aside_and_begun_anew(tmp_path: Path) -> None:
    path, run = tmp_path / "journals.sqlite", Run(1)
    author = run.authors[0]
    for number in range(2):
        store, (entries, _, heartbeats) = open_journals(path, run.id)
        assert (entries, heartbeats) == ([], [])
        store.append(run.id, author.key, 0, Run(1).authors[0].join().envelope)
        store.keep_heartbeats(run.id, [(author.key, author.heartbeat(3, epoch=2).envelope)])
        store.close()
        damaged = path.read_bytes()[: -len(path.read_bytes()) // 3]
        path.write_bytes(damaged)
        store, said = open_journals(path, run.id)
        assert said == ([], [], [])
        store.close()
        assert (tmp_path / f"journals.sqlite.damaged-{number + 1}").read_bytes() == damaged
        path.unlink()


def test_what_is_not_ours_is_left_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "journals.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE anything (x)")
    database.close()
    with pytest.raises(Failed, match="does not hold journals"):
        open_journals(path, bytes(32))
    assert list(tmp_path.iterdir()) == [path]
