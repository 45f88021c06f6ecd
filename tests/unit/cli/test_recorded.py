"""`journal` and `student list` of a node whose daemon is down, or that is in another run now."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dcfm_node.daemon.facts import journal_facts, students_facts
from dcfm_node.store.archive import find_archive
from dcfm_node.store.journals import JournalStore
from dcfm_node.wire.envelope import manifest_bytes
from tests.unit.cli.running import run as dcfm
from tests.unit.swarm.builders import Run


def written(stall_s: float) -> Run:
    """A run with a released student."""
    run = Run(3, stall_s=stall_s, schedule="paper")
    run.publish_experts(0)
    run.endorse(run.distil(1))
    return run


@pytest.fixture
def runs() -> tuple[Run, Run]:
    """An earlier run, and the one after it."""
    return written(7.0), written(9.0)


@pytest.fixture
def node(tmp_path: Path, runs: tuple[Run, Run]) -> Path:
    """The settings of a stopped node that was in both."""
    (tmp_path / "state").mkdir()
    store = JournalStore(tmp_path / "state" / "journals.sqlite")
    for run in runs:
        store.enter(run.id, manifest_bytes(run.manifest))
        entries = ((a.key, s.entry.seq, s.envelope) for a in run.authors for s in a.journal)
        store.append_many(run.id, entries)
    store.close()
    config = tmp_path / "node.toml"
    config.write_text('name = "silo-0000"\n[data]\nformat = "npz"\npath = "gone.npz"\n')
    return config


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], node: Path) -> Any:
    def ask(*arguments: object) -> dict[str, Any]:
        dcfm(monkeypatch, *arguments, "--json", "-c", node)
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    return ask


def on_disk(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_without_a_daemon_the_files_say_what_it_would(
    ask: Any, node: Path, runs: tuple[Run, Run]
) -> None:
    before = on_disk(node.parent / "state")
    kept = find_archive(node.parent / "state")
    assert kept is not None and kept.journals.run == runs[1].id
    own = journal_facts(kept.journals, kept.view, "silo-0000").plain()
    assert ask("journal") == own
    assert [entry["body"]["kind"] for entry in own["entries"]] == [
        s.entry.body.kind for s in runs[1].authors[0].journal
    ]
    assert ask("journal", "--silo", "silo-0002")["silo"] == "silo-0002"
    students = ask("student", "list")
    assert students == students_facts(kept.journals, kept.view, lambda _: False).plain()
    assert [student["released"] for student in students["students"]] == [True]
    assert on_disk(node.parent / "state") == before, "it was read, and nothing else"


def test_the_journal_names_the_other_runs_on_this_disk(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    node: Path,
    runs: tuple[Run, Run],
) -> None:
    dcfm(monkeypatch, "journal", "--csv", "-c", node)
    found = capsys.readouterr()
    earlier = runs[0].id.hex()
    assert found.err.startswith(f"note: also on this disk: run {earlier[:8]} (")
    assert earlier not in found.out and runs[1].id.hex() in found.out
    dcfm(monkeypatch, "journal", "--csv", "--run", earlier, "-c", node)
    asked = capsys.readouterr()
    assert asked.err == "" and earlier in asked.out


def test_a_snapshot_on_disk_is_held(ask: Any, node: Path) -> None:
    (student,) = ask("student", "list")["students"]
    assert not student["held"]
    folder = node.parent / "state" / "snapshots"
    folder.mkdir()
    (folder / f"{student['digest']}.safetensors").write_bytes(b"weights")
    (student,) = ask("student", "list")["students"]
    assert student["held"]


@contextmanager
def writing(state: Path) -> Iterator[None]:
    """A daemon's connection in the midst of a write that it has not committed."""
    db = sqlite3.connect(state / "journals.sqlite", isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    db.execute("DELETE FROM entry")
    try:
        yield
    finally:
        db.execute("ROLLBACK")
        db.close()


def test_a_daemon_that_writes_is_read_beside(ask: Any, node: Path, runs: tuple[Run, Run]) -> None:
    with writing(node.parent / "state"):
        assert len(ask("journal")["entries"]) == len(runs[1].authors[0].journal)


def test_what_a_killed_daemon_left_is_read_and_left(
    ask: Any, node: Path, runs: tuple[Run, Run]
) -> None:
    state, left = node.parent / "state", node.parent / "left"
    with writing(state):
        left.mkdir()
        for name, data in on_disk(state).items():
            (left / name).write_bytes(data)
    node.write_text(f'state = "left"\n{node.read_text()}')
    assert {"journals.sqlite-wal", "journals.sqlite-shm"} <= on_disk(left).keys()
    before = on_disk(left)
    assert len(ask("journal")["entries"]) == len(runs[1].authors[0].journal)
    assert on_disk(left) == before


def test_an_earlier_run_is_named_by_its_id_or_by_what_tells_it_from_the_others(
    ask: Any, runs: tuple[Run, Run]
) -> None:
    earlier, present = runs
    for which in runs:
        for wish in (which.id.hex(), which.id.hex()[:12]):
            assert ask("journal", "--run", wish)["run"]["id"] == which.id.hex()
            assert ask("student", "list", "--run", wish)["run"]["id"] == which.id.hex()
    error = ask("journal", "--run", "elsewhere")
    assert (error["exit_code"], error["error"]) == (2, "no run of this node matches 'elsewhere'")
    first, second = (
        error["fix"].index(present.id.hex()[:16]),
        error["fix"].index(earlier.id.hex()[:16]),
    )
    assert first < second, "the present one first"
    both = ask("student", "list", "--run", present.manifest.name)
    assert (both["exit_code"], both["error"]) == (
        2,
        f"2 runs of this node match {present.manifest.name!r}",
    )
    assert ask("journal", "--peers", "peers.toml")["exit_code"] == 2


def test_a_silo_that_is_none_and_a_node_without_a_run_are_told(ask: Any, node: Path) -> None:
    assert "silo-0002" in ask("journal", "--silo", "nobody")["fix"]
    (node.parent / "state" / "journals.sqlite").unlink()
    assert ask("journal")["exit_code"] == 4
    assert ask("student", "list", "--run", "any")["exit_code"] == 2
