"""SPEC 6.1.3 and 7.1: which votes count, in whatever order they come."""

import random

from dcfm_node.records.entries import Lease
from dcfm_node.swarm.ballots import Ballots
from dcfm_node.swarm.faults import MAX_TERM_GAP
from dcfm_node.swarm.said import Said
from tests.unit.swarm.builders import vote

VOTERS = [bytes([number]) * 32 for number in range(5)]


def ballot(voter: int, term: int, candidate: int, round_: int = 0) -> Said:
    digest = bytes([voter, candidate, round_]) + term.to_bytes(29, "big")
    return Said(VOTERS[voter], digest, vote(term, round_, VOTERS[candidate]), 1)


def lease(author: int, votes: list[Said], term: int, round_: int = 0) -> Said:
    body = Lease(term=term, round=round_, votes=tuple(sorted(said.digest for said in votes)))
    return Said(VOTERS[author], b"lease" + term.to_bytes(27, "big"), body, 2)


def taken(said: list[Said]) -> Ballots:
    ballots = Ballots(silos=5, quorum=3)
    for one in said:
        if isinstance(one.body, Lease):
            ballots.lease(one)
        else:
            ballots.vote(one)
    return ballots


def told(ballots: Ballots) -> tuple[object, ...]:
    rounds = (0, 1)
    return (
        ballots.votes,
        ballots.last_term,
        ballots.certified,
        ballots.won,
        [ballots.joined(round_) for round_ in rounds],
        [ballots.attempts(round_, below) for round_ in rounds for below in range(4)],
        ballots.beyond(),
        [ballots.leader(term) for term in range(1, 4)],
        [ballots.last_leader(round_) for round_ in (None, *rounds)],
        [ballots.contested(round_, above) for round_ in rounds for above in range(4)],
    )


def test_what_counts_does_not_depend_on_the_order_between_voters() -> None:
    first = [ballot(voter, 1, 0) for voter in range(3)]
    second = [ballot(voter, 2, 1, round_=1) for voter in (1, 2, 4)]
    far = [ballot(3, 2 + MAX_TERM_GAP, 3), ballot(4, 3 + 2 * MAX_TERM_GAP, 4)]
    said = [*first, *second, *far, lease(0, first, 1), lease(1, second, 2, round_=1)]
    expected, rng = told(taken(said)), random.Random(0)
    for _ in range(60):
        assert told(taken(rng.sample(said, len(said)))) == expected
    ballots = taken(said)
    assert ballots.won == {(0, VOTERS[0]): 1, (1, VOTERS[1]): 2}
    assert [ballots.joined(round_) for round_ in (0, 1, 2)] == [1, 2, 0]
    assert ballots.last_term == 2 + MAX_TERM_GAP
    assert list(ballots.beyond()) == [VOTERS[4]]
    leader = ballots.last_leader()
    assert leader is not None and (leader.author, ballots.last_leader(0)) == (
        VOTERS[1],
        ballots.leader(1),
    )


def test_terms_are_reached_from_one_to_the_next() -> None:
    """SPEC 7.1: a lone vote in the last term there is uses up none of those before it."""
    ballots = taken([ballot(0, 1 + MAX_TERM_GAP, 0), ballot(1, 2 * MAX_TERM_GAP, 1)])
    assert ballots.last_term == 0
    assert ballots.contested(0, 0) is None
    assert {author: fault.cause for author, fault in ballots.beyond().items()} == {
        VOTERS[0]: "term",
        VOTERS[1]: "term",
    }
    assert ballots.vote(ballot(2, 1, 2))
    assert ballots.last_term == 2 * MAX_TERM_GAP
    assert ballots.beyond() == {}
    assert ballots.contested(0, 1) == 1 + MAX_TERM_GAP


def test_a_lease_beyond_reach_is_certified_once_its_term_counts() -> None:
    term = MAX_TERM_GAP + 7
    votes = [ballot(voter, term, 0) for voter in range(3)]
    ballots = taken([*votes, lease(0, votes, term)])
    assert ballots.certified == {} and ballots.leader(term) is None
    ballots.vote(ballot(4, 10, 4))
    assert ballots.leader(term) is not None


def test_a_second_vote_and_a_second_lease_of_a_term_do_not_count() -> None:
    votes = [ballot(voter, 1, 0) for voter in range(3)]
    first = lease(0, votes[:2], 1)
    ballots = taken([*votes, first, lease(0, votes, 1), ballot(0, 1, 4), ballot(1, 1, 4)])
    assert ballots.certified == {}
    assert ballots.tally(1, 0) == {VOTERS[0]: 3}


def test_a_term_is_joined_once_an_honest_node_is_among_its_voters() -> None:
    ballots = taken([ballot(0, 5, 0), ballot(1, 5, 1)])
    assert (ballots.joined(0), ballots.attempts(0, below=6)) == (0, 0)
    ballots.vote(ballot(2, 5, 2))
    assert (ballots.joined(0), ballots.attempts(0, below=6)) == (5, 1)
    assert (ballots.attempts(0, below=5), ballots.won) == (0, {})
