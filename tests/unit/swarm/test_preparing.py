"""SPEC 6.11, where vectors do not show it: what the agreement survives, and what it costs."""

import pytest

from dcfm_node.records.entries import PREPARATION, Accept, Lease, Propose, Vote, Withdraw
from dcfm_node.swarm import members
from dcfm_node.swarm.agreement import Agreement
from dcfm_node.swarm.effects import Train, Waiting
from dcfm_node.swarm.journal import Offered
from dcfm_node.swarm.liveness import Duty
from dcfm_node.swarm.outcome import in_vain
from dcfm_node.swarm.plan import duties, next_step
from dcfm_node.swarm.preparation import derive
from dcfm_node.swarm.replica import Replica
from dcfm_node.swarm.rounds import Phase, current_phase
from dcfm_node.swarm.said import Said
from tests.unit.swarm.builders import Run, vote
from tests.unit.swarm.plan_inputs import booth, plan_input

COUNTS = (((0, 0), 9), ((0, 1), 9), ((1, 0), 9), ((1, 1), 9))


def joined(nodes: int = 3, **settings: object) -> Run:
    run = Run(nodes, prepares=True, **settings)
    for author in run.authors:
        author.join(counts=COUNTS)
    return run


def never(duty: Duty) -> bool:
    return False


def test_nobody_trains_before_silos_agreed_and_everybody_after() -> None:
    run = joined()
    assert current_phase(run.view(), never) == Phase("prepare", 0)
    agreed = run.prepare()
    assert len(agreed.probes) == 1 and run.view().preparation == agreed
    step = next_step(plan_input(run))
    assert step.phase == Phase("local", 0) and step.action == Train("local", 0)


def test_a_run_that_prepares_nothing_trains_at_once() -> None:
    assert current_phase(Run().view(), never) == Phase("local", 0)


def test_what_silos_agreed_on_stays_whoever_leaves_or_leads_later() -> None:
    run = joined(5)
    agreed = run.prepare()
    run.authors[1].say(Withdraw(reason=""))
    run.elect(2, term=2, round_=PREPARATION)
    other = agreed.model_copy(update={"probes": ()})
    run.authors[2].say(Propose(term=2, preparation=other))
    for author in run.authors[3:]:
        author.say(Accept(term=2, preparation=other))
    assert run.view().preparation == agreed


def test_it_survives_that_its_leaders_journal_is_cut() -> None:
    run = joined(5)
    agreed = run.prepare()
    run.authors[0].journal = run.authors[0].journal[:1]
    assert run.view().preparation == agreed


def test_a_late_silo_repeats_what_the_others_agreed_on_before_it_trains() -> None:
    run = joined(3, participation="tolerant")
    agreed = run.prepare(but=(2,))
    step = next_step(plan_input(run, me=2))
    assert step.action == Accept(term=1, preparation=agreed)
    run.authors[2].say(step.action)
    assert next_step(plan_input(run, me=2)).action == Train("local", 0)


def test_a_silo_that_voted_for_a_later_leader_does_not_repeat_it() -> None:
    run = joined(3)
    run.prepare(but=(2,))
    run.authors[2].say(vote(2, PREPARATION, run.keys[0]))
    assert next_step(plan_input(run, me=2)).action == Train("local", 0)


def test_counts_lack_probes_wherever_silos_train_or_are_weighed() -> None:
    run = joined()
    (probe,) = run.prepare().probes
    view = run.view()
    assert probe not in view.trained_on(run.keys[0]) and view.samples(run.keys[0]) == 27
    assert all(probe not in counts for counts in view.weighed(run.keys).values())


def test_silos_that_share_probes_alone_cannot_compare() -> None:
    run = joined(4, participation="tolerant")
    (probe,) = run.prepare(but=(3,)).probes
    before = run.view().comparers(run.keys[0])
    run.authors[3] = run.authors[3].anew()
    run.authors[3].join(counts=((probe, 5),))
    assert run.keys[3] in before and run.keys[3] not in run.view().comparers(run.keys[0])


def test_a_silo_that_holds_probes_alone_trains_nothing_and_keeps_its_weight() -> None:
    run = Run(3, prepares=True, participation="tolerant")
    for author in run.authors[:2]:
        author.join(counts=COUNTS)
    (probe,) = run.prepare(but=(2,)).probes
    run.authors[2].join(counts=((probe, 5),))
    run.authors[2].say(Accept(term=1, preparation=run.view().preparation))
    action = next_step(plan_input(run, me=2)).action
    assert isinstance(action, Waiting) and "withheld as probes" in action.why
    assert run.view().samples(run.keys[2]) == 5


