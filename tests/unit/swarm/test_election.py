"""SPEC 7, line by line of 7.3."""

from dataclasses import replace

from dcfm_node.records.base import MAX_TERM
from dcfm_node.records.entries import Lease, Vote
from dcfm_node.swarm.election import MAX_DOUBLINGS, Await, Lead, Stand, next_move, rank
from dcfm_node.swarm.faults import MAX_TERM_GAP
from tests.unit.swarm.builders import Run, lease, refuse, vote
from tests.unit.swarm.plan_inputs import booth


def first_by_rank(run: Run, round_: int) -> bytes:
    return min(run.keys, key=lambda key: rank(run.id, round_, 0, key))


def test_a_round_begins_with_a_vote_in_the_next_term() -> None:
    run = Run(3)
    run.elect(0, term=4, round_=0)
    move = next_move(run.view(), 1, booth(run))
    assert move == Vote(term=5, round=1, candidate=first_by_rank(run, 1))


def test_a_minority_opens_no_term() -> None:
    move = next_move(Run(3).view(), 0, booth(Run(3), quorate=lambda: False))
    assert isinstance(move, Await) and "quorum" in move.why


def test_without_candidates_nobody_votes() -> None:
    move = next_move(Run(3).view(), 0, booth(Run(3), candidates=list))
    assert move == Await("no live node can distil")


def test_votes_follow_so_many_others_that_an_honest_one_is_among_them() -> None:
    """SPEC 7.3.2: else whoever opens a term would choose who leads."""
    run = Run(4)
    last = max(run.keys, key=lambda key: rank(run.id, 0, 0, key))
    others = [author for author in run.authors[1:] if author.key != last]
    for author, candidate in zip(others, (first_by_rank(run, 0), last), strict=False):
        author.say(vote(1, 0, last))
        assert next_move(run.view(), 0, booth(run)) == Vote(term=1, round=0, candidate=candidate)


def test_who_led_a_round_before_is_voted_for_after_the_others() -> None:
    run = Run(3)
    run.elect(0)
    run.elect(1, term=2)
    late = booth(run, suspected=lambda duty: True)
    move = next_move(run.view(), 0, late)
    assert move == Vote(term=3, round=0, candidate=run.keys[2])


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
        "waiting for the votes of a majority", on=run.keys[1]
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


def test_a_term_is_claimed_once_though_a_fork_cuts_the_votes_of_the_claim() -> None:
    """SPEC 7.1, 7.3: the second lease of a term does not count, and would be said without end."""
    run = Run(4)
    me, forked = run.keys[0], run.authors[1]
    votes = [author.say(vote(1, 0, me)) for author in run.authors[:3]]
    run.authors[0].say(lease(1, 0, votes))
    forked.journal.clear()
    run.authors[3].say(vote(1, 0, me))
    assert run.view().ballots.won == {(0, me): 1}
    assert not isinstance(next_move(run.view(), 0, booth(run)), Lease)


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
    move = next_move(
        run.view(), 0, booth(run, suspected=lambda duty: duty == (run.keys[1], "lead", 1))
    )
    assert isinstance(move, Vote) and move.term == 2


def test_a_leader_that_published_its_student_leads_no_more() -> None:
    run = Run(3)
    run.publish_experts(0)
    run.distil(1)
    move = next_move(run.view(), 0, booth(run, me=1))
    assert isinstance(move, Vote) and move.term == 2


def test_a_node_stays_in_a_term_twice_as_long_as_in_the_last_up_to_a_bound() -> None:
    """Its own clock and the terms it left count, not how many terms a member opened."""
    run, stand, now = Run(3), Stand(0, 0), 0.0
    for term in range(1, 41):
        run.authors[0].say(vote(term, 0, run.keys[1]))
    view = run.view()
    for left in range(MAX_DOUBLINGS + 3):
        assert not stand.move(view, 8.0, now)
        assert (stand.term, stand.left) == (left + 1, left)
        now += 8.0 * 2 ** min(left, MAX_DOUBLINGS)
        assert not stand.move(view, 8.0, now - 0.1)
        assert stand.term == left + 1


def test_when_a_term_is_over_and_no_later_one_is_contested_one_is_opened() -> None:
    run, stand = Run(3), Stand(0, 0)
    assert stand.move(run.view(), 8.0, 0.0) and stand.term == 0
    run.authors[1].say(vote(1, 0, run.keys[1]))
    standing = booth(run, stand=lambda round_, ruled: stand)
    assert isinstance(next_move(run.view(), 0, standing), Vote)
    run.authors[0].say(vote(1, 0, run.keys[2]))
    assert isinstance(next_move(run.view(), 0, replace(standing, now=7.9)), Await)
    due = next_move(run.view(), 0, replace(standing, now=8.0))
    assert isinstance(due, Vote) and due.term == 2


def test_a_term_that_an_honest_node_stands_in_is_entered_at_once() -> None:
    run, stand = Run(4), Stand(0, 0)
    run.authors[3].say(vote(1, 0, run.keys[3]))
    run.authors[3].say(vote(7, 0, run.keys[3]))
    assert not stand.move(run.view(), 8.0, 0.0) and stand.term == 1
    run.authors[2].say(vote(7, 0, run.keys[2]))
    assert not stand.move(run.view(), 8.0, 1.0)
    assert (stand.term, stand.since, stand.left) == (7, 1.0, 1)


def test_whoever_opens_many_terms_makes_nobody_vote_more_often() -> None:
    run, stand = Run(5), Stand(0, 0)
    cast = []
    for second in range(64):
        for term in range(second * 10 + 1, second * 10 + 11):
            run.authors[4].say(vote(term, 0, run.keys[4]))
        standing = booth(run, stand=lambda round_, ruled: stand, now=float(second))
        move = next_move(run.view(), 0, standing)
        if isinstance(move, Vote):
            run.authors[0].say(move)
            cast.append(second)
    assert cast == [0, 8, 24, 56]


def test_who_may_have_voted_and_forgot_abstains() -> None:
    run = Run(3)
    run.authors[1].say(vote(1, 0, run.keys[1]))
    stand = Stand(0, 0)
    waiting = booth(run, not_before=2, stand=lambda round_, ruled: stand)
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
    ballots = run.view().ballots
    assert ballots.contested(0, 0) == MAX_TERM_GAP
    assert ballots.contested(0, MAX_TERM_GAP) is None
