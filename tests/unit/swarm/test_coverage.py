from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcfm_node.swarm.coverage import alone, coverage, levels, meetings, outside_hull, unmet


def test_three_of_four_modes_suffice() -> None:
    found = coverage({(0, 0): 5, (0, 1): 1, (1, 0): 2}, (2, 2))
    assert (found.observed, found.needed, found.sufficient) == (3, 3, True)


def test_missing_values_are_named() -> None:
    found = coverage({(0, 0): 5, (0, 1): 1, (1, 0): 0}, (2, 3))
    assert found.missing_values == ((0, 1), (1, 2))
    assert found.missing_combinations == 2
    assert not found.sufficient


def test_every_value_is_not_enough() -> None:
    found = coverage({(0, 0): 1, (1, 1): 1}, (2, 2))
    assert found.missing_values == ()
    assert found.missing_combinations == 1
    assert not found.sufficient


@given(st.lists(st.integers(2, 4), min_size=1, max_size=3).map(tuple))
def test_everything_observed_is_always_enough(sizes: tuple[int, ...]) -> None:
    space: list[tuple[int, ...]] = [()]
    for size in sizes:
        space = [(*label, value) for label in space for value in range(size)]
    assert coverage(dict.fromkeys(space, 1), sizes).sufficient


def test_only_feasible_combinations_are_needed() -> None:
    """The last value of the first attribute, and (1, 1) with (1, 2), do not occur."""
    feasible = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 3), (2, 0))
    found = coverage({(0, 0): 1, (0, 1): 1, (1, 0): 1}, (4, 4), feasible)
    assert (found.needed, found.rank) == (6, 3)
    assert found.missing_values == ((0, 2), (1, 2), (1, 3))
    assert (found.level_1, found.level_2, found.outside) == (3, 0, 3)
    assert found.completing == ()
    assert coverage(dict.fromkeys(feasible, 1), (4, 4), feasible).sufficient
    crossed = ((0, 0), (0, 1), (1, 0), (1, 1))
    assert coverage({(0, 0): 1, (1, 1): 1}, (3, 3), crossed).completing == ((0, 1),)
    assert outside_hull([(0, 0), (0, 1)], (4, 4), feasible) == {*feasible} - {(0, 0), (0, 1)}


SIZES = st.lists(st.integers(2, 4), min_size=1, max_size=3).map(tuple)


def one_hot(label: Sequence[int], sizes: Sequence[int]) -> list[float]:
    return [
        float(v == value) for size, value in zip(sizes, label, strict=True) for v in range(size)
    ]


@given(SIZES, st.randoms(use_true_random=False))
def test_ranks_and_hulls_are_those_of_linear_algebra(sizes, rng) -> None:
    space = list(product(*map(range, sizes)))
    seen = rng.sample(space, rng.randint(1, len(space)))
    rows = np.array([one_hot(label, sizes) for label in seen])
    rank = np.linalg.matrix_rank(rows)
    outside = [
        label
        for label in space
        if np.linalg.matrix_rank(np.vstack([rows, one_hot(label, sizes)])) > rank
    ]
    found = coverage(dict.fromkeys(seen, 1), sizes)
    assert (found.rank, found.outside) == (rank, len(outside))
    there = 1 + sum(len({label[i] for label in seen}) - 1 for i in range(len(sizes)))
    assert len(found.completing) == there - rank
    whole = coverage(dict.fromkeys([*seen, *found.completing], 1), sizes)
    assert (whole.rank, whole.completing) == (there, ())
    assert whole.missing_values == found.missing_values


@pytest.mark.parametrize(
    ("seen", "sizes", "expected"),
    [
        ([(0, 0), (0, 1), (1, 0)], (2, 2), (1, 0)),
        ([(0, 0), (1, 1)], (2, 2), (2, 0)),
        ([(0, 0, 0)], (2, 2, 2), (3, 4)),
        ([(0, 0, 0), (1, 1, 1)], (2, 2, 2), (6, 0)),
    ],
)
def test_novelty_is_told_by_how_many_attributes_must_change(seen, sizes, expected) -> None:
    found = coverage(dict.fromkeys(seen, 3), sizes)
    assert (found.level_1, found.level_2) == expected


def test_the_level_of_each_unseen_combination() -> None:
    assert list(levels([(0, 1), (1, 1)], [(0, 0)])) == [1, 2]


def test_what_one_silo_alone_counts() -> None:
    silos = {"a": [(0, 0), (0, 1)], "b": [(0, 0)], "c": [(1, 0), (1, 1), (0, 1), (2, 2)]}
    assert list(alone(silos).items()) == [("c", 3)]


def test_enough_combinations_may_still_lack_a_direction() -> None:
    """Eq. 2 counts: two separate blocks of values pass it, and say nothing about each other."""
    blocks = {(a, b): 1 for a, b in product(range(4), range(4)) if a // 2 == b // 2}
    found = coverage(blocks, (4, 4))
    assert found.sufficient
    assert (found.rank, found.needed, found.outside) == (6, 7, 8)


def test_values_that_meet_nowhere_are_named_by_their_attributes() -> None:
    met = meetings([(0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1)])
    assert unmet((1, 1, 0), met) == ((0, 1),)
    assert unmet((1, 1, 1), met) == ((0, 1), (0, 2), (1, 2))
    assert unmet((0, 0, 1), met) == ()
    assert unmet((1, 1), meetings([(0, 0), (0, 1), (1, 0)])) == ()  # the combination itself
