"""What commands that ask a daemon make of its answers."""

import json
from pathlib import Path
from typing import Any

import pytest

from dcfm_node.cli import query, student
from dcfm_node.errors import Starting
from tests.unit.cli.running import answering, run


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "node.toml"
    path.write_text("")
    return path


def leaving(withdrawn: bool = False, **answer: object) -> dict[str, Any]:
    """A daemon's answers to what `withdraw` asks."""
    silos = [{"self": False, "withdrawn": True}, {"self": True, "withdrawn": withdrawn}]
    return {
        "status": {"node": "east", "run": {"name": "digits"}, "silos": silos},
        "withdraw": {"withdrawn": True, "already": withdrawn, "reason": "moved", **answer},
    }


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [((), 2, "--yes"), (("--json",), 2, "--yes"), (("--yes",), 0, "this silo has withdrawn")],
)
def test_nobody_withdraws_without_being_asked(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: Path,
    options: tuple[str, ...],
    code: int,
    told: str,
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(query, "call", answering(leaving(), asked))
    assert run(monkeypatch, "withdraw", "--reason", "moved", "-c", config, *options) == code
    assert ("withdraw" in asked) == (code == 0)
    said = capsys.readouterr()
    assert told in said.out + said.err
    if "--json" in options:
        assert json.loads(said.out)["exit_code"] == code


@pytest.mark.parametrize(("typed", "code"), [("y", 0), ("n", 2), ("", 2)])
def test_on_a_terminal_withdrawing_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: Path,
    tmp_path: Path,
    typed: str,
    code: int,
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(query, "call", answering(leaving(), asked))
    (tmp_path / "typed").write_text(f"{typed}\n")
    with (tmp_path / "typed").open() as keyboard:
        keyboard.isatty = lambda: True  # type: ignore[method-assign]
        monkeypatch.setattr("sys.stdin", keyboard)
        assert run(monkeypatch, "withdraw", "--reason", "moved", "-c", config) == code
    assert ("withdraw" in asked) == (code == 0)
    assert "east leaves the run digits for good" in capsys.readouterr().err


def test_who_withdrew_is_told_so_and_not_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config: Path
) -> None:
    monkeypatch.setattr(query, "call", answering(leaving(withdrawn=True), []))
    assert run(monkeypatch, "withdraw", "--reason", "again", "-c", config) == 0
    assert capsys.readouterr().out == "this silo had withdrawn already: moved\n"


@pytest.mark.parametrize("reason", ["x" * 501, "caf\udce9"])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_reason_that_no_record_bears_is_told_before_anybody_is_asked(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: Path,
    reason: str,
    options: tuple[str, ...],
) -> None:
    """Too long, or in Latin-1 on the command line."""
    asked: list[str] = []
    monkeypatch.setattr(query, "call", answering(leaving(), asked))
    arguments = ("withdraw", "--reason", reason, "--yes", "-c", config, *options)
    assert run(monkeypatch, *arguments) == 2
    assert asked == []
    said = capsys.readouterr()
    assert "give at most 500 characters, in UTF-8" in said.out + said.err


def test_a_node_that_does_not_stop_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config: Path
) -> None:
    clock = iter(range(0, 10_000, 7))
    monkeypatch.setattr(query.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(query.time, "sleep", lambda _: None)
    monkeypatch.setattr(query, "call", answering({"stop": {"stopping": True}, "status": {}}, []))
    assert run(monkeypatch, "stop", "-c", config, "--json") == 1
    assert json.loads(capsys.readouterr().out)["stopped"] is False


def test_a_starting_node_is_exit_code_3_of_commands_that_need_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config: Path
) -> None:
    def call(*_: object, **__: object) -> dict[str, Any]:
        raise Starting({"doing": {"why": "it reads the private data"}})

    monkeypatch.setattr(student, "call", call)
    asked = ("student", "fetch", "--latest", "--out", config.parent / "student", "-c", config)
    assert run(monkeypatch, *asked, "--json") == 3
    error = json.loads(capsys.readouterr().out)
    assert (error["exit_code"], error["error"][:20]) == (3, "the node is starting")
