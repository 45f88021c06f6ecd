"""Runs whose members change: silos that withdraw, before and after the release."""

from collections.abc import Sequence

from dcfm_node.records.entries import Student
from dcfm_node.simulation.faults import Fault, draw
from dcfm_node.simulation.run import simulate
from dcfm_node.simulation.scenario import load
from dcfm_node.simulation.world import World
from tests.simulation.sweeps import sweep

SCHEMES = ["calm", "calm:paper", "calm:tolerant", "calm:fedflow", "calm:ddm"]
LOSSY = {"loss": 0.1, "crashes": 3, "whole": False, "max_terms": None}
DONE_S = 900.0
"""By then every run here has released its student."""


def withdrawing(name: str, seed: int, when: Sequence[float], **changes: object) -> World:
    """A run from which one silo after another withdraws, from the roster's end."""
    scenario = load(name, {"quiet_s": max(when) + 30.0, **changes})
    who = range(scenario.nodes - len(when), scenario.nodes)
    leaving = [Fault("withdraws", at, None, (i,)) for i, at in zip(who, when, strict=True)]
    world = simulate(scenario, seed, [*draw(scenario, seed), *leaving])
    leavers = [world.keys[index] for index in who]
    view = next(host.node.replica.view for host in world.living() if host.node is not None)
    assert set(view.withdrawn) == set(leavers)
    latest = view.latest()
    assert latest is not None
    assert not {view.expert_entries[entry].author for entry in latest.body.teachers} & set(leavers)
    return world


@sweep(SCHEMES, 6)
def test_a_silo_that_withdraws_at_any_time_teaches_the_released_student_nothing(
    scenario: str, seed: int
) -> None:
    """SPEC 6.1.5 and 6.2: amid training, elections, distillation and scoring."""
    moments = (20.0 + 35.0 * seed, 60.0 + 55.0 * seed)
    withdrawing(scenario, seed, moments, **LOSSY)


@sweep([name for name in SCHEMES if "tolerant" not in name], 3)
def test_a_withdrawal_after_the_release_leads_to_another_student(scenario: str, seed: int) -> None:
    """SPEC 6.2: the last round alone is distilled again, and nobody trains."""
    calm = withdrawing(scenario, seed, (DONE_S,), max_terms=None)
    bodies = [sealed.entry for sealed in calm.history.said.values()]
    students = [entry.body for entry in bodies if isinstance(entry.body, Student)]
    finals = [student for student in students if student.final]
    assert [student.round for student in finals] == [finals[0].round] * 2
    assert len(students) == len({student.round for student in students}) + 1


@sweep(["calm", "calm:tolerant", "calm:paper"], 4)
def test_a_silo_that_missed_rounds_takes_part_again(scenario: str, seed: int) -> None:
    """SPEC 6.2.5: its machine was away; it knows all afterwards, and holds the student."""
    settings = load(scenario, {"quiet_s": 260.0, "whole": False, "max_terms": None})
    away = Fault("stopped", 20.0, 250.0, (2,))
    world = simulate(settings, seed, [*draw(settings, seed), away])
    node = world.hosts[world.keys[2]].node
    assert node is not None
    latest = node.replica.view.latest()
    assert latest is not None
    assert latest.body.snapshot.digest in node.held
