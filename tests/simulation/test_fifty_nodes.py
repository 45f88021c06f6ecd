"""Fifty nodes, eight links each, a lossy network that splits, power cuts: a hundred seeds."""

import pytest

from dcfm_node.simulation.faults import simulate
from tests.simulation.scenarios import FIFTY

MAX_TERMS = 8
"""Three rounds need three; more would be a storm of votes."""


@pytest.mark.parametrize("seed", range(100))
def test_invariants_hold(seed: int) -> None:
    world = simulate(FIFTY, seed)
    assert max(world.leaders) <= MAX_TERMS
