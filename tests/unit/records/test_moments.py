"""Moments: pooled to a scale that one silo cannot spoil, and compared between silos."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dcfm_node.records.moments import (
    CONSTANT,
    FACTOR,
    MAX_GROUPS,
    MAX_VALUE,
    MIN_SAMPLES,
    Moments,
    groups,
    misfit,
    outliers,
    pooled,
)

HOSTILE = (
    (1e12, 1.0),
    (-MAX_VALUE, MAX_VALUE),
    (0.0, MAX_VALUE),
    (0.0, 0.0),
    (0.0, 1e-30),
)


def of(*each: tuple[float, float]) -> Moments:
    return Moments(mean=tuple(m for m, _ in each), deviation=tuple(d for _, d in each))


def near(factor: float = 1.0, offset: float = 0.0) -> list[tuple[float, Moments]]:
    """Four silos about alike, in units that are `factor` as large."""
    each = ((-0.5, 1.0), (0.0, 0.8), (0.3, 1.2), (0.1, 0.9))
    return [(10.0, of((offset + factor * m, factor * d))) for m, d in each]


def test_pooled_moments_are_those_of_all_samples_together() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(1013.0, 9.0, (rows, 3)) for rows in (40, 90, 200)]
    told = [
        (float(len(x)), Moments(mean=tuple(x.mean(0).tolist()), deviation=tuple(x.std(0).tolist())))
        for x in parts
    ]
    scale, whole = pooled(told), np.concatenate(parts)
    assert scale is not None
    np.testing.assert_allclose(scale.mean, whole.mean(0), rtol=1e-12)
    np.testing.assert_allclose(scale.deviation, whole.std(0), rtol=1e-12)


def test_nobody_tells() -> None:
    assert pooled([]) is None


@pytest.mark.parametrize("lie", HOSTILE)
def test_one_silo_of_five_cannot_scale_the_others_to_nothing(lie: tuple[float, float]) -> None:
    honest = pooled(near())
    scale = pooled([*near(), (10.0, of(lie))])
    assert honest is not None and scale is not None
    assert 0.5 < scale.deviation[0] / honest.deviation[0] < 10.0
    assert abs(scale.mean[0] - honest.mean[0]) < 4.0 * honest.deviation[0]


def words(deviations: st.SearchStrategy[float], means: st.SearchStrategy[float]):
    return st.tuples(means, deviations)


ANY = st.floats(0.0, MAX_VALUE) | st.sampled_from([0.0, 1e-200, 1e-29, 1e-6, 1.0, 9.9, 1e6])
LIES = words(ANY, ANY | ANY.map(lambda mean: -mean))
TRUE = st.lists(words(st.floats(0.5, 2.0), st.floats(-5.0, 5.0)), min_size=1, max_size=6)


@given(TRUE, LIES, st.data())
def test_how_far_one_liar_moves_the_scale(true, lie, data) -> None:
    """SPEC 6.13.5. With weights within `max_share` of 0.5, whatever the liar states."""
    weight = data.draw(st.floats(0.01, 1.0)) * len(true)
    scale = pooled([*((1.0, of(one)) for one in true), (weight, of(lie))])
    assert scale is not None
    (mean,), (deviation,) = scale.mean, scale.deviation
    assert deviation > 0.7 * min(d for _, d in true)  # nothing makes honest data large
    if len(true) > 1:
        span = max(d + abs(m - other) for m, d in true for other, _ in true)
        assert deviation < math.sqrt(1 + 2 * FACTOR**2 / 2) * span
        assert abs(mean - true[0][0]) < (1 + FACTOR / 2) * span


@pytest.mark.parametrize("tiny", [1e-29, 1e-9, 1e-3])
@pytest.mark.parametrize(
    "honest", [[(0.0, 1.0)], [(0.0, 1.0), (5.0, 0.0)], [(0.0, 0.0), (9.0, 0.0)]]
)
def test_a_tiny_deviation_makes_no_data_large(honest, tiny: float) -> None:
    """Where two silos alone state moments, or a group varies in one, or only between silos."""
    alone = pooled([(1.0, of(one)) for one in honest])
    scale = pooled([*((1.0, of(one)) for one in honest), (1.0, of((0.0, tiny)))])
    assert alone is not None and scale is not None
    assert scale.deviation[0] > alone.deviation[0] / 2.0


def test_one_of_three_silos_may_be_far_away() -> None:
    """Each almost constant, two of them alike: the third's data are no 1,000 deviations off."""
    sites = ((12.0, 0.0), (12.5, 0.0), (3_100.0, 0.0))
    scale = pooled([(1.0, of(site)) for site in sites])
    assert scale is not None
    assert max(abs(m - scale.mean[0]) for m, _ in sites) < 2.0 * scale.deviation[0]


