"""What commands that ask a daemon make of its answers."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dcfm_node.api.client import Starting
from dcfm_node.api.document import Document
from dcfm_node.api.requests import (
    Request,
    StatusRequest,
    Stopping,
    StopRequest,
    StudentRequest,
    Withdrawn,
    WithdrawRequest,
)
from dcfm_node.api.status import StartingStatus, Status
from dcfm_node.cli import query, recorded, shown
from dcfm_node.daemon.status import starting, status
from dcfm_node.errors import Failed
from dcfm_node.swarm.effects import Leave
from tests.unit.cli.running import answering, run
from tests.unit.swarm.builders import Run
from tests.unit.swarm.nodes import started


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "node.toml"
    path.write_text("")
    return path


def leaving(withdrawn: bool = False) -> dict[type[Request[Any]], Document]:
    """A daemon's answers to what `withdraw` asks: of silo-0000, which may have left before."""
    run = Run(3)
    made = started(run)
    if withdrawn:
        made.handle(Leave("moved"), 0.0)
    return {
        StatusRequest: status(made, 0.0),
        WithdrawRequest: Withdrawn(already=withdrawn, reason="moved"),
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
    assert "silo-0000 leaves the run simulated for good" in capsys.readouterr().err


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
    monkeypatch.setattr(
        query, "call", answering(leaving() | {StopRequest: Stopping(grace_s=10.0)}, [])
    )
    assert run(monkeypatch, "stop", "-c", config, "--json") == 1
    assert json.loads(capsys.readouterr().out)["stopped"] is False


def test_a_starting_node_is_exit_code_3_of_commands_that_need_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config: Path
) -> None:
    def call(*_: object, **__: object) -> Document:
        raise Starting(starting("east", Run(3).manifest, "reads the private data"))

    monkeypatch.setattr(recorded, "call", call)
    asked = ("student", "fetch", "--latest", "--out", config.parent / "student", "-c", config)
    assert run(monkeypatch, *asked, "--json") == 3
    error = json.loads(capsys.readouterr().out)
    assert (error["exit_code"], error["error"][:20]) == (3, "the node is starting")


@pytest.mark.parametrize("options", [(), ("--explain",), ("--json",)])
def test_a_starting_node_has_a_status(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: Path,
    options: tuple[str, ...],
) -> None:
    document = starting("east", Run(3).manifest, "reads the private data")

    def call(*_: object, **__: object) -> Document:
        raise Starting(document)

    monkeypatch.setattr(query, "call", call)
    assert run(monkeypatch, "status", "-c", config, *options) == 3
    said = capsys.readouterr().out
    if "--json" in options:
        assert StartingStatus.read(said) == document
    else:
        assert said == "east  starting: its training process reads the private data\n"


def test_a_healthy_node_is_exit_code_0_and_its_json_reads_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config: Path
) -> None:
    sick = status(started(Run(3)), 60.0)
    well = sick.model_copy(update={"problems": (), "health": "healthy"})
    for document, code in ((sick, 3), (well, 0)):
        monkeypatch.setattr(query, "call", answering({StatusRequest: document}, []))
        assert run(monkeypatch, "status", "-c", config, "--json") == code
        assert Status.read(capsys.readouterr().out) == document


@pytest.mark.parametrize(
    ("named", "asked"),
    [
        (("ab12",), "ab12"),
        (("--digest", "ab12"), "ab12"),
        (("--latest",), "latest"),
        (("ab12", "--latest"), None),
        (("ab12", "--digest", "ab12"), None),
        ((), None),
    ],
)
def test_a_student_is_fetched_by_its_digest_or_as_the_latest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: tuple[str, ...], asked: str | None
) -> None:
    requests: list[str] = []

    def call(_: Path, request: StudentRequest, **__: object) -> None:
        requests.append(request.digest)
        raise Failed("no such student")

    monkeypatch.setattr(recorded, "call", call)
    config = tmp_path / "node.toml"
    config.write_text('name = "x"\n[data]\nformat = "npz"\npath = "x.npz"\n')
    code = run(monkeypatch, "student", "fetch", *named, "--out", tmp_path / "s", "-c", config)
    assert (code, requests) == ((1, [asked]) if asked else (2, []))


def test_samples_of_a_weight_are_told_to_lack_the_hold_out() -> None:
    silos = [
        SimpleNamespace(name="quay", samples=1530, share=0.5),
        SimpleNamespace(name="lab", samples=1134, share=0.5),
    ]
    (line,) = shown.weight_lines(silos)  # type: ignore[arg-type]
    assert "quay trains on 1530 of 2664 samples (without the hold-out)" in line
