"""Gaussian modes: who holds what, and what counts as right."""

from pathlib import Path

import numpy as np
import pytest

from dcfm_node.domains.base import Split, SplitSpec
from dcfm_node.domains.gaussians import PLANE, Gaussians, ModesEvaluator, centres
from dcfm_node.domains.settings import GaussiansSettings
from dcfm_node.errors import UserError
from dcfm_node.records.manifest import Attribute
from dcfm_node.samples import Samples

NAMED = GaussiansSettings.model_validate(
    {
        "samples": 40,
        "partitions": (
            {"name": "two", "silos": ((("left", "top"),), (("left", "top"), ("left", "bottom")))},
        ),
    }
)


def split(given: GaussiansSettings, silos: int | None = None, seed: int = 0) -> Split:
    return Gaussians(given).split(SplitSpec(silos=silos, seed=seed))


def evaluator() -> ModesEvaluator:
    return ModesEvaluator(GaussiansSettings(), PLANE, seed=0)


def test_silos_see_one_attribute_vary_and_nobody_sees_the_held_out() -> None:
    made = split(GaussiansSettings(), silos=3)
    held = [silo.combinations for silo in made.silos]
    assert held == [[(0, 0), (0, 1)], [(0, 0), (1, 0)], [(0, 0), (0, 1)]]
    assert made.held_out == ((1, 1),)
    assert made.complete is not None
    assert made.complete.combinations == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for silo in made.silos:
        for combination in silo.combinations:
            x = silo.x[(silo.c == combination).all(axis=1)]
            assert np.allclose(
                x.mean(axis=0), centres(GaussiansSettings(), PLANE)[combination], atol=0.1
            )
            assert np.allclose(x.std(axis=0), 0.3, atol=0.05)


def test_a_named_partition_says_who_holds_what() -> None:
    made = split(NAMED)
    assert Gaussians(NAMED).partitions() == ("two",)
    assert [silo.combinations for silo in made.silos] == [[(0, 1)], [(0, 0), (0, 1)]]
    assert made.holders(["a", "b"]) == {(0, 0): ["b"], (0, 1): ["a", "b"], (1, 1): []}
    with pytest.raises(UserError, match="for 2 silos, not 3"):
        split(NAMED, silos=3)


def test_another_seed_draws_other_samples() -> None:
    a, b, again = (split(NAMED, seed=seed).silos[0].x for seed in (0, 1, 0))
    assert (a == again).all()
    assert (a != b).any()


@pytest.mark.parametrize(
    ("change", "attributes", "said"),
    [
        ({"held_out": (("right",),)}, PLANE, "needs 2 values"),
        ({"held_out": (("right", "middle"),)}, PLANE, "no value 'middle'"),
        ({"held_out": (("left", "top"),), "partitions": NAMED.partitions}, PLANE, "held-out"),
        ({"modes": NAMED.modes[:3]}, PLANE, "no centre for"),
        ({"modes": (*NAMED.modes, NAMED.modes[0])}, PLANE, "twice"),
        ({}, (PLANE[0], Attribute(name="x", values=("a", "b"))), "no value 'bottom'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    change: dict[str, object], attributes: tuple[Attribute, ...], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Gaussians(GaussiansSettings().model_copy(update=change)).attributes(attributes)


def test_right_is_within_three_sigma_of_the_mode() -> None:
    x = np.array([[1.5, 1.5], [1.5, 2.39], [1.5, 2.41], [-1.5, 1.5]], dtype=np.float32)
    asked = np.array([[1, 1]] * 4)
    assert evaluator().right(Samples(x, asked)).tolist() == [True, True, False, False]


def test_a_shifted_cloud_is_as_far_away_as_it_was_shifted(tmp_path: Path) -> None:
    rng, c = np.random.default_rng(3), np.array([[0, 1]] * 800)
    truth = centres(GaussiansSettings(), PLANE)[0, 1] + rng.normal(scale=0.3, size=(800, 2))
    near, far = (
        evaluator().measure(Samples((truth + shift).astype(np.float32), c))
        for shift in (np.zeros(2), np.array([3.0, 4.0]))
    )
    assert near["w2"] < 0.15
    assert abs(far["w2"] - 5.0) < 0.15
    assert near["accuracy"] > 0.98 > far["accuracy"] == 0
