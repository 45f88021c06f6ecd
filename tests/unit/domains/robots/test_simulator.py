"""Play data by OGBench's simulator: short, and made twice."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from dcfm_node.api.domains import DomainMade
from dcfm_node.domains.robots import episodes, making, moves, plan, segments, simulator
from dcfm_node.errors import DataError, Failed, UserError
from tests.unit.cli.running import run

needs_simulator = pytest.mark.skipif(find_spec("ogbench") is None, reason="ogbench is missing")
STEPS = 120


@needs_simulator
def test_an_episode_is_the_same_whatever_was_made_before() -> None:
    state = np.random.get_state()[1].copy()
    zero, one = simulator.make(range(2), 5, STEPS)
    (again,) = simulator.make([1], 5, STEPS)
    assert np.array_equal(np.random.get_state()[1], state), "numpy's own generator has moved"
    for name in ("observations", "actions"):
        assert getattr(one, name).tobytes() == getattr(again, name).tobytes()
        assert getattr(one, name).tobytes() != getattr(zero, name).tobytes()
    assert one.more["qpos"].tobytes() == again.more["qpos"].tobytes()
    (other,) = simulator.make([1], 6, STEPS)
    assert other.actions.tobytes() != one.actions.tobytes()


@needs_simulator
def test_the_robot_is_what_plans_say_of_it() -> None:
    """Shapes, ranges and the rate; and that it picks and places."""
    (one,) = simulator.make([0], 0, 300)
    assert one.observations.shape == (300, plan.OBSERVED)
    assert one.actions.shape == (300, plan.ACTED)
    episodes.check(one)
    assert episodes.rate(one.observations) == pytest.approx(plan.RATE, rel=0.1)
    cut = segments.cut([one], 32)
    assert len(cut.samples) >= 2
    assert plan.feasible(cut.samples.x, cut.samples.c).all()
    assert (abs(cut.samples.x) <= 1.1).all()


@needs_simulator
def test_a_robot_makes_only_the_moves_that_are_chosen() -> None:
    chosen = moves.named(["top-left:bottom-left", "bottom-left:top-left"])
    zero, one = simulator.make(range(2), 3, 300, chosen)
    for episode in (zero, one):
        pieces, _ = segments.pick_and_places(episode)
        made = segments.labels(episode, pieces)
        assert len(made) >= 2
        assert set(made) <= set(chosen)
    (again,) = simulator.make([1], 3, 300, chosen)
    assert one.observations.tobytes() == again.observations.tobytes()
    assert one.actions.tobytes() == again.actions.tobytes()


def test_an_episode_in_which_the_cube_slips_into_another_quadrant_is_begun_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def attempt(entropy: list[int], *_: object) -> str | None:
        asked.append(entropy)
        return "episode" if len(asked) == 3 else None

    monkeypatch.setattr(simulator, "_attempt", attempt)
    assert list(simulator.make([7], 1, STEPS, ((0, 0),))) == ["episode"]
    assert asked == [[1, 7], [1, 7, 1], [1, 7, 2]]
    monkeypatch.setattr(simulator, "_attempt", lambda *_: None)
    with pytest.raises(Failed, match="no episode 7 of these moves"):
        next(simulator.make([7], 1, STEPS, ((0, 0),)))


@needs_simulator
def test_ogbench_reads_what_is_written(tmp_path: Path) -> None:
    from ogbench.utils import load_dataset

    two = list(simulator.make(range(2), 0, STEPS))
    episodes.write(tmp_path / "d.npz", two)
    found = load_dataset(str(tmp_path / "d.npz"), add_info=True)
    assert np.array_equal(
        found["observations"], np.concatenate([one.observations[:-1] for one in two])
    )
    assert np.array_equal(
        found["next_observations"], np.concatenate([one.observations[1:] for one in two])
    )
    assert np.flatnonzero(found["terminals"]).tolist() == [STEPS - 2, 2 * STEPS - 3]
    assert found["qpos"].shape == (2 * STEPS - 2, 21)


@needs_simulator
def test_a_command_makes_a_folder_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(making, "FILE", 2)
    out = tmp_path / "play"
    asked = ("domain", "make", "cube", "--out", out, "--episodes", 3, "--steps", 300, "--json")

    assert run(monkeypatch, *asked, "--jobs", 1) == 0
    made = DomainMade.read(capsys.readouterr().out)
    names = ["episodes-0000.npz", "episodes-0001.npz", "made.json"]
    assert sorted(file.name for file in out.iterdir()) == names
    assert (made.episodes, made.frames) == (3, 900)
    assert len(made.combinations) == 16
    plans = sum(one.plans for one in made.combinations)
    assert plans + sum(one.pieces for one in made.left_out) >= 6
    assert len(segments.cut(episodes.read(out), 32).samples) == plans

    # What a stop left out is made again, by two processes, and is the same to the byte.
    (out / names[0]).rename(tmp_path / "first.npz")
    kept = (out / names[1]).stat().st_mtime_ns
    assert run(monkeypatch, *asked, "--jobs", 2) == 0
    again = DomainMade.read(capsys.readouterr().out)
    assert again.combinations == made.combinations
    assert (out / names[0]).read_bytes() == (tmp_path / "first.npz").read_bytes()
    assert (out / names[1]).stat().st_mtime_ns == kept


@needs_simulator
def test_a_folder_remembers_its_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "play"
    asked = ("domain", "make", "cube", "--out", out, "--episodes", 1, "--steps", 300)
    chosen = ("--move", "top-left:top-right", "--move", "top-right:top-left")
    assert run(monkeypatch, *asked, *chosen, "--json") == 0
    made = DomainMade.read(capsys.readouterr().out)
    assert made.moves == ("top-left:top-right", "top-right:top-left")
    found = {":".join(one.values) for one in made.combinations if one.plans}
    assert found <= set(made.moves)
    assert found
    assert json.loads((out / "made.json").read_text())["moves"] == list(made.moves)

    assert run(monkeypatch, *asked) == 2
    assert "was made otherwise: moves" in capsys.readouterr().err
    other = tmp_path / "other"
    assert run(monkeypatch, *asked[:3], "--out", other, "--move", "top-left:top-right") == 2
    assert "no move leads on from top-right" in capsys.readouterr().err
    assert not other.exists()


@needs_simulator
def test_a_folder_of_others_is_never_changed(tmp_path: Path) -> None:
    request = making.Request(episodes=1, seed=0, steps=300)
    (tmp_path / "other.npz").write_bytes(b"")
    with pytest.raises(UserError, match=r"holds \.npz files, but no made\.json"):
        making.make(tmp_path, request, 1, print)
    (tmp_path / "made.json").write_text(json.dumps({**request.note, "seed": 3}))
    with pytest.raises(UserError, match="was made otherwise: seed '3', now 0"):
        making.make(tmp_path, request, 1, print)
    for odd in ("{", "[]", "[" * 50_000):
        (tmp_path / "made.json").write_text(odd)
        with pytest.raises(UserError, match=r"is not JSON|was made otherwise"):
            making.make(tmp_path, request, 1, print)
    assert (tmp_path / "other.npz").read_bytes() == b""


@needs_simulator
def test_a_damaged_file_of_an_earlier_run_is_named(tmp_path: Path) -> None:
    request = making.Request(episodes=1, seed=0, steps=300)
    (tmp_path / "made.json").write_text(json.dumps(request.note))
    (tmp_path / "episodes-0000.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match="cannot be read") as told:
        making.make(tmp_path, request, 1, print)
    assert told.value.where == str(tmp_path / "episodes-0000.npz")


def test_without_the_simulator_the_command_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ogbench", None)
    monkeypatch.setattr(simulator, "find_spec", lambda name: None if name == "ogbench" else name)
    assert run(monkeypatch, "domain", "make", "cube", "--out", tmp_path / "play") == 2
    said = capsys.readouterr().err
    assert "the robot's simulator needs ogbench, which is not installed" in said
    assert "pip install 'dcfm-node[robots]'" in said
    assert not (tmp_path / "play").exists()


def test_a_domain_without_a_simulator_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "domain", "make", "digits", "--out", tmp_path) == 2
    assert "'digits' has no simulator" in capsys.readouterr().err
