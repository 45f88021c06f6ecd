"""SPEC 7, line by line of 7.3."""

from dataclasses import replace

from dcfm_node.records.base import MAX_TERM
from dcfm_node.records.entries import Lease, Vote
from dcfm_node.swarm.election import MAX_DOUBLINGS, Await, Booth, Lead, next_move, rank
from dcfm_node.swarm.faults import MAX_TERM_GAP
from tests.unit.swarm.builders import Run, refuse, vote


def booth(run: Run, me: int = 0, **changes: object) -> Booth:
    """Everyone in sight and able, nobody late, at the instant each term is first seen."""
    base = Booth(
        run=run.id,
        me=run.keys[me],
        candidates=lambda: run.keys,
        quorate=lambda: True,
        late=lambda duty: False,
        since=lambda term: 0.0,
        timeout=8.0,
        not_before=0,
        now=0.0,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def first_by_rank(run: Run, term: int) -> bytes:
    return min(run.keys, key=lambda key: rank(run.id, term, key))


def test_a_round_begins_with_a_vote_in_the_next_term() -> None:
    run = Run(3)
    run.elect(0, term=4, round_=0)
    move = next_move(run.view(), 1, booth(run))
    assert move == Vote(term=5, round=1, candidate=first_by_rank(run, 5))


def test_a_minority_opens_no_term() -> None:
    move = next_move(Run(3).view(), 0, booth(Run(3), quorate=lambda: False))
    assert isinstance(move, Await) and "quorum" in move.why


def test_without_candidates_nobody_votes() -> None:
    move = next_move(Run(3).view(), 0, booth(Run(3), candidates=list))
    assert move == Await("no live node can distil")


def test_votes_follow_most_others() -> None:
    run = Run(5)
    last = max(run.keys, key=lambda key: rank(run.id, 1, key))
    run.authors[1].say(vote(1, 0, last))
    assert next_move(run.view(), 0, booth(run)) == Vote(term=1, round=0, candidate=last)


def test_whose_student_was_rejected_is_voted_for_last() -> None:
    """SPEC 7.3.2, whatever others vote; and any node rather than none."""
    run = Run(3)
    run.publish_experts(0)
    made = run.distil(0)
    for author in run.authors[1:]:
        author.say(refuse(made))
    run.authors[2].say(vote(2, 0, run.keys[0]))
    for able, chosen in ((run.keys[:2], run.keys[1]), (run.keys[:1], run.keys[0])):
        move = next_move(run.view(), 0, booth(run, me=1, candidates=lambda able=able: able))
        assert move == Vote(term=2, round=0, candidate=chosen)


def test_a_node_votes_once_a_term_and_then_waits() -> None:
    run = Run(3)
    run.authors[0].say(vote(1, 0, run.keys[1]))
    assert next_move(run.view(), 0, booth(run)) == Await(
        "a majority's votes are awaited", on=run.keys[1]
    )


def test_a_vote_for_another_round_spends_the_term() -> None:
    run = Run(3)
    run.authors[0].say(vote(1, 5, run.keys[1]))
    run.authors[1].say(vote(1, 0, run.keys[1]))
    assert isinstance(next_move(run.view(), 0, booth(run)), Await)


def test_a_majority_is_claimed_by_a_lease() -> None:
    run = Run(3)
    votes = [run.authors[i].say(vote(1, 0, run.keys[0])) for i in (0, 2)]
    digests = tuple(sorted(sealed.digest for sealed in votes))
    assert next_move(run.view(), 0, booth(run)) == Lease(term=1, round=0, votes=digests)


def test_the_elected_leads_and_the_others_wait() -> None:
    run = Run(3)
    claimed = run.elect(1)
    assert next_move(run.view(), 0, booth(run, me=1)) == Lead(1, claimed.digest)
    assert next_move(run.view(), 0, booth(run)) == Await("the elected node distils", run.keys[1])


def test_a_few_votes_do_not_unseat_a_leader_that_moves() -> None:
    run = Run(5)
    claimed = run.elect(1)
    run.authors[4].say(vote(2, 0, run.keys[4]))
    assert next_move(run.view(), 0, booth(run, me=1)) == Lead(1, claimed.digest)
    assert isinstance(next_move(run.view(), 0, booth(run)), Await)


def test_a_late_leader_is_voted_out() -> None:
    run = Run(3)
    run.elect(1)
    move = next_move(run.view(), 0, booth(run, late=lambda duty: duty == (run.keys[1], "lead", 1)))
    assert isinstance(move, Vote) and move.term == 2


def test_a_leader_that_published_its_student_leads_no_more() -> None:
    run = Run(3)
    run.publish_experts(0)
    run.distil(1)
    move = next_move(run.view(), 0, booth(run, me=1))
    assert isinstance(move, Vote) and move.term == 2


def test_terms_without_a_leader_last_twice_as_long_each_time_up_to_a_bound() -> None:
    for failed, patience in [(1, 8.0), (2, 16.0), (3, 32.0), (20, 8.0 * 2**MAX_DOUBLINGS)]:
        run = Run(3)
        for term in range(1, failed + 1):
            run.authors[0].say(vote(term, 0, run.keys[1]))
        early = next_move(run.view(), 0, booth(run, now=patience - 0.1))
        due = next_move(run.view(), 0, booth(run, now=patience))
        assert isinstance(early, Await)
        assert isinstance(due, Vote) and due.term == failed + 1


def test_who_may_have_voted_and_forgot_abstains() -> None:
    run = Run(3)
    run.authors[1].say(vote(1, 0, run.keys[1]))
    waiting = booth(run, not_before=2)
    assert isinstance(next_move(run.view(), 0, waiting), Await)
    move = next_move(run.view(), 0, replace(waiting, now=8.0))
    assert isinstance(move, Vote) and move.term == 2


def test_a_vote_far_ahead_does_not_count_and_leaves_terms_for_everyone() -> None:
    """SPEC 7.1, 1.3: a member's number at the end of its range is no defect of ours."""
    run = Run()
    run.authors[1].say(Vote(term=MAX_TERM, round=0, candidate=run.keys[1]))
    move = next_move(run.view(), 0, booth(run))
    assert isinstance(move, Vote) and move.term == 1
    run.authors[2].say(Vote(term=MAX_TERM_GAP, round=0, candidate=run.keys[2]))
    assert run.view().last_term() == MAX_TERM_GAP
    assert run.view().terms(0) == [MAX_TERM_GAP]
