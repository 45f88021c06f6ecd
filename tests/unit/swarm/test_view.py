"""SPEC 6.1: what counts, and what certifies."""

from dcfm_node.records.entries import Withdraw
from tests.unit.swarm.builders import Run, endorse, expert, lease, refuse, snapshot, vote


def test_the_first_of_a_round_and_of_a_term_counts() -> None:
    run = Run(3)
    silo = run.authors[0]
    first, ballot = silo.say(expert(0, "first")), silo.say(vote(1, 0, run.keys[1]))
    silo.say(expert(0, "second"))
    silo.say(vote(1, 0, run.keys[2]))
    view = run.view()
    assert view.experts[silo.key][0].digest == first.digest
    assert view.ballots.votes[1][silo.key].digest == ballot.digest


def test_who_withdrew_is_not_active_and_not_missing() -> None:
    run = Run(3)
    run.authors[1].say(Withdraw(reason="moving"))
    view = run.view()
    assert view.active() == [run.keys[0], run.keys[2]]
    assert view.missing(0) == [run.keys[0], run.keys[2]]


def test_an_expert_serves_earlier_rounds_too() -> None:
    run = Run(2)
    run.publish_experts(0)
    run.authors[0].say(expert(2, "newest"))
    view = run.view()
    assert view.missing(1) == [run.keys[1]]
    newest, older = view.latest_expert(run.keys[0]), view.latest_expert(run.keys[0], 1)
    assert newest is not None and newest.body.round == 2
    assert older is not None and older.body.round == 0
    assert snapshot("newest").digest in view.newest_snapshots()


def test_a_lease_needs_a_majority_for_its_author_in_its_term_and_round() -> None:
    run = Run(4)
    claimed = run.elect(2, term=3, round_=1)
    assert run.view().certified(claimed.digest) is not None
    few = Run(4)
    votes = [a.say(vote(3, 1, few.keys[2])) for a in few.authors[:2]]
    votes.append(few.authors[2].say(vote(3, 0, few.keys[2])))
    votes.append(few.authors[3].say(vote(3, 1, few.keys[0])))
    wanting = few.authors[2].say(lease(3, 1, votes))
    assert few.view().certified(wanting.digest) is None


def test_a_lease_is_certified_when_its_votes_arrive_later() -> None:
    run = Run(3)
    claimed = run.elect(0)
    view = type(run.view())(run.manifest)
    view.add(claimed)
    assert view.certified(claimed.digest) is None
    for author in run.authors:
        for sealed in author.journal:
            view.add(sealed)
    assert view.certified(claimed.digest) is not None


def test_leaders_and_terms_by_round() -> None:
    run = Run(3)
    run.elect(0, term=1, round_=0)
    run.elect(1, term=2, round_=1)
    run.authors[2].say(vote(3, 0, run.keys[2]))
    view = run.view()
    contested = [view.ballots.contested(r, above) for r, above in ((0, 0), (0, 1), (0, 3), (1, 0))]
    assert contested == [1, 3, None, 2]
    assert view.last_term() == 3
    newest, of_round = view.last_leader(), view.last_leader(0)
    assert newest is not None and newest.author == run.keys[1]
    assert of_round is not None and of_round.author == run.keys[0]
    assert view.leader(3) is None


def test_a_student_needs_its_own_certified_lease_and_known_teachers() -> None:
    run = Run(3)
    run.publish_experts(0)
    claimed = run.elect(0)
    good, count = run.student(claimed), len(run.authors[0].journal)
    run.authors[1].say(good)
    for flaw in ({"term": 2}, {"round": 1}, {"teachers": (bytes(32),)}):
        run.authors[0].say(good.model_copy(update=flaw), at=count)
        assert run.view().valid_students() == []
    said = run.authors[0].say(good, at=count)
    assert [valid.digest for valid in run.view().valid_students()] == [said.digest]


def test_a_leader_publishes_one_student_and_a_second_one_proves_a_fault() -> None:
    """SPEC 6.7: else it could say one to some and another to others, and keep both waiting."""
    run = Run(3)
    run.publish_experts(0)
    first = run.distil(0)
    second = run.authors[0].say(run.student(run.authors[0].journal[-2]))
    view = run.view()
    assert list(view.students) == [first.digest]
    faults = view.proven()[run.keys[0]]
    assert [(fault.cause, fault.entry) for fault in faults] == [("replay", second.digest)]


def test_a_silos_rounds_rise() -> None:
    """What convergence is judged from never changes afterwards."""
    run = Run(2)
    run.authors[0].say(expert(1, "one"))
    run.authors[0].say(expert(0, "before"))
    assert list(run.view().experts[run.keys[0]]) == [1]


def test_of_a_rounds_students_the_highest_terms_counts() -> None:
    run = Run(3)
    run.publish_experts(0)
    run.distil(0, term=1)
    later = run.distil(1, term=2)
    counting = run.view().student(0)
    assert counting is not None and counting.digest == later.digest


def test_a_student_tells_who_taught_it() -> None:
    run = Run(3, participation="tolerant")
    run.publish_experts(0, but=(1,))
    made = run.distil(0)
    assert run.view().taught(made.digest) == [run.keys[0], run.keys[2]]
    assert run.view().taught(made.entry.prev) == []


def test_released_is_what_a_quorum_endorsed() -> None:
    run = Run(3, method="dfd")
    run.publish_experts(0)
    final = run.distil(0)
    run.authors[0].say(endorse(final))
    run.authors[1].say(refuse(final))
    assert run.view().latest() is None
    run.authors[2].say(endorse(final))
    released = run.view().latest()
    assert released is not None and released.digest == final.digest
