"""SPEC 6.2 to 6.4: what a node does next, and for whom it waits."""

from dataclasses import replace

from dcfm_node.records.entries import Refuse, Verdict, Withdraw
from dcfm_node.records.manifest import Continues
from dcfm_node.swarm.effects import Distil, Score, Train, Waiting
from dcfm_node.swarm.liveness import Duty
from dcfm_node.swarm.outcome import student_of
from dcfm_node.swarm.plan import duties, next_step
from dcfm_node.swarm.verdicts import given_up
from dcfm_node.swarm.wanted import wanted
from dcfm_node.wire.envelope import Sealed
from tests.unit.swarm.builders import Run, endorse, expert, snapshot
from tests.unit.swarm.plan_inputs import plan_input


def test_stage_one_is_for_everyone_at_once() -> None:
    run = Run(3)
    assert next_step(plan_input(run)).action == Train("local", 0)
    run.publish_experts(0, but=(1, 2))
    action = next_step(plan_input(run)).action
    assert action == Waiting("waiting for experts", on=tuple(run.keys[1:]))


def continued(run: Run, named: str | None = "old student") -> Run:
    """The same run, now one that goes on from another."""
    student = snapshot(named) if named is not None else None
    continues = Continues(run=bytes(32), student=student)
    run.manifest = run.manifest.model_copy(update={"continues": continues})
    return run


def test_who_stays_says_its_old_expert_instead_of_training() -> None:
    """SPEC 2.7.3."""
    run, kept = continued(Run(3)), expert(0, "kept")
    stays = plan_input(run, inherited=kept, held={kept.snapshot.digest})
    assert next_step(stays).action == kept
    lost = next_step(replace(stays, held=set())).action
    assert lost == Waiting("waiting for the student of the run that this one continues")


def test_a_newcomer_starts_from_the_old_student_once_it_is_there() -> None:
    """SPEC 2.7.3 and 2.7.4."""
    run, old = continued(Run(3)), snapshot("old student")
    assert set(wanted(plan_input(run))) == {old.digest}
    held = next_step(plan_input(run, held={old.digest})).action
    assert held == Train("local", 0, init=old.digest)
    gone = next_step(plan_input(run, lost=lambda digest: True)).action
    assert gone == Train("local", 0)
    nothing = next_step(plan_input(continued(Run(3), None))).action
    assert nothing == Train("local", 0)
    run.publish_experts(0)
    run.distil(0)
    assert old.digest not in wanted(plan_input(run))


def test_refining_starts_from_the_student_and_anchors_on_it() -> None:
    run = Run(3)
    run.publish_experts(0)
    run.endorse(run.distil(0))
    own, student = snapshot("expert 1 0").digest, snapshot("student 1 0").digest
    action = next_step(plan_input(run, me=1, held={student})).action
    assert action == Train("refine", 1, anchor=student)
    waiting = next_step(plan_input(run, me=1, held={own})).action
    assert waiting == Waiting("waiting for the student to refine against", on=(run.keys[0],))


def test_the_papers_turn_trains_against_every_peers_expert() -> None:
    run = Run(3, schedule="paper")
    run.publish_experts(0)
    action = next_step(plan_input(run)).action
    assert isinstance(action, Train)
    assert [key for key, _ in action.peers] == run.keys[1:]
    assert next_step(plan_input(run, me=1)).action == Waiting(
        "waiting for experts", on=(run.keys[0],)
    )


def averaged(run: Run, round_: int) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((run.keys[k], snapshot(f"expert {k} {round_}").digest) for k in range(3))


def test_averaging_starts_from_everyones_expert_of_the_last_round() -> None:
    run = Run(3, method="fedflow", rounds=3)
    run.publish_experts(0)
    assert next_step(plan_input(run)).action == Train("refine", 1, peers=averaged(run, 0))
    # Others are past this node: it averages what they averaged, and fetches that.
    run.publish_experts(1, but=(0,))
    behind = plan_input(run)
    assert next_step(behind).action == Train("refine", 1, peers=averaged(run, 0))
    assert set(wanted(behind)) == {digest for _, digest in averaged(run, 0)}
    newest = {snapshot("expert 0 0"), snapshot("expert 1 1"), snapshot("expert 2 1")}
    assert set(wanted(plan_input(run, me=1))) == {one.digest for one in newest}


