"""The screen of `status`: what stands on it, in which order, and that it fits."""

from typing import Any

import pytest

from dcfm_node.api.problems import THIS_NODE, THIS_RUN, Code, FollowsFrom, Problem
from dcfm_node.api.status import Eta, Phase, SiloStatus, Status
from dcfm_node.cli import output
from dcfm_node.cli.overview import status_text, style_of
from dcfm_node.daemon.status import status
from dcfm_node.net.peers import Failure, Way
from tests.unit.swarm.builders import Run
from tests.unit.swarm.nodes import started

LONG = "a long reason, " * 12


def problems() -> tuple[Problem, ...]:
    """Four causes, and two that follow from the first."""
    first = Code.PEER_SILENT.problem("silo-0001", f"silo-0001 is silent: {LONG}", since_s=99.0)
    of = FollowsFrom(code=first.code, subject=first.subject)
    follow = [
        Code.LINK_DOWN.problem("silo-0001", "no bulk link").model_copy(update={"follows": of}),
        Code.STUDENT_INCOMPLETE.problem(THIS_RUN, "without it").model_copy(update={"follows": of}),
    ]
    others = [
        code.problem(THIS_NODE, f"{code.value} is so")
        for code in (Code.DISK_FULL, Code.DATA_SCALE, Code.WORKER_DOWN)
    ]
    return (first, *others, *follow)


def silo(found: SiloStatus, **changes: Any) -> SiloStatus:
    return found.model_copy(update=changes)


def made(**changes: Any) -> Status:
    """A node of three silos, in the middle of a run."""
    found = status(started(Run(3)), 0.0)
    east, *others = found.silos
    refused = Failure("tcp://dcfm.hospital.example.org:7400", 12, LONG)
    down = {"control": Way("", 70.0, (refused,)), "bulk": Way("", 70.0)}
    up = {"control": Way("own", 9.0, rtt_s=0.0123), "bulk": Way("own", 9.0)}
    second = silo(
        others[0],
        links=up,
        linked=True,
        live=True,
        activity="refine",
        done=1,
        total=4,
        address="tcp://a.very.long.host.name.of.a.university.example.org:7400",
        bytes_sent=10**9,
        bytes_received=10**9,
        joined=True,
        samples=123_456,
    )
    third = silo(others[1], links=down, heard_ago_s=70.0, address="tcp://192.0.2.7:7400")
    told = {
        "silos": (east, second, third),
        "phase": Phase(stage="refine", round=1),
        "last_round": 3,
        "eta": Eta(stage_s=300.0, run_s=7_200.0, why=""),
    }
    return found.model_copy(update={**told, **changes})


def test_problems_come_first_with_their_fix_and_how_many_follow() -> None:
    lines = status_text(made(problems=problems()), explain=False).splitlines()
    assert "DEGRADED: 4 problems" in lines[0]
    assert lines[2].startswith("problem   silo-0001 is silent")
    assert lines[3].startswith("    fix   ")
    assert lines[4].strip() == "2 more follow from it (--explain)"
    text = "\n".join(lines)
    assert "no bulk link" not in text
    assert "and 1 more problem: 'dcfm-node status --explain' shows all" in text
    assert text.index("problem ") < text.index("\nrun ") < text.index("\nsilo ")


def test_explain_shows_every_problem_with_its_code_under_its_cause() -> None:
    lines = status_text(made(problems=problems()), explain=True).splitlines()
    assert lines[2].startswith("problem   peer-silent (warning, for 2 min): silo-0001 is silent")
    assert lines[4] == "  hence   link-down (error): no bulk link"
    assert sum(line.startswith("problem ") for line in lines) == 4
    assert "leader    nobody can be elected: 1 silo alive, 2 must vote for a leader" in lines
    assert any(line.startswith("peer ") for line in lines)


@pytest.mark.parametrize("width", [80, 132])
def test_three_silos_fit_on_the_screen(width: int) -> None:
    found = made(problems=problems()[:1], disk_free=10**12, disk_total=2 * 10**12)
    lines = status_text(found, explain=False, width=width).splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= 24
    row = next(line for line in lines if line.startswith("silo-0001"))
    assert "…" in row or width > 80
    assert all(word in row for word in ("12 ms", "refine 25.0 %", "123456", "2.0 GB"))


def test_where_the_run_stands_and_what_is_not_measured() -> None:
    lines = status_text(made(), explain=False).splitlines()
    assert "run       round 1 of 3, stage refine: each silo trains" in "\n".join(lines)
    assert "eta       stage in 5 min, run in 2 h if it needs all its rounds" in lines
    assert "quality   not measured: no student is distilled yet" in lines
    assert any("disk not measured" in line for line in lines)
    unknown = made(eta=Eta(stage_s=None, run_s=None, why="silo-0001 is silent"))
    assert "eta       not known yet: silo-0001 is silent" in status_text(unknown, explain=False)


def test_the_last_error_of_a_plane_is_told_unless_a_problem_tells_it() -> None:
    assert "error     silo-0002 control: a long" in status_text(made(), explain=False)
    told = Code.PEER_SILENT.problem("silo-0002", f"silent; {LONG}")
    assert "error     " not in status_text(made(problems=(told,)), explain=False)


def test_lines_have_a_style_only_on_a_terminal_that_wants_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def shown(*, terminal: bool, **environment: str) -> str:
        for name in ("NO_COLOR", "TERM"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(output.sys.stdout, "isatty", lambda: terminal, raising=False)
        output.say("problem   it is so", "all is well", style=style_of)
        return capsys.readouterr().out

    plain = "problem   it is so\nall is well\n"
    assert shown(terminal=True, TERM="xterm") == f"\x1b[31m{plain.replace(chr(10), PLAIN, 1)}"
    assert shown(terminal=False, TERM="xterm") == plain
    assert shown(terminal=True, TERM="xterm", NO_COLOR="1") == plain
    assert shown(terminal=True, TERM="dumb") == plain
    assert shown(terminal=True) == plain


PLAIN = f"{output.PLAIN}\n"


def test_a_screen_is_drawn_over_and_what_does_not_fit_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("LINES", "4")
    monkeypatch.setattr(output.sys.stdout, "isatty", lambda: True, raising=False)
    output.redraw([f"line {n}" for n in range(9)])
    drawn = capsys.readouterr().out
    assert drawn.startswith(output.HOME) and drawn.endswith(output.TO_SCREEN_END)
    assert [f"line {n}" in drawn for n in range(4)] == [True, True, True, False]
    monkeypatch.setattr(output.sys.stdout, "isatty", lambda: False)
    output.redraw(["one", "two"])
    assert capsys.readouterr().out == "one\ntwo\n\n"
