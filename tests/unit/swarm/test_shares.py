"""SPEC 6.9: no silo outweighs the others by its own word."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcfm_node.swarm.admission import MAX_COUNT
from dcfm_node.swarm.shares import capped, factors

KEYS = [bytes([number]) * 32 for number in range(6)]


def weights(totals: dict[bytes, int], most: float) -> dict[bytes, float]:
    scale = factors(totals, most)
    return {key: totals[key] * scale[key] for key in totals}


@pytest.mark.parametrize(
    ("counts", "most", "weighs"),
    [
        ((), 0.5, ()),
        ((7,), 0.5, (7,)),
        ((3, 5), 0.5, (3, 3)),
        ((10, 20, 30), 0.5, (10, 20, 30)),
        ((10, 20, 1_000), 0.5, (10, 20, 30)),
        ((10, 1_000, 1_000), 0.4, (10, 20, 20)),
        ((10, 1_000, 9_000), 1 / 3, (10, 10, 10)),
        ((10, 1_000, 9_000), 0.01, (10, 10, 10)),
        ((10, 1_000, 9_000), 1.0, (10, 1_000, 9_000)),
    ],
)
def test_who_is_over_its_share_is_scaled_down_to_it(counts, most, weighs) -> None:
    found = weights(dict(zip(KEYS, counts, strict=False)), most)
    assert list(found.values()) == pytest.approx(list(weighs))


@given(st.lists(st.integers(1, 4 * MAX_COUNT), min_size=1, max_size=6), st.floats(0.01, 1.0))
def test_nobody_has_more_than_its_share_and_nobody_is_scaled_up(counts, most) -> None:
    totals = dict(zip(KEYS, counts, strict=False))
    scale, found = factors(totals, most), weights(totals, most)
    assert all(0 < factor <= 1 for factor in scale.values())
    limit = max(most, 1 / len(counts))
    assert max(found.values()) <= limit * math.fsum(found.values()) * (1 + 1e-6)
    untouched = [key for key in totals if scale[key] == 1]
    if most >= 1 / len(counts) + 1e-6:
        assert min(totals, key=lambda key: totals[key]) in untouched


def test_what_a_silo_holds_stays_known_however_little_it_weighs() -> None:
    """All are counted in parts of a sample then."""
    huge = {(0, 0): MAX_COUNT, (0, 1): 1}
    small = {(1, 1): 3}
    found = capped({KEYS[0]: huge, KEYS[1]: small}, 0.5)
    three = 3 * 65_536
    assert found == {KEYS[0]: {(0, 0): three, (0, 1): 1}, KEYS[1]: {(1, 1): three}}


def test_what_is_within_its_share_is_counted_as_it_was_said() -> None:
    both = {(0, 0): 600, (0, 1): 400}
    found = capped({KEYS[0]: both, KEYS[1]: both}, 0.5)
    assert list(found.values()) == [{(0, 0): 600, (0, 1): 400}] * 2


def test_many_labels_of_little_weight_do_not_add_up() -> None:
    """A join of 65,536 labels weighed 95 % where no silo may have more than half."""
    honest = {(0, 0): 1_000}
    hostile = {(n // 256, n % 256): 2**24 for n in range(65_536)}
    found = capped({**dict.fromkeys(KEYS[:3], honest), KEYS[3]: hostile}, 0.5)
    sums = {key: sum(labels.values()) for key, labels in found.items()}
    assert sums[KEYS[3]] / sum(sums.values()) == pytest.approx(0.5, abs=1e-3)
