"""SPEC 6.2.4, 6.4.1 and 7.4: what finished work says, and when it stays unsaid."""

from dataclasses import replace

import pytest

from dcfm_node.records.entries import Endorse, Refuse, Vote, Withdraw
from dcfm_node.swarm.effects import AuditExperts, Distil, Score, Train
from dcfm_node.swarm.outcome import (
    base_of,
    brief,
    expert_of,
    in_vain,
    judgement_of,
    still_true,
    student_of,
)
from dcfm_node.swarm.plan import next_step
from tests.unit.swarm.builders import Run, expert, snapshot
from tests.unit.swarm.plan_inputs import plan_input

SCORE = Score(student=bytes(32), snapshot=bytes(32), reference=None)
DISTIL = Distil(
    round=1,
    term=2,
    lease=b"l" * 32,
    teachers=((b"k" * 32, b"e" * 32, b"s" * 32),),
    missing=(b"m" * 32,),
    final=True,
)


def test_an_expert_names_its_parents() -> None:
    work = Train("refine", 1, init=b"a" * 32, anchor=b"b" * 32, peers=((b"k" * 32, b"c" * 32),))
    record = expert_of(work, snapshot("mine"), {"ci_gap": 0.5})
    assert record.parents == (b"a" * 32, b"b" * 32, b"c" * 32)
    assert expert_of(Train("local", 0), snapshot("mine"), {}).parents == ()


def test_a_student_carries_its_lineage_and_who_is_missing() -> None:
    record = student_of(DISTIL, snapshot("student"), {}, seed=7)
    assert (record.term, record.round, record.seed, record.final) == (2, 1, 7, True)
    assert record.teachers == (b"e" * 32,)
    assert record.missing == (b"m" * 32,)
    assert brief(record) == {"round": 1, "term": 2, "final": True}


@pytest.mark.parametrize(
    ("metrics", "verdict"),
    [
        ({"holdout_loss": 4.0, "reference_loss": 1.0}, Endorse),
        ({"holdout_loss": 4.1, "reference_loss": 1.0}, Refuse),
        ({"holdout_loss": 99.0}, Endorse),
    ],
)
def test_a_student_is_judged_against_the_own_expert(metrics, verdict) -> None:
    assert isinstance(judgement_of(SCORE, metrics, limit=4.0), verdict)


def test_fenced_and_second_students_stay_unsaid() -> None:
    run = Run(3)
    run.publish_experts(0)
    mine = run.student(run.elect(0, term=1))
    assert still_true(mine, run.view(), run.keys[0])
    run.elect(1, term=2)
    assert not still_true(mine, run.view(), run.keys[0])
    once = Run(3)
    once.publish_experts(0)
    made = once.student(once.elect(0))
    once.authors[0].say(made)
    assert not still_true(made, once.view(), once.keys[0])


def test_a_leader_whose_teacher_was_taken_back_says_no_student_nor_ever_a_second_one() -> None:
    """Nobody would count the first, since no node holds all teachers, and two of one lease are a
    proven fault: a member that took its expert back put each leader in quarantine."""
    run = Run(3, participation="tolerant")
    run.publish_experts(0)
    leader, shifty = run.authors[0], run.authors[2]
    run.elect(0)
    begun = next_step(plan_input(run)).action
    assert isinstance(begun, Distil)
    first = student_of(begun, snapshot("first"), {}, 0)
    assert still_true(first, run.view(), leader.key)
    assert not in_vain(begun, begun, run.view(), leader.key)
    seq = next(s.entry.seq for s in shifty.journal if s.entry.body.kind == "expert")
    shifty.say(expert(0, "instead"), epoch=9, at=seq)
    assert not still_true(first, run.view(), leader.key)
    assert in_vain(begun, begun, run.view(), leader.key)
    anew = next_step(plan_input(run, work=begun)).action
    assert isinstance(anew, Distil) and anew.missing == (shifty.key,), "or it does so for ever"
    leader.say(first)  # it was under way before that was heard of
    again = student_of(anew, snapshot("second"), {}, 0)
    assert not still_true(again, run.view(), leader.key)
    assert isinstance(next_step(plan_input(run)).action, Vote), "its lease is spent"


def test_an_expert_of_a_round_is_said_once() -> None:
    run = Run(2)
    assert still_true(expert(0), run.view(), run.keys[0])
    run.publish_experts(0)
    assert not still_true(expert(0), run.view(), run.keys[0])
    assert still_true(expert(1), run.view(), run.keys[0])


def test_a_distillation_goes_on_whatever_teachers_came_since() -> None:
    more = Distil(1, 2, b"l" * 32, (), (), final=False)
    run = Run(3)
    taught = run.authors[1].say(expert(0))
    begun = replace(DISTIL, teachers=((run.keys[1], taught.digest, b"s" * 32),))
    me, view = run.keys[0], run.view()
    assert not in_vain(begun, more, view, me)
    assert in_vain(begun, Distil(1, 3, b"l" * 32, (), (), final=False), view, me)
    assert in_vain(begun, SCORE, view, me)
    assert in_vain(begun, None, view, me)


def test_what_is_soon_done_is_let_finish() -> None:
    run = Run(3)
    for work in (SCORE, AuditExperts(0, ())):
        assert not in_vain(work, DISTIL, run.view(), run.keys[0])
    run.authors[0].say(Withdraw(reason="moving"))
    assert in_vain(SCORE, None, run.view(), run.keys[0])


def test_a_distillation_begins_again_without_a_teacher_that_withdraws() -> None:
    """SPEC 6.4."""
    run = Run(3)
    run.publish_experts(0)
    run.elect(0)
    teachers = tuple((a.key, a.journal[1].digest, b"s" * 32) for a in run.authors)
    work = Distil(0, 1, b"l" * 32, teachers, (), final=False)
    made = student_of(work, snapshot("student"), {}, 0)
    assert not in_vain(work, work, run.view(), run.keys[0])
    assert still_true(made, run.view(), run.keys[0])
    run.authors[2].say(Withdraw(reason="moving"))
    assert in_vain(work, work, run.view(), run.keys[0])
    assert not still_true(made, run.view(), run.keys[0])


def test_who_withdrew_says_no_more() -> None:
    """SPEC 6.1.2."""
    run = Run(2)
    run.publish_experts(0)
    run.authors[0].say(Withdraw(reason="moving"))
    assert not still_true(expert(1), run.view(), run.keys[0])
    assert not still_true(Withdraw(reason="again"), run.view(), run.keys[0])
    assert still_true(expert(1), run.view(), run.keys[1])


def test_a_delta_is_to_what_training_began_from() -> None:
    """SPEC 5.4.1."""
    run = Run(3)
    run.publish_experts(0)
    old, other = snapshot("old").digest, snapshot("other").digest
    peer = (run.keys[1], other)
    view = run.view()
    assert base_of(Train("local", 0), view) is None
    assert base_of(Train("refine", 1, init=old, peers=(peer,)), view) == old
    assert base_of(Train("refine", 1, anchor=old), view) == old
    assert base_of(Train("refine", 1, peers=(peer,)), view) == other
    distil = DISTIL
    assert base_of(distil, view) is None
    run.distil(0)
    assert base_of(distil, run.view()) == snapshot("student 1 0").digest
