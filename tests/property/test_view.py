"""What the journals say does not depend on the order between authors (SPEC 6.1), and no pattern
of votes gives a term two leaders (SPEC 7)."""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from dcfm_node.records.entries import Verdict, Withdraw
from dcfm_node.swarm.view import View
from tests.unit.swarm.builders import (
    Run,
    checkpoint,
    endorse,
    expert,
    lease,
    refuse,
    student,
    vote,
)

NODES = 5

# Who acts, what it does, and a number that picks a term, a round or a target
ACTS = st.lists(
    st.tuples(
        st.integers(0, NODES - 1),
        st.sampled_from(
            [
                "join",
                "expert",
                "vote",
                "lease",
                "checkpoint",
                "student",
                "honest student",
                "endorse",
                "refuse",
                "verdict",
                "leave",
            ]
        ),
        st.integers(0, 3),
    ),
    max_size=40,
)


def act(run: Run, number: int, what: str, which: int) -> None:
    """Let an author say something that refers to what was said before, sensible or not."""
    author = run.authors[number]
    said = [sealed for other in run.authors for sealed in other.journal]
    kinds: dict[str, list] = {}
    for sealed in said:
        kinds.setdefault(sealed.entry.body.kind, []).append(sealed)
    votes, leases = kinds.get("vote", []), kinds.get("lease", [])
    experts, students = kinds.get("expert", []), kinds.get("student", [])
    match what:
        case "join":
            author.join(counts=(((0, which % 2), 3),))
        case "expert":
            author.say(expert(which, f"{number} {which} {len(said)}"))
        case "vote":
            author.say(vote(1 + which % 2, which // 2, run.keys[len(said) % 2]))
        case "lease" if votes:
            term = 1 + which % 2
            author.say(lease(term, which // 2, votes))
        case "student" if leases and experts:
            claimed = leases[which % len(leases)]
            body = claimed.entry.body
            teachers = [sealed.digest for sealed in experts]
            author.say(student(body.term, body.round, claimed, teachers, final=which > 1))
        case "honest student" if leases and experts:
            claimed = leases[which % len(leases)]
            leader = run.authors[run.keys.index(claimed.entry.author)]
            with suppress(ValueError):  # nobody taught this round: there is nothing to say
                leader.say(run.student(claimed))
        case "checkpoint" if leases and experts:
            claimed = leases[which % len(leases)]
            body = claimed.entry.body
            teachers = [sealed.digest for sealed in experts]
            author.say(checkpoint(body.term, body.round, claimed, teachers, step=which))
        case "endorse" if students:
            author.say(endorse(students[which % len(students)]))
        case "refuse" if students:
            author.say(refuse(students[which % len(students)]))
        case "verdict" if experts:
            entry = experts[which % len(experts)]
            author.say(
                Verdict(
                    subject=entry.entry.author, cause="snapshot", entry=entry.digest, reason="NaN"
                )
            )
        case "leave" if which == 0:
            author.say(Withdraw(reason="moving"))


def answers(view: View) -> tuple[object, ...]:
    """Everything that decisions are made of."""
    terms = range(1, 4)
    return (
        view.joins,
        view.experts,
        view.ballots.votes,
        view.ballots.won,
        [view.ballots.joined(round_) for round_ in (0, 1)],
        [view.ballots.attempts(round_, term) for round_ in (0, 1) for term in (1, 2, 3)],
        view.ballots.beyond(),
        view.withdrawn,
        dict(view.quarantined()),
        {key: list(faults) for key, faults in view.proven().items()},
        list(view.active()),
        [list(view.missing(round_)) for round_ in range(4)],
        [
            view.latest_expert(key, at_most)
            for key in sorted(view.experts)
            for at_most in (None, 0, 2)
        ],
        view.ballots.certified,
        [view.leader(term) for term in terms],
        [view.last_leader(round_) for round_ in (None, 0, 1)],
        [view.ballots.contested(round_, term) for round_ in (0, 1) for term in (0, 1, 2)],
        view.last_term(),
        list(view.valid_students()),
        {said.digest: why for said, why in view.unfounded()},
        [list(view.checkpoints_of(round_)) for round_ in (0, 1)],
        [view.blamed(round_) for round_ in (0, 1)],
        view.newest_student(),
        list(view.counting_students()),
        view.distilled_round(),
        view.latest(),
        dict(view.newest_snapshots()),
    )


@given(ACTS, st.randoms(use_true_random=False))
def test_the_order_between_authors_does_not_matter(acts, rng) -> None:
    run = Run(NODES)
    for number, what, which in acts:
        act(run, number, what, which)
    expected = answers(run.view())
    mixed, rest = View(run.manifest), [list(author.journal) for author in run.authors]
    while any(rest):
        chain = rng.choice([chain for chain in rest if chain])
        mixed.add(chain.pop(0))
        if rng.random() < 0.3:
            answers(mixed)  # what was asked before must not spoil later answers
    assert answers(mixed) == expected


@given(
    st.integers(2, NODES),
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3), st.integers(0, 4)), max_size=40),
)
def test_no_pattern_of_votes_gives_a_term_two_leaders(nodes, cast) -> None:
    """Not even if everyone votes as often as it likes and claims every lease there could be."""
    run = Run(nodes)
    for voter, term, candidate in cast:
        run.authors[voter % nodes].say(vote(term, 0, run.keys[candidate % nodes]))
    said = [sealed for author in run.authors for sealed in author.journal]
    votes = [sealed for sealed in said if sealed.entry.body.kind == "vote"]
    for author in run.authors:
        for term in (1, 2, 3):
            if votes:
                author.say(lease(term, 0, votes))
    view = run.view()
    for term in (1, 2, 3):
        certified = view.ballots.certified.values()
        leaders = {said.author for said in certified if said.body.term == term}
        assert len(leaders) <= 1
        leader = view.leader(term)
        assert leaders == ({leader.author} if leader is not None else set())
