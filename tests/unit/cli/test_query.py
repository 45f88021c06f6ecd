"""What commands that ask a daemon make of its answers."""

import json
from pathlib import Path
from typing import Any

import pytest

from dcfm_node.cli import query
from dcfm_node.daemon.status import meaning
from dcfm_node.records.entries import Audit, Verdict
from tests.unit.cli.running import answering, run
from tests.unit.swarm.builders import Run, expert


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


def journal_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config: Path, *rows: object
) -> list[str]:
    """The last column of what `journal` prints."""
    entries = [
        {"seq": n, "time_ms": 0, "bytes": 1, "digest": "", **dict(row)}  # type: ignore[call-overload]
        for n, row in enumerate(rows)
    ]
    monkeypatch.setattr(query, "call", answering({"journal": {"entries": entries}}, []))
    assert run(monkeypatch, "journal", "-c", config) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    return [line[header.index("says") :] for line in lines]


def test_an_audit_says_who_was_scored_who_did_worst_and_who_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config: Path
) -> None:
    run_ = Run(4)
    said = [author.say(expert(1, f"expert {n}")) for n, author in enumerate(run_.authors)]
    places = ({"joint": 0.01}, {"joint": -0.02, "composed": 0.03}, {"joint": 4.0, "ci_gap": 9.0})
    pairs = zip(said[1:], places, strict=True)
    audit = Audit(round=1, scores=tuple((sealed.digest, given) for sealed, given in pairs))
    alone = Audit(round=2, scores=((said[1].digest, {"ci_gap": 1.0}), (bytes(32), {"joint": 1.0})))
    verdict = Verdict(subject=run_.keys[3], cause="score", entry=said[3].digest, reason="it errs")
    rows = journal_of(
        monkeypatch,
        capsys,
        config,
        *(
            {"body": b.model_dump(), "means": meaning(run_.view(), b)}
            for b in (audit, alone, verdict)
        ),
    )
    assert rows == [
        "round 1: 3 experts scored; worst is silo-0003, its velocity error on full labels at 4.00"
        " of the way to the untrained network; refuses silo-0003",
        "round 2: 1 expert scored; refuses nobody",
        "silo-0003: score: it errs",
    ]
