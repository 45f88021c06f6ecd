from hypothesis import given
from hypothesis import strategies as st

from dcfm_node.swarm.coverage import coverage


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
