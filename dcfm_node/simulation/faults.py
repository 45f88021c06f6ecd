"""Puts a scenario's faults on the world's agenda."""

from functools import partial

from dcfm_node.simulation.invariants import check, check_end
from dcfm_node.simulation.scenario import Scenario
from dcfm_node.simulation.world import World


def schedule_faults(world: World) -> None:
    """Draw when and whom each fault befalls."""
    scenario, rng = world.scenario, world.rng
    keys = list(world.hosts)

    def instant() -> float:
        return rng.uniform(1, scenario.quiet_s)

    for _ in range(scenario.crashes):
        world.at(instant(), partial(world.crash, rng.choice(keys)))
    for key in rng.sample(keys, scenario.deaths):
        world.at(instant(), partial(world.crash, key, for_good=True))
    # One lost disk at a time: the next falls only when the last node has had time to recover.
    for number in range(scenario.crashes_diskless):
        share = scenario.quiet_s / scenario.crashes_diskless
        when = share * number + rng.uniform(1, share / 2)
        world.at(when, partial(world.crash, rng.choice(keys), disk_too=True))
    if scenario.partition_s is not None:
        world.at(scenario.partition_s[0], world.cut)
        world.at(scenario.partition_s[1], world.heal)
    if scenario.one_way_s is not None:
        world.at(scenario.one_way_s[0], partial(world.cut, one_way=True))
        world.at(scenario.one_way_s[1], world.heal)


def simulate(scenario: Scenario, seed: int) -> World:
    """Run a scenario to its end under all invariants.

    Raises:
        ViolationError: an invariant broke.
    """
    world = World(scenario, seed)
    schedule_faults(world)
    world.run(check)
    check_end(world)
    return world
