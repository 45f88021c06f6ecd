"""SPEC 5.2, 6.4.4, 7.4: the next leader goes on where the last one was."""

from dataclasses import replace

import pytest

from dcfm_node.records.entries import Snapshot, Withdraw
from dcfm_node.swarm.effects import (
    Checkpointed,
    Distil,
    Drop,
    Start,
    Tick,
    Waiting,
    Worked,
    WorkFailed,
)
from dcfm_node.swarm.plan import next_step
from dcfm_node.swarm.wanted import wanted
from tests.unit.swarm.builders import Run, checkpoint, refuse, snapshot
from tests.unit.swarm.nodes import persisted, started
from tests.unit.swarm.plan_inputs import plan_input


def handed_on(*, term: int = 2, me: int = 1) -> tuple[Run, bytes]:
    """The leader of term 1 published a checkpoint; another node leads term 2."""
    run = Run(3)
    run.publish_experts(0)
    claimed = run.elect(0, term=1)
    teachers = [said.digest for said in run.view().expert_entries.values()]
    run.authors[0].say(checkpoint(1, 0, claimed, teachers))
    run.elect(me, term=term)
    return run, snapshot("checkpoint 1 0 5").digest


def test_the_next_leader_resumes_from_what_it_holds() -> None:
    run, digest = handed_on()
    plan = plan_input(run, me=1)
    action = next_step(replace(plan, held={*plan.held, digest})).action
    assert isinstance(action, Distil)
    assert (action.term, action.resume) == (2, digest)


def test_a_checkpoint_is_waited_for_as_an_expert_is() -> None:
    run, _ = handed_on()
    action = next_step(plan_input(run, me=1)).action
    assert isinstance(action, Waiting)
    assert action.on == (run.keys[0],)
    for given_up in ({"failed": lambda key: True}, {"lost": lambda key: True}):
        anew = next_step(plan_input(run, me=1, **given_up)).action
        assert isinstance(anew, Distil)
        assert anew.resume is None


def test_other_teachers_begin_anew() -> None:
    run = Run(3)
    run.publish_experts(0)
    claimed = run.elect(0, term=1)
    two = [said.digest for said in run.view().expert_entries.values()][:2]
    run.authors[0].say(checkpoint(1, 0, claimed, two))
    run.elect(1, term=2)
    plan = plan_input(run, me=1)
    held = {*plan.held, snapshot("checkpoint 1 0 5").digest}
    action = next_step(replace(plan, held=held)).action
    assert isinstance(action, Distil)
    assert action.resume is None


def test_only_the_newest_of_the_highest_valid_term_is_wanted() -> None:
    run, first = handed_on()
    assert first in wanted(plan_input(run, me=2))
    claimed = run.elect(1, term=3)
    teachers = [said.digest for said in run.view().expert_entries.values()]
    for step in (7, 9):
        run.authors[1].say(checkpoint(3, 0, claimed, teachers, step=step))
    run.authors[2].say(checkpoint(3, 0, claimed, teachers, step=11))  # no leader
    found = wanted(plan_input(run, me=2)).keys() & run.view().checkpointed.keys()
    assert found == {snapshot("checkpoint 3 0 9").digest}


def test_the_last_one_held_is_kept_until_a_newer_one_is_here() -> None:
    """Its leader may die before anyone fetched what it said last."""
    run, first = handed_on()
    claimed = next(s for s in run.authors[0].journal if s.entry.body.kind == "lease")
    teachers = [said.digest for said in run.view().expert_entries.values()]
    run.authors[0].say(checkpoint(1, 0, claimed, teachers, step=9))
    second = snapshot("checkpoint 1 0 9").digest
    plan = plan_input(run, me=1)
    held = {*plan.held, first}
    assert {first, second} <= wanted(replace(plan, held=held)).keys()
    assert first not in wanted(replace(plan, held={*held, second}))
    dead = next_step(replace(plan, held=held, failed=lambda key: key == run.keys[0])).action
    assert isinstance(dead, Distil)
    assert dead.resume == first


@pytest.mark.parametrize(("over", "wants"), [(0, True), (1, False)])
def test_one_that_no_network_fits_is_not_fetched(over: int, wants: bool) -> None:
    run = Run(3)
    run.publish_experts(0)
    claimed = run.elect(0)
    teachers = [said.digest for said in run.view().expert_entries.values()]
    made = checkpoint(1, 0, claimed, teachers)
    size = 4 * made.snapshot.size + (1 << 20) + over
    fat = Snapshot(**made.snapshot.model_dump() | {"size": size})
    run.authors[0].say(made.model_copy(update={"snapshot": fat}))
    assert (fat.digest in wanted(plan_input(run, me=1))) is wants


def test_once_the_student_is_there_nobody_wants_it() -> None:
    run, digest = handed_on()
    claimed = next(s for s in run.authors[1].journal if s.entry.body.kind == "lease")
    run.authors[1].say(run.student(claimed))
    assert digest not in wanted(plan_input(run, me=2))


def test_a_withdrawn_teachers_share_is_not_gone_on_from() -> None:
    run, digest = handed_on()
    run.authors[2].say(Withdraw(reason="leaves"))
    assert run.view().checkpoints_of(0) == []
    assert digest not in wanted(plan_input(run, me=1))


def test_nobody_goes_on_from_what_led_to_a_rejected_student() -> None:
    """SPEC 6.1.7, 6.4.4: its author is blamed with the leader who believed it."""
    run, digest = handed_on()
    claimed = next(s for s in run.authors[1].journal if s.entry.body.kind == "lease")
    said = run.authors[1].say(run.student(claimed, resumed=digest))
    assert run.view().checkpoints_of(0)
    for author in (run.authors[0], run.authors[2]):
        author.say(refuse(said))
    assert run.view().blamed(0) == {run.keys[0], run.keys[1]}
    assert run.view().checkpoints_of(0) == []
    assert digest not in wanted(plan_input(run, me=2))


# The node


def test_what_it_publishes_is_said_once_durable_and_superseded_ones_are_dropped() -> None:
    run = Run(1)
    made = started(run)
    made.handle(Worked(made.work, snapshot("mine"), {}), 1.0)
    work = made.work
    assert isinstance(work, Distil)
    first = made.handle(Checkpointed(work, snapshot("first"), 4), 2.0)
    assert persisted(first) == ["checkpoint"]
    assert made.work == work
    second = made.handle(Checkpointed(work, snapshot("second"), 8), 3.0)
    assert Drop(snapshot("first").digest) in second
    assert made.held >= {snapshot("second").digest}
    done = made.handle(Worked(work, snapshot("student"), {}), 4.0)
    assert Drop(snapshot("second").digest) in done
    late = made.handle(Checkpointed(work, snapshot("third"), 9), 5.0)
    assert persisted(late) == []
    assert Drop(snapshot("third").digest) in late


def test_one_that_cannot_be_trained_on_is_not_tried_twice() -> None:
    run = Run(1)
    made = started(run)
    made.handle(Worked(made.work, snapshot("mine"), {}), 1.0)
    made.handle(Checkpointed(made.work, snapshot("first"), 10), 2.0)
    made.handle(WorkFailed(made.work, "the machine"), 3.0)
    resumed = [e.work for e in made.handle(Tick(), 20.0) if isinstance(e, Start)]
    assert [work.resume for work in resumed] == [snapshot("first").digest]
    made.handle(WorkFailed(resumed[0], "training diverged"), 21.0)
    anew = [e.work for e in made.handle(Tick(), 40.0) if isinstance(e, Start)]
    assert [work.resume for work in anew] == [None]
