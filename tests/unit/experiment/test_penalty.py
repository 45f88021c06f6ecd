"""The map of the penalty: problems with a dial, the window in t, rows, table and picture."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dcfm_node.errors import ConfigError
from dcfm_node.experiment import results, settings
from dcfm_node.experiment.lines import TrialSpec
from dcfm_node.experiment.penalty import show
from dcfm_node.experiment.penalty.problems import dependence, make
from dcfm_node.experiment.penalty.settings import OFF, WINDOWS, Penalty
from dcfm_node.experiment.penalty.trial import PenaltyTrial, Windowed
from dcfm_node.experiment.strangers.defaults import manifest_of
from dcfm_node.experiment.strangers.measure import measure
from dcfm_node.experiment.strangers.problem import combinations, spans
from dcfm_node.flow.losses import evaluate_terms, penalty_loss
from dcfm_node.flow.sources import all_live
from dcfm_node.flow.stages import EncodedSamples, points_of
from dcfm_node.samples import Samples

SHARES = (0.0, 0.1, 0.4, 1.0)


def tiny(**other: Any) -> Penalty:
    forms = ("vectors", "pictures")
    blends = [{"form": f, "noise": 0.2, "dependence": SHARES, "share": 0.002} for f in forms]
    given = {"weights": (0.1, 1.0), "times": ("all", "late"), "each": 2, "share": 0.002}
    given |= {"blend": tuple(blends), "problems": ("digits", "schedules-cube", "units")} | other
    return Penalty.model_validate({"kind": "penalty", "name": "tiny", "title": "Tiny"} | given)


@pytest.mark.parametrize("name", tiny().partitions)
def test_the_judge_is_right_on_real_samples_and_one_silo_holds_all(name: str) -> None:
    problem = make(name, 1, tiny())
    real = problem.real(combinations(problem.sizes), 50)
    assert (problem.judge(real.x) == real.c).all(axis=1).mean() > 0.97
    assert (problem.judge(real.x) == real.c[::-1]).all(axis=1).mean() < 0.5
    assert len(problem.silos) == 1
    assert spans(problem.known, problem.sizes)
    assert problem.novel


@pytest.mark.parametrize("form", ["vectors", "pictures"])
@pytest.mark.parametrize("share", SHARES)
def test_the_dial_is_the_share_that_no_sum_explains(form: str, share: float) -> None:
    given = tiny()
    problem = make(f"{form}-{share * 100:.0f}-20", 3, given)
    assert dependence(problem) == pytest.approx(share, abs=0.02)
    same = make(f"{form}-0-20", 3, given)
    assert problem.silos == same.silos


def test_dependence_is_told_of_sums_alone_where_means_differ() -> None:
    assert dependence(make("schedules-cube", 0, tiny())) < 0.01
    assert np.isnan(dependence(make("series", 0, tiny(problems=("series",)))))


def test_pixels_that_are_never_lit_do_not_decide_the_distance() -> None:
    problem = make("digits", 0, tiny())
    blurred = problem.real(problem.known, 20)
    noise = np.random.default_rng(0).normal(0, 0.02, blurred.x.shape).astype(np.float32)
    assert measure(problem, Samples(blurred.x + noise, blurred.c))["distance"] < 1


def test_an_unknown_problem_is_named() -> None:
    for name, said in (("nothing", "'nothing'"), ("schedules-no", "-no"), ("vectors-7-20", "'vec")):
        with pytest.raises(ConfigError, match=said):
            make(name, 0, tiny())


def test_the_penalty_acts_in_its_window_alone(tmp_path: Path) -> None:
    problem = make("vectors-40-20", 0, tiny())
    run, silo = manifest_of(problem, tmp_path, 1.0), problem.silo(0)
    data = EncodedSamples(torch.from_numpy(silo.x), torch.from_numpy(silo.c))
    points = points_of(run, data, "cpu")
    stage = Windowed(points, all_live, run, run.method.local, 0.5)

    def penalty(window: tuple[float, float]) -> tuple[torch.Tensor, torch.Tensor]:
        """Times, and the penalty of each row alone."""
        draws = torch.Generator().manual_seed(0)
        rows = replace(stage, window=window).penalty(points(64, draws), draws)
        assert rows is not None

        def field(x: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
            return x * c.prod(dim=1, keepdim=True)  # labels do not add up

        each = evaluate_terms(field, rows.x, rows.t, rows.terms)
        parts = (
            replace(rows, x=rows.x[i], t=rows.t[i], terms=rows.terms[i], weights=rows.weights[i])
            for i in torch.arange(64)[:, None]
        )
        losses = [penalty_loss(stage.path, each[i : i + 1], part) for i, part in enumerate(parts)]
        return rows.t, torch.stack(losses)

    t, whole = penalty(WINDOWS["all"])
    assert (whole > 0).float().mean() > 0.8
    for name, inside in (("early", t < 0.5), ("late", t >= 0.5)):
        _, part = penalty(WINDOWS[name])
        assert torch.equal(part, torch.where(inside, whole, 0.0))


def test_rows_are_made_once_and_shown(tmp_path: Path) -> None:
    given = tiny()
    rows = []
    for name in ("vectors-40-20", "schedules-cube"):
        spec = TrialSpec(experiment="", preset="", partition=name, seed=0, out=tmp_path)
        PenaltyTrial(spec, given).run()
        paths = [tmp_path / "rows" / f"{name}-0-{variant}.json" for variant in given.lineup(name)]
        rows += [results.read_row(path) for path in paths]
        before = [path.stat().st_mtime_ns for path in paths]
        paths[0].unlink()
        PenaltyTrial(spec, given).run()
        assert [path.stat().st_mtime_ns for path in paths[1:]] == before[1:]
        assert results.read_row(paths[0]).metrics == rows[-len(paths)].metrics
    assert [row.method for row in rows] == [*given.variants, OFF, "all-0.1", "all-1"]
    for row in rows:
        assert {"dependence", "novel_accuracy", "known_accuracy", "distance_novel"} <= {
            *row.metrics
        }
        assert row.cost["cpu_seconds"] > 0
    shown = given.model_copy(update={"blend": (), "problems": ("vectors-40-20", "schedules-cube")})
    found = results.Results("tiny", "cpu", "", "", "", tuple(rows), shown.model_dump(mode="json"))
    assert "| vectors-40-20 |" in show.document(found, shown)
    assert "Incomplete" not in show.document(found, shown)
    less = replace(found, rows=found.rows[:2], planned=len(rows))
    assert f"Incomplete: 2 of {len(rows)} rows." in show.document(less, shown)
    assert "| problem | dependence | off | all-0.1 |\n" in show.document(less, shown)
    (picture,) = show.draw(tmp_path, found, given)
    assert picture.stat().st_size > 0


def test_the_gain_is_over_the_row_without_the_penalty() -> None:
    given = settings.read("penalty", "quick")
    assert isinstance(given, Penalty)
    said = {OFF: 0.25, "all-1": 0.75}
    rows = [
        results.Row(v, "schedules-cube", 0, "joint", {"novel_accuracy": a, "known_accuracy": 1.0})
        for v, a in said.items()
    ]
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    show.panel(axes, rows, given, "all", ["schedules-cube"])
    assert np.array_equal(axes.images[0].get_array(), [[0.0, 0.5]])  # type: ignore[arg-type]
    assert [text.get_text() for text in axes.texts] == ["0.25\n1.00", "0.75\n1.00"]