def test_a_silo_that_does_not_join_is_late_like_one_that_does_not_train() -> None:
    run = joined(3, participation="tolerant")
    run.authors[2] = run.authors[2].anew()
    found = duties(plan_input(run), Phase("prepare", 0))
    assert found == [Duty(run.keys[2], "join", 0)]


def test_a_leader_that_a_majority_voted_past_proposes_nothing_and_another_is_elected() -> None:
    """SPEC 6.11.6: no majority can accept its proposal any more."""
    run = joined(3)
    run.elect(0, round_=PREPARATION)
    for author in run.authors[:2]:
        author.say(vote(2, PREPARATION, run.keys[1]))
    assert isinstance(next_step(plan_input(run, me=0)).action, Waiting)
    joining = next_step(plan_input(run, me=2)).action
    assert isinstance(joining, Vote) and joining.term == 2
    assert isinstance(next_step(plan_input(run, me=1)).action, Lease)


def test_a_silo_that_promised_a_later_term_waits_with_its_proposal() -> None:
    run = joined(4)
    run.elect(0, round_=PREPARATION)
    run.authors[0].say(vote(2, PREPARATION, run.keys[1]))
    action = next_step(plan_input(run)).action
    assert isinstance(action, Waiting) and "voted for a later leader" in action.why


def test_the_phase_reopens_if_too_few_hold_it_and_what_is_left_binds() -> None:
    """A member takes back its word: whoever leads next is bound by who is left."""
    run = joined(3, participation="tolerant")
    agreed = run.prepare(but=(2,))
    run.authors[1].journal = run.authors[1].journal[:2]
    assert run.view().preparation is None
    assert current_phase(run.view(), never).stage == "prepare"
    run.elect(2, term=2, round_=PREPARATION)
    assert agreed != derive(run.manifest, list(run.view().join_entries.values())[:2]).preparation
    again = next_step(plan_input(run, me=2)).action
    assert again == Propose(term=2, preparation=agreed)


@pytest.mark.parametrize("spoilt", [True, False])
def test_an_own_proposal_is_not_judged(spoilt: bool) -> None:
    run = joined(3)
    run.elect(0, round_=PREPARATION)
    made = next_step(plan_input(run)).action
    assert isinstance(made, Propose)
    if spoilt:
        made = made.model_copy(
            update={"preparation": made.preparation.model_copy(update={"probes": ()})}
        )
    run.authors[0].say(made)
    action = next_step(plan_input(run)).action
    assert isinstance(action, Waiting) and "a majority to accept" in action.why
    assert set(action.on) == set(run.keys[1:])


def test_a_member_that_says_much_adds_one_voice_a_term() -> None:
    run = joined(3)
    agreement = Agreement(2)
    made = run.prepare()
    for seq in range(9):
        agreement.add(Said(run.keys[0], bytes([seq]) * 32, Accept(term=1, preparation=made), seq))
    assert list(agreement.voices) == [1] and list(agreement.voices[1]) == [run.keys[0]]
    assert agreement.prepared is None


def test_a_member_that_takes_its_word_back_makes_nobody_derive_anew(monkeypatch) -> None:
    """Each time the view is built anew, about once a second; this may take seconds."""
    run, times = joined(3), 0

    def counted(*args):
        nonlocal times
        times += 1
        return derive(*args)

    monkeypatch.setattr(members, "derive", counted)
    agreed, replica = run.prepare(), Replica(run.manifest)
    replica.replay((sealed for author in run.authors for sealed in author.journal), {})
    for epoch in range(1, 4):
        again = run.authors[2].say(vote(epoch, 0, run.keys[0]), epoch=epoch, at=1)
        replica.journals.breathe()
        before = replica.view
        assert before.founded(agreed)
        assert replica.fold(again) is Offered.REPLACED and replica.view is not before
    assert replica.view.founded(agreed) and times == 1


def test_a_silent_leader_is_waited_for_as_one_that_has_only_to_speak() -> None:
    run = joined(3)
    run.elect(0, round_=PREPARATION)
    duty = Duty(run.keys[0], "prepare", 1)
    given = plan_input(run, me=1)
    assert duties(given, Phase("prepare", 0)) == [duty]
    assert isinstance(next_step(given).action, Waiting)
    late = plan_input(run, me=1, booth=booth(run, me=1, suspected=lambda of: of == duty))
    assert isinstance(next_step(late).action, Vote)


def test_who_trains_by_a_preparation_that_a_fork_undid_stops() -> None:
    """Others may agree on another one: an expert of this one would be in another scale."""
    run = joined(3)
    run.prepare(but=(2,))
    work = Train("local", 0)
    assert not in_vain(work, work, run.view(), run.keys[1])
    run.authors[0].journal = run.authors[0].journal[:1]
    assert in_vain(work, None, run.view(), run.keys[1])