def test_a_stale_expert_is_not_averaged() -> None:
    run = Run(3, method="fedflow", rounds=2, participation="tolerant")
    run.publish_experts(0)
    run.publish_experts(1, but=(2,))
    run.elect(0, round_=1)
    action = next_step(plan_input(run)).action
    assert isinstance(action, Distil) and action.final
    assert [key for key, _, _ in action.teachers] == run.keys[:2]
    assert action.missing == (run.keys[2],)


def test_a_silo_that_lost_its_expert_averages_the_others() -> None:
    run = Run(3, method="fedflow", rounds=3, participation="tolerant")
    run.publish_experts(0)
    others = averaged(run, 0)[1:]
    held = {digest for _, digest in others}
    action = next_step(plan_input(run, held=held, lost=lambda digest: True)).action
    assert action == Train("refine", 1, peers=others)


def test_an_ensemble_is_final_and_of_stage_one() -> None:
    run = Run(3, method="ddm")
    run.publish_experts(0)
    run.elect(0)
    action = next_step(plan_input(run)).action
    assert isinstance(action, Distil) and action.final
    assert [key for key, _, _ in action.teachers] == run.keys


def test_under_the_papers_rule_a_lost_own_expert_is_awaited_and_then_replaced() -> None:
    run = Run(3, schedule="paper", participation="tolerant")
    run.publish_experts(0)
    own, *others = (snapshot(f"expert {k} 0").digest for k in range(3))
    coming = next_step(plan_input(run, held=set(others))).action
    assert isinstance(coming, Waiting) and "own last expert" in coming.why
    action = next_step(plan_input(run, held=set(others), lost=lambda digest: digest == own)).action
    peers = tuple(zip(run.keys[1:], others, strict=True))
    assert action == Train("refine", 1, init=others[0], peers=peers)


def test_the_leader_distils_what_it_holds_and_names_the_missing() -> None:
    run = Run(3, participation="tolerant")
    run.publish_experts(0, but=(2,))
    run.elect(0)
    action = next_step(plan_input(run)).action
    assert isinstance(action, Distil)
    assert [key for key, _, _ in action.teachers] == run.keys[:2]
    assert action.missing == (run.keys[2],)


def test_the_leader_waits_for_an_expert_until_it_is_lost_even_if_its_author_is_gone() -> None:
    run = Run(3, participation="tolerant")
    run.publish_experts(0)
    run.elect(0)
    held = {snapshot("expert 0 0").digest, snapshot("expert 1 0").digest}
    for gone in (False, True):
        waiting = next_step(plan_input(run, held=held, failed=lambda key, gone=gone: gone)).action
        assert waiting == Waiting("waiting for the snapshots of experts", on=(run.keys[2],))
    action = next_step(plan_input(run, held=held, lost=lambda digest: True)).action
    assert isinstance(action, Distil) and action.missing == (run.keys[2],)


def test_the_clock_of_a_snapshot_is_its_silos_and_not_its_digests() -> None:
    """A member took its record back again and again, for another snapshot each time, and was
    waited for for ever."""
    run = Run(3, participation="tolerant")
    run.publish_experts(0)
    run.elect(0)
    held = {snapshot("expert 0 0").digest, snapshot("expert 1 0").digest}
    awaited = Duty(run.keys[2], "expert", 0)
    waiting = plan_input(run, held=held)
    assert duties(waiting, next_step(waiting).phase)[-1] == awaited
    action = next_step(plan_input(run, held=held, undelivered=lambda duty: duty == awaited)).action
    assert isinstance(action, Distil) and action.missing == (run.keys[2],)
    made = run.authors[0].say(run.student(run.elect(0, term=2)))
    awaited, term = Duty(run.keys[0], "student", 2), made.entry.body.term
    behind = plan_input(run, me=1, held=held, undelivered=lambda duty: duty == awaited)
    assert awaited in duties(behind, next_step(behind).phase) and term == 2
    assert next_step(behind).phase.stage == "distil"


