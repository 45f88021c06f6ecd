"""Factorised against monolithic models: exact problems, rows, tables and picture."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from dcfm_node.experiment import results, settings
from dcfm_node.experiment.factorised import show
from dcfm_node.experiment.factorised.problems import GAP, Sum
from dcfm_node.experiment.factorised.settings import TRUTH, Factorised, Sums
from dcfm_node.experiment.factorised.trial import FactorisedTrial, posed
from dcfm_node.experiment.lines import TrialSpec
from dcfm_node.samples import Samples

SIGMA = 0.2


def sums(attributes: int = 3, seen: int = 9, dims: int = 0) -> Sums:
    return Sums(name="p", attributes=attributes, seen=seen, dims=dims)


def read(preset: str) -> Factorised:
    given = settings.read("factorised", preset)
    assert isinstance(given, Factorised)
    return given


@pytest.mark.parametrize("dims", [0, 4])
@pytest.mark.parametrize("seed", range(3))
def test_known_combinations_show_every_value_and_means_lie_apart(dims: int, seed: int) -> None:
    problem = Sum.drawn(sums(dims=dims), SIGMA, seed)
    assert len(problem.known) == 9
    assert sorted({*problem.known, *problem.novel}) == sorted(np.ndindex(3, 3, 3))
    assert all(len(set(values)) == 3 for values in zip(*problem.known, strict=True))
    means = problem.means(np.array(list(np.ndindex(3, 3, 3))))
    apart = np.linalg.norm(means[:, None] - means, axis=2) + 1e9 * np.eye(27)
    assert apart.min() > GAP * SIGMA


def test_attributes_are_independent_given_a_sample_only_in_planes_of_their_own() -> None:
    """Then, and only then, p(c | x) is the product of its marginals, at any x."""
    space = np.array(list(np.ndindex(3, 3)))
    for dims, independent in ((0, True), (3, False)):
        problem = Sum.drawn(sums(attributes=2, seen=6, dims=dims), SIGMA, 0)
        means = problem.means(space)
        x = 0.3 * np.random.default_rng(0).normal(size=means.shape[1])
        log = -np.square(x - means).sum(axis=1) / (2 * 0.5**2)
        p = np.exp(log - log.max()).reshape(3, 3)
        p /= p.sum()
        product = p.sum(axis=1, keepdims=True) * p.sum(axis=0, keepdims=True)
        assert np.allclose(p, product, atol=1e-9) == independent


def test_samples_are_measured_by_the_exact_laws() -> None:
    problem = Sum.drawn(sums(), SIGMA, 0)
    rng = np.random.default_rng(0)
    c = problem.asked(20_000)["novel"][:40_000]
    true = problem.draw(c, rng)
    found = problem.measure(true)
    assert found["accuracy"] > 0.99
    assert found["w2"] < 0.01
    shift = np.zeros(6, np.float32)
    shift[0] = 0.1
    moved = problem.measure(Samples(true.x + shift, c))
    assert moved["mean_error"] == pytest.approx(0.1, abs=0.01)
    assert moved["w2"] == pytest.approx(0.1, abs=0.01)
    # All draws at the mean: W2 is that of a point from N(0, σ² I) in six dimensions.
    still = problem.measure(Samples(problem.means(c).astype(np.float32), c))
    assert still["w2"] == pytest.approx(SIGMA * 6**0.5, rel=1e-4)
    swapped = problem.measure(Samples(true.x[::-1].copy(), c))
    assert swapped["accuracy"] < 0.01


@pytest.mark.parametrize(
    ("attributes", "seen", "dims", "why"), [(2, 9, 0, "nothing novel"), (2, 6, 1, "dims is 0")]
)
def test_problems_that_show_nothing_are_refused(
    attributes: int, seen: int, dims: int, why: str
) -> None:
    with pytest.raises(ValidationError, match=why):
        sums(attributes, seen, dims)


def test_models_differ_in_masks_rule_and_penalty_alone() -> None:
    given = read("cpu")
    problem = Sum.drawn(given.problem[0], given.sigma, 0)
    runs = {kind.name: posed(problem, given, kind, 0) for kind in given.model}
    assert [run.method.composed for run in runs.values()] == [False, False, True, True]
    assert [run.method.local.ci_weight > 0 for run in runs.values()] == [False, False, False, True]
    assert [run.cardinalities for run in runs.values()] == [(9,), (3, 3), (3, 3), (3, 3)]
    assert len({run.network.model_dump_json() for run in runs.values()}) == 1
    assert len({run.method.local.steps for run in runs.values()}) == 1


def test_a_trial_makes_every_row_and_the_page_shows_them(tmp_path: Path) -> None:
    given = read("smoke")
    given = given.model_copy(update={"problem": given.problem[:1]})
    spec = TrialSpec(
        experiment="factorised",
        preset="smoke",
        partition="two",
        seed=0,
        out=tmp_path,
        device="cpu",
    )
    trial = FactorisedTrial(spec, given)
    trial.run()
    less, more = trial._data(1), trial._data(4)
    assert np.array_equal(more.c[: len(less)], less.c)
    assert np.array_equal(more.x[: len(less)], less.x)
    found = [results.read_row(tmp_path / "rows" / f"two-0-{name}.json") for name in given.lineup]
    by_name = {row.method: row for row in found}
    assert len(by_name) == 1 + 4 * 2
    assert by_name[TRUTH].metrics["novel_accuracy"] > 0.9
    assert by_name[TRUTH].metrics["w2_novel"] < by_name["monolithic-4"].metrics["w2_novel"]
    assert by_name["factorised-4"].metrics["size"] == 4
    kept = results.Results("f", "smoke", "", "", "", tuple(found), given.model_dump(mode="json"))
    assert settings.of_results(kept.settings) == given
    page = show.document(kept, given)
    assert "2 attributes with planes of their own; 6 of 9 are known." in page
    assert page.count("| W2, novel |") == 5
    assert show.summary(found, given).count("**") >= 4
    (picture,) = show.draw(tmp_path, kept, given)
    assert picture.stat().st_size > 0
