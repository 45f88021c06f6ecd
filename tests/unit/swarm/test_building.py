"""SPEC 3.4: nobody takes back what others built on, and nobody is framed by one member's word."""

from itertools import permutations

import pytest

from dcfm_node.records.entries import PREPARATION, Accept, Lease, Propose
from dcfm_node.swarm.journal import Journals, Offered
from dcfm_node.swarm.preparation import derive
from dcfm_node.wire.envelope import Sealed
from tests.property.lines import work
from tests.unit.swarm.builders import Author, Run, endorse, expert, lease, vote


def held(run: Run) -> Journals:
    """What everyone said, taken in."""
    journals = Journals(run.manifest)
    for author in run.authors:
        for sealed in author.journal:
            assert journals.offer(sealed) is Offered.NEW
    return journals


def taken_back(author: Author, seq: int) -> Sealed:
    """Something else in place of an entry, under a higher epoch."""
    return author.say(expert(2, f"again {seq}"), epoch=7, at=seq)


def elected() -> tuple[Run, Sealed]:
    """Silo 0 leads round 0 by the votes of 0 and 1, a bare majority of three."""
    run = Run(3)
    run.publish_experts(0)
    return run, run.elect(0)


def offered(journals: Journals, *said: Sealed) -> list[Offered]:
    found = []
    for sealed in said:
        journals.breathe()
        found.append(journals.offer(sealed))
    return found


def test_a_vote_behind_a_certified_lease_stays() -> None:
    run, _ = elected()
    voter, journals = run.authors[1], held(run)
    cast = voter.journal[-1]
    assert offered(journals, taken_back(voter, cast.entry.seq)) == [Offered.FORK]
    fork = journals.forks[voter.key]
    assert (fork.first, fork.seq, fork.takes_back) == (cast, cast.entry.seq, True)


def test_so_does_an_expert_that_taught_an_elected_leaders_student() -> None:
    run, claimed = elected()
    run.authors[0].say(run.student(claimed))
    teacher, journals = run.authors[2], held(run)
    seq = next(s.entry.seq for s in teacher.journal if s.entry.body.kind == "expert")
    assert offered(journals, taken_back(teacher, seq)) == [Offered.FORK]


def prepared() -> tuple[Run, Sealed]:
    """Silo 0 leads the preparation by the votes of 0 and 1 of three, and proposed."""
    run = Run(3, prepares=True)
    joins = [author.join() for author in run.authors]
    run.elect(0, round_=PREPARATION)
    view = run.view()
    made = derive(run.manifest, [view.join_entries[sealed.digest] for sealed in joins])
    return run, run.authors[0].say(Propose(term=1, preparation=made.preparation))


@pytest.mark.parametrize("silo", [1, 2])
def test_so_does_a_join_on_which_an_elected_leader_proposed_to_build(silo: int) -> None:
    """Else one member could take back its join again and again, and no run would begin. Whoever
    holds its other join alone, without its vote, sees the same by the proof."""
    run, _ = prepared()
    journals, member = held(run), run.authors[silo]
    back = member.join(epoch=7, at=0)
    assert offered(journals, back) == [Offered.FORK]
    fork = journals.forks[member.key]
    others = [s for a in run.authors if a is not member for s in a.journal]
    other = Journals(run.manifest)
    found = offered(other, back, *others, fork.first, fork.second)
    assert found[-2:] == [Offered.FORK, Offered.KNOWN]


def test_and_one_that_more_accepted_than_may_lie() -> None:
    run, proposed = prepared()
    made = proposed.entry.body.preparation
    leader, member = run.authors[0], run.authors[2]
    leader.journal = leader.journal[:1]
    few, back = Journals(run.manifest), member.anew().join(epoch=7)
    offered(few, *(s for author in run.authors for s in author.journal))
    for author in run.authors[:2]:
        author.say(Accept(term=1, preparation=made))
    enough = held(run)
    assert offered(few, back) == [Offered.REPLACED]
    assert offered(enough, back) == [Offered.FORK]


