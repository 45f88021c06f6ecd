"""SPEC 6.7: what a member did, what others say of it, and that the run goes on without it."""

from dataclasses import replace

from dcfm_node.records.base import MAX_TERM
from dcfm_node.records.entries import Audit, Student, Verdict, Vote, Withdraw
from dcfm_node.records.messages import Entries
from dcfm_node.swarm.effects import (
    AuditExperts,
    Distil,
    Fetch,
    Misbehaved,
    Received,
    Train,
    Unfit,
    Waiting,
    Worked,
)
from dcfm_node.swarm.outcome import most_judged
from dcfm_node.swarm.plan import next_step
from dcfm_node.swarm.verdicts import superseding
from dcfm_node.swarm.wanted import wanted
from tests.unit.swarm.builders import Run, endorse, expert, refuse, snapshot, student, vote
from tests.unit.swarm.nodes import tell, writing
from tests.unit.swarm.plan_inputs import booth, plan_input


def causes(verdicts: list[Verdict]) -> list[str]:
    return [verdict.cause for verdict in verdicts]


def test_a_forger_of_its_own_history_is_judged_once_and_waited_for_no_more() -> None:
    run = Run(3)
    made = writing(run)
    first, other = run.authors[1].join(), run.authors[1].join(at=0, distils=False)
    run.authors[1].journal = [first, other]
    verdicts = tell(made, run)
    assert causes(verdicts) == ["fork"]
    assert verdicts[0].subject == run.keys[1] and "number 0" in verdicts[0].reason
    assert not tell(made, run, 2.0)
    view = made.replica.view
    assert run.keys[1] in view.quarantined() and run.keys[1] not in view.missing(0)


def test_who_votes_twice_in_a_term_is_named_with_its_own_entry() -> None:
    run = Run(3)
    made = writing(run)
    run.authors[2].say(vote(1, 0, run.keys[1]))
    second = run.authors[2].say(vote(1, 0, run.keys[2]))
    verdicts = tell(made, run)
    assert [(v.cause, v.entry) for v in verdicts] == [("double_vote", second.digest)]


def test_a_vote_in_the_last_term_there_is_stalls_nobody() -> None:
    run = Run(3)
    made = writing(run)
    run.authors[2].say(vote(MAX_TERM, 0, run.keys[2]))
    assert causes(tell(made, run)) == ["term"]
    assert made.replica.view.last_term() == 0


def test_an_old_round_replayed_is_not_taught_from() -> None:
    run = Run(4, rounds=2)
    run.publish_experts(0)
    run.distil(0)
    run.publish_experts(1, but=(3,))
    run.authors[3].say(expert(1, "expert 3 0"))
    view = run.view()
    assert run.keys[3] in view.quarantined()
    assert view.proven()[run.keys[3]][0].cause == "replay"
    # Its expert of round 0 taught a student: that is distilled again without it.
    run.elect(0, term=2, round_=0)
    action = next_step(plan_input(run)).action
    assert isinstance(action, Distil) and action.round == 0
    assert run.keys[3] not in [author for author, _, _ in action.teachers]


def test_who_endorses_and_refuses_one_student_counts_once() -> None:
    run = Run(3)
    run.publish_experts(0)
    made = run.distil(0)
    run.authors[2].say(endorse(made))
    run.authors[2].say(refuse(made))
    view = run.view()
    assert run.keys[2] in view.endorsed[made.digest]
    assert run.keys[2] not in view.refused.get(made.digest, {})
    assert [fault.cause for fault in view.proven()[run.keys[2]]] == ["contradiction"]


def test_a_snapshot_over_quota_is_never_asked_for() -> None:
    run = Run(3)
    made = writing(run, quota=999)
    run.authors[1].say(expert(0))
    verdicts = tell(made, run)
    assert causes(verdicts) == ["quota"] and "999" in verdicts[0].reason
    assert not made.fetching