def test_the_scale_follows_the_units() -> None:
    """(x - mean) / deviation must be the same in all units: the rule may not know any."""
    lie = (10.0, of((50.0, 80.0)))
    unit = pooled([*near(), lie])
    physical = pooled([*near(9.0, 1013.0), (10.0, of((1013.0 + 450.0, 720.0)))])
    assert unit is not None and physical is not None
    assert math.isclose(physical.deviation[0], 9.0 * unit.deviation[0], rel_tol=1e-12)
    assert math.isclose(physical.mean[0], 1013.0 + 9.0 * unit.mean[0], rel_tol=1e-12)


@pytest.mark.parametrize("mean", [0.0, -3.0, 1013.0])
@pytest.mark.parametrize("share", [0.0, CONSTANT / 2])
def test_a_constant_feature_keeps_its_unit(mean: float, share: float) -> None:
    scale = pooled([(1.0, of((mean, abs(mean) * share)))] * 3)
    assert scale is not None
    assert (scale.mean, scale.deviation) == ((mean,), (1.0,))


def test_what_is_constant_in_each_silo_varies_between_them() -> None:
    scale = pooled([(1.0, of((height, 0.0))) for height in (12.0, 480.0, 3_100.0)])
    assert scale is not None
    assert math.isclose(scale.deviation[0], np.std([12.0, 480.0, 3_100.0]))


def test_groups() -> None:
    image, vector, series = (3, 8, 8), (6,), (2, 24)
    assert [groups("auto", s, s) for s in (image, vector, series)] == [0, 6, 48]
    assert [groups("feature", s, s) for s in (image, vector, series)] == [192, 6, 48]
    assert [groups("channel", s, s) for s in (image, vector, series)] == [3, 1, 2]
    assert [groups("none", s, s) for s in (image, vector, series)] == [0, 0, 0]
    assert groups("auto", image, (16,)) == 0  # a codec's features of images
    assert groups("feature", (MAX_GROUPS + 1,), (MAX_GROUPS + 1,)) == 1


def test_what_a_silo_may_state() -> None:
    one = of((0.0, 1.0))
    assert misfit(None, 0, 1) == "" == misfit(one, 1, MIN_SAMPLES)
    assert "31 samples" in misfit(one, 1, MIN_SAMPLES - 1)
    assert "2 groups" in misfit(one, 2, 100)
    assert "0 groups" in misfit(one, 0, 100)
    assert misfit(Moments(mean=(0.0,), deviation=(1.0, 1.0)), 1, 100)


@pytest.mark.parametrize(
    "fields",
    [
        {"mean": (math.nan,), "deviation": (1.0,)},
        {"mean": (0.0,), "deviation": (math.inf,)},
        {"mean": (0.0,), "deviation": (-1.0,)},
        {"mean": (2 * MAX_VALUE,), "deviation": (1.0,)},
        {"mean": (), "deviation": ()},
        {"mean": (0.0,) * (MAX_GROUPS + 1), "deviation": (1.0,)},
    ],
)
def test_numbers_that_no_data_has_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Moments.model_validate(fields)


def silos(*each: tuple[float, float]) -> dict[str, Moments]:
    return {f"silo{number}": of(one) for number, one in enumerate(each)}


