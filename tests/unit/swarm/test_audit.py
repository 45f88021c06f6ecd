"""SPEC 6.6: whom a silo refuses from what their experts scored on its hold-out data."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcfm_node.swarm.audit import FIGURES, refusals, too_many

KEYS = [bytes([number]) * 32 for number in range(6)]


def scores(*places: float, figure: str = "joint") -> dict[bytes, dict[str, float]]:
    return {key: {figure: place} for key, place in zip(KEYS, places, strict=False)}


@pytest.mark.parametrize("figure", FIGURES)
def test_who_errs_like_an_untrained_network_is_refused_whatever_two_of_six_do(figure: str) -> None:
    found = refusals(scores(0.01, -0.02, 0.0, 0.02, 0.9, 5.0, figure=figure))
    assert set(found) == set(KEYS[4:])
    assert FIGURES[figure] in found[KEYS[4]]


def test_peers_that_differ_as_much_as_they_know_are_left_alone() -> None:
    """Where data are far apart the spread itself is wide."""
    assert not refusals(scores(0.0, 0.3, 0.6, 0.9, 0.99))


def test_hostile_experts_do_not_hide_behind_each_other() -> None:
    """Half of the four that this silo can compare are hostile, and far apart."""
    assert set(refusals(scores(0.0, 0.73, 1.42))) == {KEYS[1], KEYS[2]}


def test_who_knows_less_than_nothing_is_refused_though_no_outlier() -> None:
    assert set(refusals(scores(0.6, 0.8, 1.2, 1.3))) == {KEYS[2], KEYS[3]}


def test_an_outlier_that_still_knows_more_than_nothing_is_left_alone() -> None:
    assert not refusals(scores(0.001, 0.002, 0.0, 0.001, 0.4))


def test_two_are_too_few_to_tell_who_is_wrong() -> None:
    assert not refusals(scores(5.0))
    assert not refusals({key: {} for key in KEYS})


def test_too_many_refused_what_most_who_can_tell_refused_and_one_at_least_is_honest() -> None:
    """SPEC 6.7.2: of seven, two may lie."""
    a, b, c, d, e = (bytes([number]) * 32 for number in range(5))
    assert too_many({a, b, c}, {a, b, c}, 7)
    assert too_many({a, b, c}, {a, b, c, d, e}, 7)
    assert not too_many({a, b}, {a, b}, 7)
    assert not too_many({a, b, c}, {b, c, d, e}, 7)
    assert not too_many({a, b, c}, set(), 7)


def test_scores_that_only_inform_refuse_nobody() -> None:
    assert not refusals({key: {"ci_gap": 1e9 if key == KEYS[0] else 0.0} for key in KEYS})


@given(st.lists(st.floats(-0.3, 0.3), min_size=1, max_size=6))
def test_nobody_near_the_own_expert_is_refused(places: list[float]) -> None:
    assert not refusals(scores(*places))


@given(st.lists(st.floats(-0.1, 0.1), min_size=4, max_size=4), st.floats(1.5, 1e12), st.randoms())
def test_lies_of_two_do_not_hide_a_third_thing(
    honest: list[float], far: float, rng: random.Random
) -> None:
    """The median and its deviation hold as long as the hostile are fewer than half."""
    places = [*honest, far, math.nextafter(far, math.inf)]
    order = rng.sample(range(6), 6)
    found = refusals({KEYS[k]: {"joint": places[k]} for k in order})
    assert set(found) == set(KEYS[4:])
