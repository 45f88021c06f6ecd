"""SPEC 6.12: which combinations nobody trains on."""

from fractions import Fraction
from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcfm_node.swarm.coverage import coverage
from dcfm_node.swarm.probes import choose, rank_needed, spanning

SALT = bytes(32)


def rank(labels, sizes) -> int:
    """Exact, by fractions, of full one-hot vectors."""
    rows = [
        [Fraction(int(v == label[i])) for i, n in enumerate(sizes) for v in range(n)]
        for label in labels
    ]
    found = 0
    for column in range(sum(sizes)):
        pivot = next((r for r in range(found, len(rows)) if rows[r][column]), None)
        if pivot is None:
            continue
        rows[found], rows[pivot] = rows[pivot], rows[found]
        for r in range(found + 1, len(rows)):
            times = rows[r][column] / rows[found][column]
            rows[r] = [a - times * b for a, b in zip(rows[r], rows[found], strict=True)]
        found += 1
    return found


def everywhere(labels, count: int = 10, silos: int = 3):
    return [dict.fromkeys(labels, count)] * silos


@st.composite
def worlds(draw):
    sizes = draw(st.lists(st.integers(2, 4), min_size=1, max_size=3))
    space = list(product(*map(range, sizes)))
    silos = draw(
        st.lists(
            st.dictionaries(st.sampled_from(space), st.integers(1, 50), min_size=1),
            min_size=1,
            max_size=4,
        )
    )
    return sizes, silos, draw(st.floats(0.01, 1.0))


@given(worlds())
def test_what_is_left_determines_everything_and_every_silo_keeps_half(world) -> None:
    sizes, silos, share = world
    found = choose(SALT, silos, sizes, share)
    assert bool(found.why) is not bool(found.probes)
    assert list(found.probes) == sorted(set(found.probes))
    known = {label for of in silos for label in of}
    assert known.issuperset(found.probes)
    assert len(found.probes) <= max(1, share * len(known))
    if not found.probes:
        return
    left = known.difference(found.probes)
    assert rank(left, sizes) == rank_needed(sizes)
    assert coverage(dict.fromkeys(left, 1), sizes).sufficient
    for of in silos:
        kept = sum(n for label, n in of.items() if label in left)
        assert 2 * kept >= sum(of.values())


@given(worlds())
def test_a_spanning_set_spans_and_is_as_small_as_can_be(world) -> None:
    sizes, silos, _ = world
    known = sorted({label for of in silos for label in of})
    found = spanning(known, sizes)
    assert len(found) == rank(found, sizes) == rank(known, sizes)


def test_five_of_a_half_fraction_leave_one_to_spare() -> None:
    """Modulo 2 the four that are left would not span the space; in truth they do."""
    half = [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)]
    assert len(spanning(half, (2, 2, 2))) == rank_needed((2, 2, 2)) == 4


def test_the_order_depends_on_the_attributes_alone() -> None:
    full = everywhere(product(range(4), range(4)))
    salts = [bytes([number]) * 32 for number in range(8)]
    chosen = [choose(salt, full, (4, 4), 0.2).probes for salt in salts]
    assert all(len(probes) == 3 for probes in chosen) and len(set(chosen)) > 1
    assert choose(salts[0], [*full, {(0, 0): 1, (1, 1): 9}], (4, 4), 0.2).probes == chosen[0]


def test_what_one_silo_alone_counts_takes_the_place_of_no_other_probe() -> None:
    """A member may count what nobody holds: such a probe would be scored by nobody."""
    seen = [label for label in product(range(4), range(4)) if sum(label) < 5]
    honest = everywhere(seen, silos=2)
    for lie in (dict.fromkeys(product(range(4), range(4)), 1), {(3, 3): 1, (2, 3): 1}):
        for number in range(8):
            found = choose(bytes([number]) * 32, [*honest, lie], (4, 4), 0.2)
            assert found.probes and set(found.probes) <= set(seen)


def test_a_probe_that_one_silo_alone_counts_is_better_than_none() -> None:
    labels = list(product(range(3), range(3)))
    silos = [dict.fromkeys(labels[:5], 9), dict.fromkeys(labels[5:], 9)]
    assert choose(SALT, silos, (3, 3), 0.2).probes


def test_at_least_one_is_withheld_where_one_can_be_spared() -> None:
    found = choose(SALT, everywhere(product(range(2), range(2))), (2, 2), 0.01)
    assert len(found.probes) == 1


@pytest.mark.parametrize(("margin", "withheld"), [(1, 8), (2, 2), (3, 0)])
def test_a_margin_keeps_several_times_what_determines_everything(margin, withheld) -> None:
    """All 4 x 4 combinations are known, and 7 determine all effects."""
    found = choose(SALT, everywhere(product(range(4), range(4))), (4, 4), 0.5, margin)
    assert len(found.probes) == withheld and bool(found.why) == (withheld == 0)


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ([(0, 0), (0, 1)], "1 values occur in no held combination"),
        ([(0, 0), (1, 1)], "1 more held combinations would be needed (Eq. 2)"),
        ([(0, 0), (1, 1), (0, 1)], "every held combination is needed to determine the others"),
    ],
)
def test_it_says_why_there_is_none(labels, why) -> None:
    assert choose(SALT, everywhere(labels), (2, 2), 0.5).why == why


def test_enough_combinations_may_still_not_determine_all_effects() -> None:
    """Two blocks that share no value: how they relate is open, though Eq. 2 holds by number."""
    blocks = [*product(range(2), range(2)), *product(range(2, 4), range(2, 4))]
    found = choose(SALT, everywhere(blocks), (4, 4), 0.5)
    assert not found.probes and "do not determine" in found.why


def test_none_is_withheld_of_silos_that_hold_one_combination_each() -> None:
    silos = [{label: 5} for label in product(range(2), range(2))]
    found = choose(SALT, silos, (2, 2), 0.5)
    assert not found.probes and found.why.endswith("loses over half of its samples")


def test_a_run_may_withhold_none() -> None:
    found = choose(SALT, everywhere(product(range(3), range(3))), (3, 3), 0.0)
    assert not found.probes and "probes.share" in found.why


def test_a_lie_of_many_combinations_costs_little() -> None:
    """Values that only ever occur in pairs: no set of them spans the space."""
    pairs = [(n, n) for n in range(200)] + list(combinations(range(200), 2))[:100]
    assert not choose(SALT, everywhere(pairs), (200, 300), 0.5).probes