def test_a_strict_leader_waits_for_a_lost_expert_until_its_own_silo_gives_it_up() -> None:
    """SPEC 6.3.2: a silo is left out for what it said, and never because it is slow."""
    run = Run(3)
    run.publish_experts(0)
    run.elect(0)
    missing = run.view().experts[run.keys[2]][0]
    held = {snapshot("expert 0 0").digest, snapshot("expert 1 0").digest}
    lost = {"held": held, "lost": lambda digest: True}
    waiting = next_step(plan_input(run, **lost)).action
    assert waiting == Waiting("waiting for the snapshots of experts", on=(run.keys[2],))
    run.authors[2].say(
        Verdict(subject=run.keys[2], cause="snapshot", entry=missing.digest, reason="lost")
    )
    action = next_step(plan_input(run, **lost)).action
    assert isinstance(action, Distil) and action.missing == (run.keys[2],)
    made = student_of(action, snapshot("student 1 0"), {}, 0)
    said = run.authors[0].say(made)
    assert [valid.digest for valid in run.view().valid_students()] == [said.digest]


def test_a_student_nobody_can_deliver_is_distilled_again() -> None:
    run = Run(3)
    run.publish_experts(0)
    run.distil(1)
    held = {snapshot(f"expert {number} 0").digest for number in range(3)}
    for end in ({"failed": lambda key: True}, {"lost": lambda digest: True}):
        step = next_step(plan_input(run, held=held, **end))
        assert step.phase.stage == "distil"
        assert getattr(step.action, "term", None) == 2


def test_a_final_student_is_scored_once() -> None:
    run = Run(3, method="dfd")
    run.publish_experts(0)
    final = run.distil(0)
    action = next_step(plan_input(run, me=2)).action
    own = snapshot("expert 2 0").digest
    assert action == Score(final.digest, snapshot("student 1 0").digest, own)
    run.authors[2].say(endorse(final))
    assert next_step(plan_input(run, me=2)).action == Waiting(
        "waiting for endorsements", on=tuple(run.keys[:2])
    )


def leaving_out(run: Run, number: int, *, excuse: bool = False) -> bytes:
    """Silo 1 leads, by votes of itself and of silo 0, and names another as missing."""
    run.publish_experts(0)
    claimed = run.elect(1)
    entry = run.view().experts[run.keys[number]][0].digest
    if excuse:
        cause = {"subject": run.keys[number], "cause": "snapshot", "entry": entry, "reason": ""}
        run.authors[1].say(Verdict.model_validate(cause))
    whole = run.student(claimed)
    rest = tuple(teacher for teacher in whole.teachers if teacher != entry)
    lie = {"teachers": rest, "missing": (run.keys[number],)}
    return run.authors[1].say(whole.model_copy(update=lie)).digest


def test_who_holds_what_a_leader_left_out_refuses_its_student() -> None:
    """SPEC 6.8.8: silo 0 voted for the leader after it had published."""
    run = Run(3, method="dfd", participation="tolerant")
    made = leaving_out(run, 0)
    action = next_step(plan_input(run, me=2)).action
    assert isinstance(action, Refuse) and action.student == made
    assert run.manifest.roster[0].name in action.reason
    without = plan_input(run, me=2)
    without = replace(without, held=without.held - {snapshot("expert 0 0").digest})
    assert isinstance(next_step(without).action, Score)


def test_what_a_tolerant_leader_may_not_have_known_of_is_no_reason_to_refuse() -> None:
    run = Run(3, method="dfd", participation="tolerant")
    leaving_out(run, 2)  # which cast no vote that the leader cites
    assert isinstance(next_step(plan_input(run, me=0)).action, Score)


def test_a_strict_leader_knew_of_every_expert_whatever_it_says_of_it() -> None:
    """Its own word that it could not load one excuses it (6.8.5); who could load it refuses."""
    run = Run(3, method="dfd")
    made = leaving_out(run, 2, excuse=True)
    action = next_step(plan_input(run, me=0)).action
    assert isinstance(action, Refuse) and action.student == made
    given_up = Verdict(
        subject=run.keys[2],
        cause="snapshot",
        entry=run.view().experts[run.keys[2]][0].digest,
        reason="lost",
    )
    run.authors[2].say(given_up)
    assert isinstance(next_step(plan_input(run, me=0)).action, Score)


