"""When `wait` ends, and with which exit code."""

import json
from pathlib import Path
from typing import Any

import pytest

from dcfm_node.api.document import Document
from dcfm_node.api.problems import THIS_RUN, Code
from dcfm_node.api.status import Phase, Status
from dcfm_node.api.waited import outcome
from dcfm_node.cli import waiting
from dcfm_node.daemon.status import status
from dcfm_node.errors import Unreachable
from tests.unit.cli.running import run
from tests.unit.swarm.builders import Run
from tests.unit.swarm.nodes import started


def at(stage: str, round_: int, **changes: Any) -> Status:
    """A status in a phase of a run with rounds 0 to 2."""
    found = status(started(Run(3, rounds=2)), 0.0)
    phase = Phase(stage=stage, round=round_)
    return found.model_copy(update={"phase": phase, "last_round": 2, **changes})


LOST = Code.QUORUM_LOST.problem(THIS_RUN, "so many silos withdrew")


@pytest.mark.parametrize(
    ("found", "round_", "what"),
    [
        (at("refine", 1), 1, "waiting"),
        (at("release", 1), 1, "waiting"),
        (at("refine", 2), 1, "reached"),
        (at("done", 1), 1, "reached"),
        (at("done", 1), 2, "impossible"),
        (at("local", 0), 3, "impossible"),
        (at("refine", 1, problems=(LOST,)), 1, "impossible"),
        (at("refine", 1), None, "waiting"),
        (at("done", 2), None, "impossible"),
        (at("distil", 1, problems=(LOST,)), None, "impossible"),
    ],
)
def test_a_goal_is_reached_or_may_be_or_never_will(
    found: Status, round_: int | None, what: str
) -> None:
    assert outcome(found, round_)[0] == what


class Daemon:
    """Answers one status after another, then the last one for ever; None is no answer."""

    def __init__(self, *answers: Status | None) -> None:
        self.answers, self.now = list(answers), 0.0

    def call(self, *_: object, **__: object) -> Document:
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if found is None:
            raise Unreachable("no daemon answers")
        return found

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "node.toml"
    path.write_text("")
    return path


@pytest.mark.parametrize(
    ("answers", "options", "code", "took_s"),
    [
        ((at("refine", 1), at("refine", 2)), ("--round", "1"), 0, 1.0),
        ((at("refine", 1), None, at("refine", 2)), ("--round", "1"), 0, 2.0),
        ((at("refine", 1),), ("--round", "1", "--timeout", "5"), 1, 5.0),
        ((at("done", 2),), ("--student",), 3, 0.0),
        ((None,), ("--student",), 4, 0.0),
        ((at("refine", 1), None), ("--student",), 4, 60.0),
        ((None,), (), 2, 0.0),
        ((None,), ("--round", "1", "--student"), 2, 0.0),
    ],
)
def test_wait_ends_with_a_code_for_scripts(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: Path,
    answers: tuple[Status | None, ...],
    options: tuple[str, ...],
    code: int,
    took_s: float,
) -> None:
    daemon = Daemon(*answers)
    monkeypatch.setattr(waiting, "call", daemon.call)
    monkeypatch.setattr(waiting.time, "sleep", daemon.sleep)
    monkeypatch.setattr(waiting.time, "monotonic", lambda: daemon.now)
    assert run(monkeypatch, "wait", *options, "-c", config, "--json") == code
    assert daemon.now == pytest.approx(took_s, abs=1.0)
    told = json.loads(capsys.readouterr().out)
    assert ("outcome" in told) == (code not in (2, 4))