def test_one_who_was_not_elected_frames_nobody_by_a_proposal() -> None:
    run = Run(3, prepares=True)
    joins = [author.join() for author in run.authors]
    view = run.view()
    made = derive(run.manifest, [view.join_entries[sealed.digest] for sealed in joins])
    run.authors[0].say(Propose(term=1, preparation=made.preparation))
    assert offered(held(run), run.authors[2].join(epoch=7, at=0)) == [Offered.REPLACED]


def test_of_leases_that_are_taken_back_nothing_stays() -> None:
    run = Run(3, prepares=True)
    for author in run.authors:
        author.join()
    liar, journals = run.authors[0], held(run)
    seq = liar.journal[-1].entry.seq + 1
    for epoch in range(1, 5):
        claim = Lease(term=epoch, round=PREPARATION, votes=(bytes(32), bytes(31) + b"1"))
        done = offered(journals, liar.say(claim, epoch=epoch, at=seq))
        assert done == [Offered.NEW if epoch == 1 else Offered.REPLACED]
    assert len(journals._building._preparing) == 1


def test_and_a_student_that_an_honest_silo_must_have_judged() -> None:
    run, claimed = elected()
    made = run.authors[0].say(run.student(claimed))
    run.authors[1].say(endorse(made))
    few = held(run)
    run.authors[2].say(endorse(made))
    enough, back = held(run), taken_back(run.authors[0], made.entry.seq)
    assert offered(few, back) == [Offered.REPLACED]
    assert offered(enough, back) == [Offered.FORK]


def test_one_members_word_frames_nobody() -> None:
    """A lease that no majority stands behind names a vote of a silo whose disk was lost."""
    run = Run(3)
    run.publish_experts(0)
    victim, liar = run.authors[1], run.authors[2]
    cast = victim.say(vote(1, 0, liar.key))
    liar.say(lease(1, 0, [cast, run.authors[0].journal[1]]))
    assert offered(held(run), taken_back(victim, cast.entry.seq)) == [Offered.REPLACED]


def test_what_nobody_built_on_is_a_lost_tail_as_ever() -> None:
    run = Run(3)
    run.publish_experts(0)
    author = run.authors[1]
    last = author.journal[-1].entry.seq
    assert offered(held(run), taken_back(author, last)) == [Offered.REPLACED]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_whoever_hears_of_it_in_whatever_order_comes_to_the_same(order) -> None:
    """Also who held the other tail first, and who held neither."""
    run, _ = elected()
    voter = run.authors[1]
    before, cast = voter.journal[:-1], voter.journal[-1]
    back = taken_back(voter, cast.entry.seq)
    others = [s for a in (run.authors[0], run.authors[2]) for s in a.journal]
    parts = [others, [cast], [back]]
    journals = Journals(run.manifest)
    offered(journals, *before, *(sealed for n in order for sealed in parts[n]))
    # What comes once more, as gossip says it again.
    offered(journals, cast, back)
    assert journals.forks[voter.key].seq == cast.entry.seq
    assert journals.chains[voter.key] == before


def test_own_records_that_cite_one_cost_nothing_where_it_comes_too_late() -> None:
    """A member cited a vote of its own by thousands of leases and sent that, stale, again and
    again: each looked through all of them."""

    def cost(leases: int) -> int:
        run = Run(3)
        journals, early = Journals(run.manifest), run.authors[1].anew()
        cast = early.say(vote(1, 0, run.keys[1]), epoch=0)
        author = run.authors[1]
        author.join(epoch=5)
        for number in range(leases):
            votes = sorted((cast.digest, number.to_bytes(32, "big")))
            author.say(Lease(term=1, round=0, votes=tuple(votes)))
        for sealed in author.journal:
            assert journals.offer(sealed) is Offered.NEW
        found: list[Offered] = []
        lines = work(lambda: found.append(journals.offer(cast)))
        assert found == [Offered.STALE]
        return lines

    assert cost(200) <= cost(20) + 10