def test_a_silo_that_comes_late_still_scores_the_released_student() -> None:
    run = Run(3, method="dfd", participation="tolerant")
    run.publish_experts(0, but=(2,))
    final = run.distil(0)
    run.authors[0].say(endorse(final))
    run.authors[1].say(endorse(final))
    assert next_step(plan_input(run, me=2)).action == Waiting("the student is released", over=True)
    run.authors[2].join()
    assert isinstance(next_step(plan_input(run, me=2)).action, Score)


def test_who_withdrew_is_done() -> None:
    run = Run(3)
    run.authors[0].say(Withdraw(reason="moving"))
    action = next_step(plan_input(run)).action
    assert isinstance(action, Waiting) and action.over


def test_wanted_are_the_newest_student_and_experts_save_the_refused() -> None:
    run = Run(3)
    run.publish_experts(0)
    run.distil(0)
    run.authors[1].say(expert(1, "expert 1 1"))
    refused = run.authors[2].journal[-2]
    verdict = Verdict(subject=run.keys[2], cause="snapshot", entry=refused.digest, reason="NaN")
    run.authors[0].say(verdict)
    names = ("expert 0 0", "expert 1 1", "student 1 0")
    assert set(wanted(plan_input(run))) == {snapshot(name).digest for name in names}
    assert snapshot("expert 2 0").digest in wanted(plan_input(run, me=1))


def left_out(*, expert_first: bool = True) -> tuple[Run, Sealed]:
    """A tolerant run whose student lacks the second silo, which voted for its leader."""
    run = Run(3, method="dfd", participation="tolerant")
    run.publish_experts(0, but=() if expert_first else (1,))
    claimed = run.elect(0)
    if not expert_first:
        run.publish_experts(0, but=(0, 2))
    made = run.student(claimed)
    taught = tuple(t for t in made.teachers if run.view().expert_entries[t].author != run.keys[1])
    changes = {"teachers": taught, "missing": (run.keys[1],)}
    return run, run.authors[0].say(made.model_copy(update=changes))


def test_a_student_that_leaves_out_whom_its_leader_knew_is_refused_by_who_holds_the_expert() -> (
    None
):
    """The votes it was elected with tell that it had heard of the expert."""
    run, made = left_out()
    action = next_step(plan_input(run, me=2)).action
    assert isinstance(action, Refuse) and action.student == made.digest
    assert "leaves out silo-0001" in action.reason


def test_whom_a_leader_could_not_know_or_use_it_may_leave_out() -> None:
    """An honest leader may have waited for a silo that is late, or for an expert nobody has."""
    run, _ = left_out(expert_first=False)
    assert isinstance(next_step(plan_input(run, me=2)).action, Score)
    run, _ = left_out()
    students = {said.body.snapshot.digest for said in run.view().students.values()}
    unheld = plan_input(run, me=2, held={*students, snapshot("expert 2 0").digest})
    assert isinstance(next_step(unheld).action, Score)
    expert_of = run.view().experts[run.keys[1]][0]
    for judge in (1, 2):
        again, _ = left_out()
        again.authors[judge].say(
            Verdict(
                subject=run.keys[1], cause="snapshot", entry=expert_of.digest, reason="lost or bad"
            )
        )
        assert isinstance(next_step(plan_input(again, me=2)).action, Score)
    run.authors[1].say(Withdraw(reason="moving"))
    assert isinstance(next_step(plan_input(run, me=2)).action, Score)


def test_in_a_strict_run_a_silo_gives_up_in_public_what_it_lost() -> None:
    """SPEC 6.4.5: only where everybody is there, and nobody has it."""
    run = Run(3)
    me, everyone = run.keys[2], {"lost": lambda digest: True, "live": lambda key: True}
    assert given_up(run.view(), me, **everyone) == []
    run.publish_experts(0)
    mine = run.view().experts[me][0]
    (body,) = given_up(run.view(), me, **everyone)
    assert isinstance(body, Verdict)
    assert (body.subject, body.cause, body.entry) == (me, "snapshot", mine.digest)
    for less in ({"lost": lambda digest: False}, {"live": lambda key: key != run.keys[0]}):
        assert given_up(run.view(), me, **{**everyone, **less}) == []
    run.authors[2].say(body)
    assert given_up(run.view(), me, **everyone) == []