@pytest.mark.parametrize(
    "other",
    [
        (101_300.0, 900.0),  # Pa among hPa
        (101.3, 0.9),  # kPa among hPa
        (1013.0, 9.0 * FACTOR * 2),
        (1013.0, 9.0 / FACTOR / 2),
    ],
)
def test_a_silo_in_other_units_is_named(other: tuple[float, float]) -> None:
    found = outliers(silos((1013.0, 9.0), (1010.0, 8.0), other, (1016.0, 9.5)), {})
    assert [(one.silo, one.group) for one in found] == [("silo2", 0)]


def test_silos_of_other_values_are_not_in_other_units() -> None:
    assert not outliers(silos((-5.0, 0.3), (5.0, 0.3), (0.0, 5.0)), {})
    assert not outliers(silos((-5.0, 0.3), (0.0, 5.0), (0.5, 5.0), (0.2, 5.0)), {})
    assert not outliers(silos((1e6, 1e-3), (1e6 + 0.1, 2e-3), (1e6, 0.0)), {})


def test_only_the_group_is_named_that_differs() -> None:
    usual = of((0.0, 1.0), (285.0, 6.0))
    found = outliers({"a": usual, "b": usual, "c": of((0.0, 1.0), (12.0, 6.0))}, {})
    assert [(one.silo, one.group, one.centre, one.spread) for one in found] == [
        ("c", 1, 285.0, 6.0)
    ]


LOADS = {"full": (95.0, 3.0), "half": (50.0, 2.6), "idle": (10.0, 1.5)}
IDLE_HALF, IDLE_FULL, HALF = (24.3, 18.1), (38.5, 40.0), (51.0, 2.6)


def of_loads(*each: tuple[tuple[float, float], tuple[str, ...]]) -> list[str]:
    """Which of silos with these moments and loads seem to be in other units."""
    held = {
        f"silo{k}": [(list(LOADS).index(x),) for x in loads] for k, (_, loads) in enumerate(each)
    }
    return [one.silo for one in outliers(silos(*(one for one, _ in each)), held)]


BOTH = (IDLE_HALF, ("idle", "half")), (IDLE_FULL, ("idle", "full"))


def test_a_silo_that_lacks_values_is_not_in_other_units_wherever_these_lie() -> None:
    assert of_loads(*BOTH, (HALF, ("half",))) == []
    for load in LOADS:  # amid or at the edge of what all hold
        everything = ((51.7, 34.8), tuple(LOADS))
        assert of_loads(everything, everything, (LOADS[load], (load,))) == []
    assert of_loads(*((one, (load,)) for load, one in LOADS.items())) == []
    assert of_loads(*((LOADS[load], (load,)) for load in ("idle", "full"))) == []
    assert of_loads(*((LOADS[load], (load,)) for load in ("idle", "idle", "full"))) == []


@pytest.mark.parametrize("factor", [1000.0, 100.0, 1e-2, 1e-3])
def test_a_silo_that_lacks_values_may_still_be_in_other_units(factor: float) -> None:
    centred = [((mean - 45.0, dev), loads) for (mean, dev), loads in BOTH]
    one = (6.0 * factor, 2.6 * factor)
    assert of_loads(*centred, (one, ("half",))) == ["silo2"]


@pytest.mark.parametrize("offset", [700.0, -700.0])
def test_an_offset_is_found_though_a_silo_lacks_values(offset: float) -> None:
    assert of_loads(*BOTH, ((HALF[0] + offset, HALF[1]), ("half",))) == ["silo2"]


def test_a_silo_that_alone_holds_a_value_is_in_other_units_only_far_away() -> None:
    three = [((0.0, 1.0), ("idle",)), ((0.1, 1.0), ("idle",))]
    assert of_loads(*three, ((50.0, 2.0), ("full",))) == []
    assert of_loads(*three, ((50.0, 2.0), ("idle",))) == ["silo2"]
    assert of_loads(*three, ((500.0, 2.0), ("full",))) == ["silo2"]
