"""Runs whose members change: silos that withdraw, before and after the release."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest

from dcfm_node.records.entries import Student
from dcfm_node.simulation.faults import schedule_faults
from dcfm_node.simulation.invariants import check, check_end
from dcfm_node.simulation.scenario import Scenario
from dcfm_node.simulation.world import World
from dcfm_node.swarm.effects import Leave
from tests.simulation.scenarios import CALM, DDM, FEDFLOW, PAPER, TOLERANT

LOSSY = {"loss": 0.1, "crashes": 3}
DONE_S = 900.0
"""By then every run here has released its student."""


def withdrawing(scenario: Scenario, seed: int, when: Sequence[float]) -> World:
    """A run from which one silo after another withdraws, from the roster's end."""
    world = World(scenario, seed)
    schedule_faults(world)
    leavers = list(world.hosts)[-len(when) :]

    def leave(key: bytes) -> None:
        if world.hosts[key].node is None:  # its machine is down: the operator comes again
            world.at(world.now + 5.0, partial(leave, key))
        else:
            world.deliver(key, Leave("moving"))

    for key, second in zip(leavers, when, strict=True):
        world.at(second, partial(leave, key))
    world.run(check)
    check_end(world)
    view = next(host.node.exchange.view for host in world.living() if host.node is not None)
    assert set(view.withdrawn) == set(leavers)
    latest = view.latest()
    assert latest is not None
    assert not {view.expert_entries[entry].author for entry in latest.body.teachers} & set(leavers)
    return world


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scenario", [CALM, PAPER, TOLERANT, FEDFLOW, DDM])
def test_a_silo_that_withdraws_at_any_time_teaches_the_released_student_nothing(
    scenario: Scenario, seed: int
) -> None:
    """SPEC 6.1.5 and 6.2: amid training, elections, distillation and scoring."""
    moments = (20.0 + 35.0 * seed, 60.0 + 55.0 * seed)
    withdrawing(replace(scenario, **LOSSY, quiet_s=max(moments) + 30.0), seed, moments)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scenario", [CALM, PAPER, FEDFLOW, DDM])
def test_a_withdrawal_after_the_release_leads_to_another_student(
    scenario: Scenario, seed: int
) -> None:
    """SPEC 6.2: the last round alone is distilled again, and nobody trains."""
    calm = withdrawing(replace(scenario, quiet_s=DONE_S + 30.0), seed, (DONE_S,))
    bodies = [sealed.entry for sealed in calm.said.values()]
    students = [entry.body for entry in bodies if isinstance(entry.body, Student)]
    finals = [student for student in students if student.final]
    assert [student.round for student in finals] == [finals[0].round] * 2
    assert len(students) == len({student.round for student in students}) + 1
