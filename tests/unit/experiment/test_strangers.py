"""Strangers' problems: exact judges, room for probes, files that a node reads, a whole course."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dcfm_node.data.source import load
from dcfm_node.errors import ConfigError
from dcfm_node.experiment import results, settings
from dcfm_node.experiment.lines import TrialSpec
from dcfm_node.experiment.strangers import show, suite
from dcfm_node.experiment.strangers.defaults import manifest_of
from dcfm_node.experiment.strangers.files import write
from dcfm_node.experiment.strangers.measure import measure
from dcfm_node.experiment.strangers.problem import (
    UNREADABLE,
    Problem,
    combinations,
    needed,
    spans,
)
from dcfm_node.experiment.strangers.settings import DEFAULTS, Strangers
from dcfm_node.experiment.strangers.trial import StrangerTrial
from dcfm_node.samples import Samples
from dcfm_node.swarm.coverage import coverage

SEEDS = (0, 1, 2, 3, suite.TUNING, suite.TUNING + 1)
EVERY = pytest.mark.parametrize("name", suite.KINDS)


@EVERY
def test_the_judge_is_right_on_real_samples_of_every_combination(name: str) -> None:
    for seed in SEEDS:
        problem = suite.make(name, seed)
        real = problem.real(combinations(problem.sizes), 100)
        assert real.x.shape[1:] == problem.sample_shape
        right = (problem.judge(real.x) == real.c).all(axis=1)
        shares = [right[(real.c == c).all(axis=1)].mean() for c in real.combinations]
        assert np.mean(shares) >= 0.995
        assert min(shares) >= 0.97  # 100 samples of each


@EVERY
@pytest.mark.parametrize("spoilt", [np.zeros_like, lambda x: x * 0 + x.mean(axis=0)])
def test_the_judge_reads_nothing_where_nothing_is_shown(
    name: str, spoilt: Callable[[np.ndarray], np.ndarray]
) -> None:
    problem = suite.make(name, 0)
    real = problem.real(problem.novel, 20)
    right = (problem.judge(spoilt(real.x)) == real.c).all(axis=1)
    assert right.mean() <= 0.5
    if len(problem.sample_shape) == 3:
        assert (problem.judge(np.zeros_like(real.x)) == UNREADABLE).all()


@EVERY
def test_what_silos_hold_determines_the_rest_with_room_for_probes(name: str) -> None:
    for seed in SEEDS:
        problem = suite.make(name, seed)
        counts = {c: n for held in problem.silos for c, n in held.items()}
        assert coverage(counts, problem.sizes).sufficient
        assert spans(problem.known, problem.sizes)
        assert problem.novel
        assert 2 <= len(problem.silos) <= 4
        room = len(problem.known) - needed(problem.sizes)
        assert room == 0 if name == "no-room" else room >= 2


def test_every_seed_is_another_problem_and_the_same_seed_the_same() -> None:
    for name in suite.KINDS:
        one, same, other = (suite.make(name, seed) for seed in (0, 0, 1))
        assert one.silos == same.silos
        assert (one.silo(0).x == same.silo(0).x).all()
        asked = combinations(one.sizes)
        assert not np.allclose(one.real(asked, 2).x, other.real(asked, 2).x)


def test_an_unknown_problem_is_told_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="few-colours"):
        suite.make("many-colours", 0)


@EVERY
def test_a_node_reads_the_files_as_its_user_has_them(tmp_path: Path, name: str) -> None:
    problem = suite.make(name, 1)
    manifest = manifest_of(problem, tmp_path, share=1.0)
    assert manifest.sample_shape == problem.sample_shape
    for k, spec in enumerate(write(problem, tmp_path)):
        found, given = load(spec, manifest), problem.silo(k)
        read = Samples(
            np.concatenate([found.train.x, found.holdout.x]),
            np.concatenate([found.train.c, found.holdout.c]),
        )
        assert read.combinations == sorted(problem.silos[k])
        assert len(read) == len(given)
        assert (problem.judge(read.x) == read.c).all(axis=1).mean() >= 0.99
        assert np.allclose(read.x.mean(axis=0), given.x.mean(axis=0), rtol=1e-3, atol=0.01)


def test_distance_and_variety_tell_copies_from_real_samples() -> None:
    problem = suite.make("units", 0)
    novel = problem.novel
    copies = Samples(np.repeat(problem.real(novel, 1).x, 20, axis=0), np.repeat(novel, 20, axis=0))
    alike = Problem(**{**vars(problem), "seed": 0}).real(novel, 60)
    real, copied = measure(problem, alike), measure(problem, copies)
    assert real["distance"] < 0.05 < copied["distance"]
    assert copied["variety"] < 1e-6 < 0.9 < real["variety"] < 1.1
    assert real["accuracy"] > 0.99


def test_the_file_names_unknown_problems(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    head = 'kind = "strangers"\nname = "mine"\ntitle = "Mine"\n'
    path.write_text(head + 'problems = ["unitz"]\n[preset.cpu]\n')
    with pytest.raises(ConfigError, match="there is no problem 'unitz'"):
        settings.read(str(path), "cpu")
    tuning = settings.read("strangers", "tuning")
    assert isinstance(tuning, Strangers)
    assert tuning.first_seed == suite.TUNING


def test_a_problem_runs_to_a_complete_row_and_is_not_run_twice(tmp_path: Path) -> None:
    given = Strangers(
        kind="strangers",
        name="tiny",
        title="Tiny",
        problems=("no-room",),
        each=4,
        share=0.002,
    )
    spec = TrialSpec(experiment="", preset="", partition="no-room", seed=0, out=tmp_path)
    StrangerTrial(spec, given).run()
    path = tmp_path / "rows" / f"no-room-0-{DEFAULTS}.json"
    row = results.read_row(path)
    for kind in ("known", "novel"):
        assert 0 <= row.metrics[f"{kind}_accuracy"] <= 1
        assert {f"distance_{kind}", f"variety_{kind}"} <= set(row.metrics)
    assert row.metrics == row.variants[row.rule]
    assert set(row.variants) == {DEFAULTS, "joint", "composed"}
    assert [r["round"] for r in row.rounds] == list(range(len(row.rounds)))
    assert row.cost["cpu_seconds"] > 0

    found = results.Results("tiny", "cpu", "", "", "", (row,), given.model_dump(mode="json"))
    assert "| no-room |" in show.document(found, given)
    assert [p.name for p in show.draw(tmp_path, found, given)] == ["samples-no-room.png"]

    before = path.stat().st_mtime_ns
    jobs = sorted((tmp_path / "work" / "no-room-0" / "jobs").iterdir())
    made = [job.stat().st_mtime_ns for job in jobs]
    StrangerTrial(spec, given).run()
    assert path.stat().st_mtime_ns == before
    path.unlink()  # The row is made anew from the jobs on disk.
    StrangerTrial(spec, given).run()
    assert results.read_row(path) == row
    assert [job.stat().st_mtime_ns for job in jobs] == made


def test_announced_quality_is_compared_with_the_truth() -> None:
    metrics = {"known_accuracy": 0.97, "novel_accuracy": 0.93}
    row = results.Row("defaults", "units", 0, "defaults", metrics, {"defaults": metrics}, [metrics])
    row.cost["cpu_seconds"] = 1.0
    given = Strangers(kind="strangers", name="s", title="S", problems=("units",))
    told = show.summary([row], given)
    assert "unmeasured" in told
    assert "novel ≥ 0.9: 1 of 1 problems. Announced within 0.10: 0." in told
    metrics |= {"announced_novel": 0.9, "announced_error": 0.03}
    assert "Announced within 0.10: 1." in show.summary([row], given)
