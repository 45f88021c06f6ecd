"""Fifty nodes, eight links each, a lossy network that splits, power cuts."""

import pytest

from dcfm_node.simulation.run import simulate
from dcfm_node.simulation.scenario import load


@pytest.mark.full
@pytest.mark.parametrize("seed", range(4))
def test_invariants_hold_without_a_storm_of_votes(seed: int) -> None:
    simulate(load("fifty"), seed)


def test_invariants_hold_among_sixteen() -> None:
    simulate(load("fifty", {"nodes": 16}), 0)
