"""SPEC 6.9: what each silo weighs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcfm_node.records.entries import Join, Label
from dcfm_node.swarm.shares import capped, factors

HONEST: dict[Label, int] = {(0,): 600, (1,): 400}


def join(counts: dict[Label, int]) -> Join:
    return Join(name="silo", distils=True, version="", counts=tuple(counts.items()))


def weights(*silos: dict[Label, int], max_share: float = 0.5) -> list[float]:
    """Of each silo, of 1."""
    found = capped({bytes([n]): join(counts) for n, counts in enumerate(silos)}, max_share)
    sums = [sum(counts.values()) for counts in found.values()]
    return [value / sum(sums) for value in sums]


@given(st.lists(st.integers(1, 2**40), min_size=1, max_size=9), st.floats(0.01, 1.0))
def test_nobody_weighs_more_than_its_share_and_the_order_stays(
    totals: list[int], max_share: float
) -> None:
    scale = factors({bytes([n]): total for n, total in enumerate(totals)}, max_share)
    scaled = [total * scale[bytes([n])] for n, total in enumerate(totals)]
    assert max(scaled) <= max(max_share, 1 / len(totals)) * sum(scaled) * (1 + 1e-6)
    assert [a for a, _ in sorted(zip(scaled, totals, strict=True))] == sorted(scaled)


def test_many_labels_of_little_weight_do_not_add_up() -> None:
    """A join of 65,536 labels weighed 95 % where no silo may have more than half."""
    hostile = {(n // 256, n % 256): 2**24 for n in range(65_536)}
    assert weights(HONEST, HONEST, HONEST, hostile)[3] == pytest.approx(0.5, abs=1e-3)


def test_what_is_within_its_share_is_counted_as_it_was_said() -> None:
    found = capped({b"a": join(HONEST), b"b": join(HONEST)}, 0.5)
    assert list(found.values()) == [HONEST, HONEST]


def test_what_a_silo_holds_stays_known() -> None:
    found = capped({b"a": join(HONEST), b"b": join({(0,): 2**40, (1,): 1})}, 0.5)
    assert found[b"b"][(1,)] == 1
