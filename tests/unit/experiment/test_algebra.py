"""The law of composed samples: exact problems, rows, tables and picture."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from dcfm_node.experiment import results, settings
from dcfm_node.experiment.algebra import show
from dcfm_node.experiment.algebra.problems import ColouredDigits, Composed
from dcfm_node.experiment.algebra.settings import DIGITS, STUDENTS, Algebra, Law, Way
from dcfm_node.experiment.algebra.trial import AlgebraTrial
from dcfm_node.experiment.lines import TrialSpec

PLAIN = {"name": "p", "means": (0.0, 1.0), "deviations": (1.5, 0.6), "weights": (-0.6, 1.6)}


def test_a_law_is_measured_by_its_closed_form() -> None:
    law = Composed(Law.model_validate(PLAIN))
    mean, deviation = law.moments
    precision = 1.6 / 0.6**2 - 0.6 / 1.5**2
    assert (mean, deviation) == pytest.approx((1.6 / 0.6**2 / precision, precision**-0.5))
    levels = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    exact = (mean + deviation * math.sqrt(2) * torch.erfinv(2 * levels - 1))[:, None]
    assert law.measure(exact)["w2"] < 1e-9
    moved = law.measure(exact + 0.3)
    assert moved["w2"] == pytest.approx(0.3)
    assert moved["mean_error"] == pytest.approx(0.3, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"weights": (0.0, 1.6)}, "must sum to 1"),
        ({"weights": (1.0,)}, "one number for each term"),
        ({"weights": (6.0, -5.0)}, "has no density"),
    ],
)
def test_a_law_without_a_density_is_refused(change: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Law.model_validate(PLAIN | change)


def test_every_way_gets_the_same_evaluations() -> None:
    given = settings.read("algebra", "cpu")
    assert isinstance(given, Algebra)
    for partition in given.partitions:
        for way, n in given.variants(partition).values():
            assert way.steps(n) * (1 + way.moves) <= n
    assert not any(way.weight != 1 or way.joint for way, _ in given.variants("product").values())
    assert Way(name="w", moves=3).steps(2) == 1


def test_the_exact_field_of_digits_points_to_what_is_asked_for() -> None:
    """Near the data the joint field leads to images of the digit and the colour alone."""
    pytest.importorskip("sklearn")
    problem = ColouredDigits.drawn(100, 2, 0)
    assert len(problem.data) == 600
    rows = len(problem.asked)
    x, t = torch.randn(rows, 192, generator=torch.Generator().manual_seed(0)), torch.zeros(rows)
    each, w = problem.terms(1.5, joint=False)(x, t)
    assert w.tolist() == [-2.0, 1.5, 1.5]
    # At t = 0 nothing is known: clean images are means over those that show what is asked.
    clean = each + x[:, None]
    torch.testing.assert_close(clean[:, 0], problem.data.mean(dim=0).expand(rows, -1))
    digit = problem.shown[:, 0] == problem.asked[7, 0]
    torch.testing.assert_close(clean[7, 1], problem.data[digit].mean(dim=0))
    both = digit & (problem.shown[:, 1] == problem.asked[7, 1])
    joint, _ = problem.terms(1.0, joint=True)(x, t)
    torch.testing.assert_close((joint + x[:, None])[7, 0], problem.data[both].mean(dim=0))


def test_a_trial_makes_every_row_and_the_page_shows_them(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    given = settings.read("algebra", "quick")
    assert isinstance(given, Algebra)
    given = given.model_copy(update={"law": given.law[:1], "evaluations": (8,)})
    found = []
    for partition in given.partitions:
        spec = TrialSpec(
            experiment="algebra",
            preset="quick",
            partition=partition,
            seed=0,
            out=tmp_path,
            device="cpu",
        )
        AlgebraTrial(spec, given).run()
        found += [
            results.read_row(tmp_path / "rows" / f"{partition}-0-{name}.json")
            for name in given.lineup(partition)
        ]
    by_name = {(row.partition, row.method): row for row in found}
    assert by_name["product", "ode-8"].metrics["evaluations"] == 8
    assert by_name["product", "smc-8"].metrics["evaluations"] == 7
    assert by_name[DIGITS, "joint-4"].metrics["accuracy"] > 0.9
    trained = by_name[STUDENTS, "smc-4"].metrics
    assert trained["evaluations"] == 3
    assert {"known_accuracy", "novel_accuracy", "distance_novel", "recall_known"} < trained.keys()
    kept = results.Results("a", "quick", "", "", "", tuple(found), given.model_dump(mode="json"))
    assert settings.of_results(kept.settings) == given
    page = show.document(kept, given)
    assert "### product" in page
    assert page.count("| ode-guided | 4 |") == 2
    assert "| accuracy, known | accuracy, novel |" in page
    (picture,) = show.draw(tmp_path, kept, given)
    assert picture.stat().st_size > 0
