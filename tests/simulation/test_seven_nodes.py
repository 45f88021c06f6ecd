"""Small runs under every kind of fault: all invariants of SPEC 8 hold in each.

One seed of every scenario, and a sweep; `dcfm-node simulate SCENARIO --seeds 100` runs more.
"""

import pytest

from dcfm_node.records.entries import Student
from dcfm_node.simulation.faults import Fault
from dcfm_node.simulation.run import simulate
from dcfm_node.simulation.scenario import load, names
from dcfm_node.simulation.world import World
from tests.simulation.sweeps import REACHING

SEEDS = 1_000
"""Of the long sweep, over all scenarios."""
SMALL = [name for name in names() if load(name).nodes < 10]
ELSEWHERE = {name for name, _ in REACHING} | {name for name in SMALL if name.startswith("calm")}
"""Scenarios that other tests of this folder run."""


@pytest.mark.parametrize("name", [name for name in SMALL if name not in ELSEWHERE])
def test_invariants_hold(name: str) -> None:
    simulate(load(name), 0)


@pytest.mark.full
@pytest.mark.parametrize("name", SMALL)
def test_invariants_hold_with_more_seeds(name: str) -> None:
    for seed in range(-(-SEEDS // len(SMALL))):
        simulate(load(name), seed)


@pytest.mark.parametrize("variant", ["", ":tokens", ":tolerant", ":paper", ":fedflow", ":ddm"])
def test_a_calm_run_needs_one_term_a_round_and_misses_nobody(variant: str) -> None:
    world = simulate(load(f"calm{variant}", {"max_terms": None}), 0)
    bodies = [sealed.entry.body for sealed in world.history.said.values()]
    students = [body for body in bodies if isinstance(body, Student)]
    rounds = {student.round for student in students}
    assert len(students) == len(rounds)
    assert list(world.history.leaders) == list(range(1, len(rounds) + 2))  # the first one prepares
    assert not any(student.missing for student in students)


def test_a_run_of_tokens_survives_power_cuts_and_lost_disks() -> None:
    """Its silos state no means and deviations, so it prepares probes alone."""
    scenario = load("power-cuts-publishing", {"tokens": 4, "disks_lost": 1})
    world = simulate(scenario, 0)
    assert world.manifest.groups == 0
    assert world.history.prepared is not None


def test_a_seed_names_a_run_exactly_however_it_is_signed() -> None:
    """The hash that stands in for Ed25519 changes nothing but time."""
    scenario = load("power-cuts-publishing:elections-sparse")
    runs = [simulate(scenario, 3, world=World(scenario, 3, real=real)) for real in (False, True)]
    assert runs[0].clock.now == runs[1].clock.now
    assert list(runs[0].history.said) == list(runs[1].history.said)


@pytest.mark.parametrize("participation", ["strict", "tolerant"])
def test_a_member_that_takes_its_join_back_stops_no_run(participation: str) -> None:
    """SPEC 3.4.3: each peer is told another join, before the others build on one of them."""
    changes = {"nodes": 5, "limit_s": 900.0, "max_terms": None, "participation": participation}
    scenario = load("calm", changes)
    fault = Fault("writes a fat journal", 8.0, None, (2,), record="rejoins")
    world = World(scenario, 1)
    simulate(scenario, 1, [fault], world=world)
    assert world.hosts[world.keys[2]].dead and world.history.prepared is not None


def test_a_silo_that_died_is_named_missing() -> None:
    """SPEC 6.4.1: tolerance goes on without the dead, and says so."""
    world = simulate(load("deaths"), 1)
    dead = {key for key, host in world.hosts.items() if host.dead}
    final = next(host.node for host in world.living() if host.node is not None)
    latest = final.replica.view.latest()
    assert latest is not None
    assert set(latest.body.missing) == dead