def test_a_large_size_for_an_honest_silos_digest_harms_its_author_alone() -> None:
    run = Run(3)
    made = writing(run, quota=1_000)
    run.authors[1].say(expert(0))
    good = expert(0)
    large = good.snapshot.model_copy(update={"size": 2**33})
    run.authors[2].say(good.model_copy(update={"snapshot": large}))
    verdicts = tell(made, run)
    assert [(v.cause, v.subject) for v in verdicts] == [("quota", run.keys[2])]
    assert made.fetching[good.snapshot.digest].size == 1_000


def test_taking_back_what_was_refused_makes_nobody_write_for_ever() -> None:
    """One record a second, each in place of the one before, filled everybody's journal."""
    run = Run(3)
    made, (_, member, other) = writing(run, quota=999), run.authors
    member.join()
    for number in range(6):
        bad = member.say(expert(0, f"large {number}"), epoch=number + 1, at=1)
        tell(made, run, 2.0 * number + 1)
        judged = [by for by in made.replica.view.verdicts.values() if made.me in by]
        if len(judged) > number:
            said = made.replica.view.verdicts[bad.digest][made.me].body
            other.say(said)
    assert len(judged) == 2
    assert "refused two" in made.replica.view.quarantined()[member.key]


def test_of_entries_that_no_other_silo_saw_only_so_many_are_judged() -> None:
    run = Run(3)
    made, member = writing(run, quota=999), run.authors[1]
    member.join()
    most = most_judged(made.replica.view)
    for number in range(most + 3):
        member.say(expert(0, f"large {number}"), epoch=number + 1, at=1)
        tell(made, run, 2.0 * number + 1)
    assert sum(made.me in by for by in made.replica.view.verdicts.values()) == most


def test_nobody_fetches_more_than_the_quota_under_a_record_that_is_not_judged() -> None:
    """The true size may be that of a student without a lease, which gets no verdict."""
    run = Run(3)
    made = writing(run, quota=1_000)
    named = run.authors[1].say(expert(0))
    large = named.entry.body.snapshot.model_copy(update={"size": 2**33})
    false = student(1, 0, named, [named.digest]).model_copy(update={"snapshot": large})
    run.authors[1].say(false)
    heard = [said.envelope for said in run.authors[1].journal]
    message = Entries(run=run.id, entries=tuple(heard), beats=())
    effects = made.handle(Received(run.keys[1], message), 3.0)
    assert [e.snapshot.size for e in effects if isinstance(e, Fetch)] == [1_000]


def test_another_size_for_an_honest_silos_digest_keeps_nobody_from_it() -> None:
    """Whoever is last on the roster named what everybody asked for."""
    run = Run(3)
    made = writing(run, quota=2_000)
    good = expert(0)
    run.authors[1].say(good)
    other = good.snapshot.model_copy(update={"size": good.snapshot.size + 1})
    run.authors[2].say(good.model_copy(update={"snapshot": other}))
    peer, said = run.keys[1], [entry.envelope for a in run.authors for entry in a.journal]
    heard = Received(peer, Entries(run=run.id, entries=tuple(said), beats=()))
    asked = [e.snapshot.size for e in made.handle(heard, 1.0) if isinstance(e, Fetch)]
    assert sorted(asked) == [good.snapshot.size, other.size]


def test_what_a_peer_does_on_its_links_is_told_once() -> None:
    run = Run(3)
    made = writing(run)
    for cause in ("chunks", "chunks", "flood", "malformed"):
        made.handle(Misbehaved(run.keys[1], cause, "because"), 1.0)  # type: ignore[arg-type]
    said = made.replica.journals.chains[made.me]
    verdicts = [s.entry.body for s in said if isinstance(s.entry.body, Verdict)]
    assert causes(verdicts) == ["chunks", "flood", "malformed"]
    assert not made.replica.view.quarantined()


def test_a_stranger_is_no_member_to_judge() -> None:
    run = Run(3)
    made = writing(run)
    made.handle(Misbehaved(bytes(32), "flood", "because"), 1.0)
    assert not any(isinstance(b, Verdict) for b in made.unsaid)


