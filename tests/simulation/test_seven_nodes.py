"""Small runs under every kind of fault: whatever befalls them, all invariants of SPEC 8 hold."""

import pytest

from dcfm_node.records.entries import Student
from dcfm_node.simulation.faults import simulate
from tests.simulation.scenarios import CALM, DDM, FEDFLOW, PAPER, SEVEN, TOLERANT

SEEDS = range(10)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", SEVEN)
def test_invariants_hold(name: str, seed: int) -> None:
    simulate(SEVEN[name], seed)


@pytest.mark.parametrize("scenario", [CALM, TOLERANT, PAPER, FEDFLOW, DDM])
def test_a_calm_run_needs_one_term_a_round_and_misses_nobody(scenario) -> None:
    world = simulate(scenario, 0)
    bodies = [sealed.entry.body for sealed in world.said.values()]
    students = [body for body in bodies if isinstance(body, Student)]
    rounds = {student.round for student in students}
    assert len(students) == len(rounds) == len(world.leaders) == max(world.leaders)
    assert not any(student.missing for student in students)


def test_a_seed_names_a_run_exactly() -> None:
    scenario = SEVEN["power cuts amid elections, sparse"]
    first, second = simulate(scenario, 3), simulate(scenario, 3)
    assert first.now == second.now
    assert list(first.said) == list(second.said)


def test_a_silo_that_died_is_named_missing() -> None:
    """SPEC 6.4.1: tolerance goes on without the dead, and says so."""
    world = simulate(SEVEN["deaths, tolerant"], 1)
    dead = {key for key, host in world.hosts.items() if host.dead}
    final = next(host.node for host in world.living() if host.node is not None)
    latest = final.exchange.view.latest()
    assert latest is not None
    assert set(latest.body.missing) == dead
