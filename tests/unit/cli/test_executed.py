"""`domain run`: what it says of executed plans, and what it refuses."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from dcfm_node.api.domains import DomainRun, Executed, ExecutedPlans, Share
from dcfm_node.cli import executed
from dcfm_node.domains.robots import plan
from dcfm_node.domains.robots.rollouts import Rollouts
from dcfm_node.samples import Samples
from tests.unit.cli.running import run
from tests.unit.student import made

needs_simulator = pytest.mark.skipif(find_spec("ogbench") is None, reason="ogbench is missing")


def rollouts(*off: float, ends: tuple[tuple[float, float], ...] = ()) -> Rollouts:
    right = np.isfinite(off)
    paths = [np.array([end]) for end in ends] if ends else [None] * len(off)
    return Rollouts(right, np.array(off), tuple(paths), ((),) * len(off))


def planner(folder: Path) -> Path:
    """A student of the cube robot that has learned nothing."""
    return made.make(
        folder,
        sample_shape=(plan.CHANNELS, 8),
        attributes=tuple(
            {"name": name, "values": plan.QUADRANTS} for name in ("source", "destination")
        ),
        domain={"kind": "cube", "horizon": 8},
    )


def test_the_film_is_of_a_novel_plan_that_reached_its_goal_and_quadrant() -> None:
    inside, outside = (0.50, 0.20), (0.50, -0.01)
    samples = Samples(np.zeros((5, 1)), np.full((5, 2), 3))
    found = rollouts(0.001, 0.3, 0.01, 0.02, np.inf, ends=(inside, inside, outside, inside, inside))
    novel = np.array([False, True, True, True, True])
    assert executed.filmed(samples, found, novel) == 3
    assert executed.filmed(samples, found, ~novel) == 0
    assert executed.filmed(samples[4:], rollouts(np.inf), novel[4:]) is None


def test_shares_have_intervals_and_are_of_all_plans() -> None:
    found = executed._executed(
        np.array([True, True, True, True, False]),
        rollouts(0.01, 0.03, 0.05, np.inf, 0.0),
        rollouts(0.01, 0.01, 0.01, np.inf, 0.0),
    )
    assert (found.feasible.count, found.feasible.of) == (3, 4)
    assert [one.count for one in (found.success, found.success_2cm, found.tracked)] == [2, 1, 3]
    assert found.success.share == 0.5
    assert 0.1 < found.success.low < 0.5 < found.success.high < 0.9


def test_the_answer_tells_each_combination_and_the_sums() -> None:
    half = Share(count=4, of=8, share=0.5, low=0.2152, high=0.7848)
    every = dict.fromkeys(Executed.model_fields, half)
    one = ExecutedPlans(**every, values=("top-left", "bottom-right"), novel=True)
    text = executed.text_of(
        DomainRun(
            domain="cube", digest="ab", seed=0, plans=8, drawing_s=0.0123, seconds=30.0,
            attributes=("source", "destination"), combinations=(one,), known=None,
            novel=Executed(**every), files=("out/paths.png",), missing=("no cube.gif: why; fix",),
        )
    )  # fmt: skip
    lines = text.split("\n")
    assert lines[1].split()[:7] == ["top-left", "bottom-right", "novel", "8", "4", "(22", "to"]
    assert "all novel  8      50 % (22 to 78)" in text
    assert "all known" not in text
    assert "drawn in 0.0123 s a plan" in text
    assert lines[-2:] == ["wrote out/paths.png", "no cube.gif: why; fix"]


@needs_simulator
def test_a_student_without_a_feasible_plan_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    student, out = planner(tmp_path / "student"), tmp_path / "out"
    asked = ("domain", "run", "cube", student, "--where", "source=top-left", "--plans", 2)
    assert run(monkeypatch, *asked, "--out", out, "--json") == 3
    found = DomainRun.read(capsys.readouterr().out)
    assert (found.plans, len(found.combinations)) == (8, 4)
    assert {one.values[0] for one in found.combinations} == {"top-left"}
    assert [one.feasible.count for one in found.combinations] == [0] * 4
    assert found.known is not None
    assert found.known.feasible.of + (found.novel.feasible.of if found.novel else 0) == 8
    assert found.files == (str(out / "paths.png"),)
    assert "no plan is feasible" in found.missing[0]

    assert run(monkeypatch, *asked, "--out", out) == 1
    assert "exists already" in capsys.readouterr().err
    assert run(monkeypatch, *asked) == 0
    assert "all known" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "code", "told"),
    [
        (("--where", "source=middle"), 2, "top-left"),
        (("--where", "colour=red"), 2, "source"),
        (("--guidance", "-1"), 2, "guidance weight"),
    ],
)
@needs_simulator
def test_odd_wishes_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    code: int,
    told: str,
) -> None:
    student = planner(tmp_path / "student")
    assert run(monkeypatch, "domain", "run", "cube", student, *more) == code
    assert told in capsys.readouterr().err


@needs_simulator
def test_students_of_other_domains_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    student = made.make(tmp_path / "student")
    assert run(monkeypatch, "domain", "run", "cube", student) == 2
    assert "which the robot cannot execute" in capsys.readouterr().err
    assert run(monkeypatch, "domain", "run", "cube", tmp_path / "none") == 1
    capsys.readouterr()
    assert run(monkeypatch, "domain", "run", "gaussians", student) == 2
    assert "has no simulator" in capsys.readouterr().err


def test_without_the_simulator_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dcfm_node.domains.robots.simulator.find_spec", lambda _: None)
    student = planner(tmp_path / "student")
    assert run(monkeypatch, "domain", "run", "cube", student) == 2
    assert "dcfm-node[robots]" in capsys.readouterr().err


def test_a_picture_of_plans_needs_no_episodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    student, out = planner(tmp_path / "student"), tmp_path / "plans.png"
    asked = ("student", "sample", student, "--out", out, "-n", 16, "--json")
    assert run(monkeypatch, *asked) == 0
    assert json.loads(capsys.readouterr().out)["combinations"] == 16
    assert out.stat().st_size > 10_000