def test_experts_are_audited_before_they_teach_and_the_others_waited_for() -> None:
    """SPEC 6.6."""
    run = Run(3)
    for number, author in enumerate(run.authors):
        author.say(expert(0, f"expert {number} 0"))
    action = next_step(plan_input(run, me=1)).action
    assert action == next_step(plan_input(run, me=2)).action or isinstance(action, AuditExperts)
    run.elect(0)
    mine = next_step(plan_input(run)).action
    assert isinstance(mine, AuditExperts) and [a for a, _, _ in mine.experts] == run.keys
    run.authors[0].say(Audit(round=0, scores=()))
    run.authors[1].say(Audit(round=0, scores=()))
    waiting = next_step(plan_input(run)).action
    assert waiting == Waiting("waiting for the audits of the experts", on=(run.keys[2],))
    late = plan_input(run, suspected=lambda duty: duty.task == "audit")
    assert isinstance(next_step(late).action, Distil)


def test_no_audit_is_asked_where_the_run_does_without() -> None:
    run = Run(3)
    policy = run.manifest.policy.model_copy(update={"audit": False})
    run.manifest = run.manifest.model_copy(update={"policy": policy})
    for number, author in enumerate(run.authors):
        author.say(expert(0, f"expert {number} 0"))
    run.elect(0)
    assert isinstance(next_step(plan_input(run)).action, Distil)


def test_an_expert_that_a_quorum_refuses_teaches_nobody_and_its_author_is_missing() -> None:
    """SPEC 6.7.2."""
    run = Run(5)
    run.publish_experts(0)
    bad = next(iter(run.view().experts[run.keys[4]].values()))
    verdict = Verdict(subject=run.keys[4], cause="score", entry=bad.digest, reason="like noise")
    run.elect(0)
    for number in (0, 1):
        run.authors[number].say(verdict)
    action = next_step(plan_input(run)).action
    assert isinstance(action, Distil) and len(action.teachers) == 5
    run.authors[2].say(verdict)
    action = next_step(plan_input(run)).action
    assert isinstance(action, Distil) and len(action.teachers) == 4
    assert action.missing == (run.keys[4],)
    assert bad.body.snapshot.digest not in wanted(plan_input(run))
    assert run.keys[4] in run.view().active()


def test_a_student_that_names_a_refused_expert_is_void_and_another_is_elected() -> None:
    """SPEC 6.1.4, 7.3."""
    run = Run(5)
    run.publish_experts(0)
    run.distil(4)
    bad = next(iter(run.view().experts[run.keys[4]].values()))
    for number in range(3):
        run.authors[number].say(
            Verdict(subject=run.keys[4], cause="score", entry=bad.digest, reason="like noise")
        )
    step = next_step(plan_input(run))
    assert step.phase.stage == "distil"
    assert getattr(step.action, "term", None) == 2


def test_an_expert_that_few_can_compare_is_condemned_by_them_and_its_silo_stays() -> None:
    """SPEC 6.7.2, 6.7.3: the other silos hold nothing that it holds."""
    run = Run(7)
    for author, label in zip(run.authors, ((0, 0),) * 4 + ((1, 1),) * 3, strict=True):
        author.join(counts=((label, 9),))
    run.publish_experts(0)
    run.publish_experts(1)
    culprit = run.keys[0]
    for said in run.view().experts[culprit].values():
        assert not run.view().condemned(said.digest)
        for number in (1, 2, 3):
            verdict = Verdict(subject=culprit, cause="score", entry=said.digest, reason="noise")
            run.authors[number].say(verdict)
        assert run.view().condemned(said.digest)
    assert culprit in run.view().active()


