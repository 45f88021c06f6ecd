"""Switching: exact fields and laws, rows, slopes, table and picture."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dcfm_node.experiment import results, settings
from dcfm_node.experiment.lines import TrialSpec
from dcfm_node.experiment.switching import laws, show
from dcfm_node.experiment.switching.laws import (
    average_law,
    levels,
    noise_quantiles,
    switching_law,
    w2,
)
from dcfm_node.experiment.switching.mixtures import Mixture
from dcfm_node.experiment.switching.settings import Switching
from dcfm_node.experiment.switching.trial import Experts, SwitchingTrial
from dcfm_node.paths.linear import LinearPath
from dcfm_node.paths.settings import LinearPathSettings

QUANTILES = 512


def mixture(**other: Any) -> Mixture:
    given = {"dims": 1, "modes": 4, "sigma": 0.5, "silos": 2, "overlap": False, "seed": 1}
    return Mixture.drawn(**{**given, **other})


def experts(known: Mixture) -> Experts:
    fields = [known.field(k) for k in range(known.silos)]
    path = LinearPath(LinearPathSettings(), "velocity")
    label = torch.zeros(1, dtype=torch.int64)
    return Experts(fields, known.router, label, torch.float64, path)


@pytest.mark.parametrize("overlap", [False, True])
def test_the_routed_fields_are_that_of_all_data(overlap: bool) -> None:
    known = mixture(overlap=overlap, dims=2, silos=3)
    assert known.shares.sum().item() == pytest.approx(1.0)
    assert ((known.shares > 0).sum(dim=0) == (3 if overlap else 1)).all()
    whole = Mixture(known.centres, known.sigma, known.shares.sum(dim=0, keepdim=True))
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(50, 2, generator=draws, dtype=torch.float64)
    t = torch.linspace(0, 1, 50, dtype=torch.float64)
    field = experts(known).sampled(50)
    torch.testing.assert_close(field(x, t), experts(whole).sampled(50)(x, t))


def test_the_exact_flow_carries_noise_to_the_data() -> None:
    known = mixture()
    flow = experts(known).integrate(noise_quantiles(QUANTILES)[:, None], 128, "rk4").flatten()
    assert w2(flow, known.quantiles(levels(QUANTILES))) < 1e-4
    drawn = np.concatenate([known.draw(k, 20_000, np.random.default_rng(k))[0] for k in (0, 1)])
    shares = known.shares.sum(dim=1).numpy()
    weights = np.repeat(shares / 20_000, 20_000)
    assert flow.mean().item() == pytest.approx((drawn[:, 0] * weights).sum(), abs=0.05)


def test_mass_between_points_keeps_its_mean_and_variance() -> None:
    places, mass = np.array([[2.3, 4.5], [6.0, 1.9]]), np.array([[0.2, 0.3], [0.4, 0.1]])
    spread = laws._spread(places, mass, 9)
    for power in (0, 1, 2):
        wanted = (mass * places**power).sum()
        assert (spread * np.arange(9.0) ** power).sum() == pytest.approx(wanted)


def test_the_law_on_the_grid_is_that_of_the_sampler() -> None:
    """The package's own switching sampler draws from it, and not from the averaged one."""
    made, steps, rows = experts(mixture(silos=4, modes=8, seed=0)), 4, 40_000
    noise = torch.randn(rows, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = made.integrate(noise, steps, "euler", seed=1).flatten().sort().values
    law = switching_law(made.parts, steps, 2_049, rows)
    averaged = average_law(made.parts, noise_quantiles(rows), steps)
    assert w2(drawn, law) < 0.03
    assert w2(drawn, averaged) > 0.1


def test_the_slopes_on_exact_fields() -> None:
    """Coupled, switching converges as N^-1/2 and averaging as N^-1; in law, both do as N^-1."""
    made, steps = experts(mixture(silos=4, modes=8, seed=0)), (16, 32, 64)
    start, rows = noise_quantiles(QUANTILES), 400
    limit = made.integrate(start[:, None], 64, "rk4").flatten()
    noise = noise_quantiles(rows)[:, None]
    exact = made.integrate(noise, 64, "rk4")
    found: dict[str, list[results.Row]] = {"average": [], "switch": []}
    for rule, rows_ in found.items():
        for n in steps:
            seed = 3 if rule == "switch" else None
            coupled = w2(made.integrate(noise, n, "euler", seed=seed), exact)
            law = switching_law(made.parts, n, 1_025, QUANTILES) if seed else None
            law = average_law(made.parts, start, n) if law is None else law
            metrics = {"steps": float(n), "coupled": coupled, "w2": w2(law, limit)}
            rows_.append(results.Row(f"{rule}-{n}", "p", 0, rule, metrics))
    assert show.slope(found["average"], "w2") == pytest.approx(-1.0, abs=0.1)
    assert show.slope(found["switch"], "w2") == pytest.approx(-1.0, abs=0.1)
    assert show.slope(found["average"], "coupled") == pytest.approx(-1.0, abs=0.1)
    assert show.slope(found["switch"], "coupled") == pytest.approx(-0.5, abs=0.1)


def test_a_slope_is_fitted_by_least_squares() -> None:
    rows = [
        results.Row("m", "p", 0, "switch", {"steps": float(n), "w2": 3.0 * n**-0.5})
        for n in (4, 8, 16)
    ]
    assert show.slope(rows, "w2") == pytest.approx(-0.5)
    assert math.isnan(show.slope(rows[:1], "w2"))
    assert math.isnan(show.slope(rows, "bias"))


def test_a_trial_makes_every_row_and_the_page_shows_them(tmp_path: Path) -> None:
    given = settings.read("switching", "quick")
    assert isinstance(given, Switching)
    assert given.partitions == ("wide", "wide-trained", "plane")
    found = []
    for partition in given.partitions:
        spec = TrialSpec(
            experiment="switching",
            preset="quick",
            partition=partition,
            seed=0,
            out=tmp_path,
            device="cpu",
        )
        SwitchingTrial(spec, given).run()
        found += [
            results.read_row(tmp_path / "rows" / f"{partition}-0-{name}.json")
            for name in given.lineup
        ]
    by_name = {(row.partition, row.method): row for row in found}
    assert by_name["wide", "switch-8"].metrics["evaluations"] == 8
    assert by_name["wide", "average-8"].metrics["evaluations"] == 8 * 4
    assert "w2" not in by_name["plane", "switch-8"].metrics
    assert by_name["wide", "average-8"].metrics["bias"] < 0.01
    assert by_name["wide-trained", "average-8"].metrics["bias"] > 0.1
    kept = results.Results("s", "quick", "", "", "", tuple(found), given.model_dump(mode="json"))
    page = show.document(kept, given)
    assert "| wide | law | switch |" in page
    assert "| plane | law |" not in page
    assert settings.of_results(kept.settings) == given
    (picture,) = show.draw(tmp_path, kept, given)
    assert picture.stat().st_size > 0


def test_the_better_buy_is_in_bold() -> None:
    given = settings.read("switching", "cpu")
    assert isinstance(given, Switching)
    rows = [
        results.Row(f"{rule}-{n}", "wide", 0, rule, {"w2": far}, cost={"microseconds": 1.0})
        for rule, n, far in (("switch", 32, 0.1), ("average", 8, 0.4), ("switch", 64, 0.5))
    ]
    rows.append(results.Row("average-16", "wide", 0, "average", {"w2": 0.25}))
    (_, _, line) = show.buys_table(rows, given).splitlines()
    assert "| **0.25** | 2.00 |" in line