def test_after_two_refused_experts_a_silo_takes_no_part() -> None:
    """SPEC 6.7.3."""
    run = Run(5)
    run.publish_experts(0)
    run.publish_experts(1)
    for said in run.view().experts[run.keys[4]].values():
        for number in range(3):
            run.authors[number].say(
                Verdict(subject=run.keys[4], cause="score", entry=said.digest, reason="noise")
            )
    assert list(run.view().active()) == run.keys[:4]
    step = next_step(plan_input(run, me=4))
    assert isinstance(step.action, Waiting) and step.action.over and "quarantine" in step.action.why


def test_a_leader_in_quarantine_is_not_waited_for() -> None:
    run = Run(5)
    run.publish_experts(0)
    run.elect(4)
    for term in (5, 5):
        run.authors[4].say(vote(term, 0, run.keys[4]))
    assert isinstance(next_step(plan_input(run)).action, Vote)


def test_figures_that_are_not_finite_refuse_and_end_nothing() -> None:
    """SPEC 1.2.3: a record bears finite numbers, whatever hostile weights score."""
    run = Run(3)
    made = writing(run)
    work = AuditExperts(
        0, ((run.keys[0], b"0" * 32, b"a" * 32), (run.keys[1], b"1" * 32, b"b" * 32))
    )
    made.work = work
    infinite = {"joint": float("inf"), "composed": float("nan")}
    made.handle(Worked(work, None, {}, {run.keys[1]: infinite}), 1.0)
    audit = made.replica.view.audits[0][run.keys[0]].body
    assert dict(audit.scores)[b"1" * 32] == {"joint": 1e12, "composed": 1e12}


def test_an_ensemble_that_is_none_is_refused_by_its_entry_and_the_expert_stays() -> None:
    run = Run(3, method="ddm")
    made = writing(run, me=2)
    run.authors[1].say(expert(0, "expert 1 0"))
    claimed = run.elect(1)
    view = run.view()
    liar = next(iter(view.experts[run.keys[1]].values()))
    body = student(1, 0, claimed, [liar.digest], final=True)
    named = run.authors[1].say(body.model_copy(update={"snapshot": snapshot("expert 1 0")}))
    tell(made, run)
    made.held.add(snapshot("expert 1 0").digest)
    made.handle(Unfit(snapshot("expert 1 0").digest, "no ensemble", entry=named.digest), 3.0)
    view = made.replica.view
    assert made.me in view.refused[named.digest]
    assert made.me not in view.verdicts.get(liar.digest, {})
    assert snapshot("expert 1 0").digest in made.held


def test_a_training_stage_is_not_disturbed_by_audits() -> None:
    run = Run(3)
    assert replace(next_step(plan_input(run))).action == Train("local", 0)


def test_a_student_that_a_quorum_cannot_load_is_none_and_another_is_elected() -> None:
    """SPEC 6.1.4: also where its leader named an expert's snapshot as its ensemble."""
    run = Run(5, method="ddm")
    run.publish_experts(0)
    made = run.distil(4)
    assert next_step(plan_input(run)).phase.stage == "release"
    for number in range(3):
        run.authors[number].say(
            Verdict(subject=run.keys[4], cause="snapshot", entry=made.digest, reason="no ensemble")
        )
    assert not run.view().valid_students()
    # Its leader may distil again, as long as it is not late.
    step = next_step(plan_input(run, booth=replace(booth(run), suspected=lambda duty: True)))
    assert step.phase.stage == "distil" and isinstance(step.action, Vote)


def test_why_a_student_was_taken_back_is_said() -> None:
    """SPEC 6.1.5."""
    run = Run(3)
    run.publish_experts(0)
    made = run.distil(0).entry.body
    assert isinstance(made, Student)
    assert superseding(run.view(), made) == {}
    run.authors[1].say(Withdraw(reason="consent ended"))
    for candidate in run.keys[:2]:
        run.authors[2].say(vote(5, 0, candidate))
    why = superseding(run.view(), made)
    assert why["silo-0001"] == "withdrew: consent ended"
    assert why["silo-0002"].startswith("is in quarantine: ")
