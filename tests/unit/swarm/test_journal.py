"""SPEC 3.3 and 3.4, rule by rule."""

from dcfm_node.records.messages import Head
from dcfm_node.swarm.admission import JOURNAL_BYTES, RECORD_BYTES, journal_budget
from dcfm_node.swarm.journal import Journals, Offered
from tests.unit.swarm.builders import Author, Run, expert

RUN = Run(3)
KEY = RUN.keys[0]


def author() -> Author:
    return RUN.authors[0].anew()


def journals(*said) -> Journals:
    held = Journals(RUN.manifest)
    for sealed in said:
        held.offer(sealed)
    return held


def forked(at: int = 1):
    """A journal up to `at`, and two entries that follow it."""
    silo = author()
    before = [silo.join(), *(silo.say(expert(0)) for _ in range(at - 1))]
    return before, silo.say(expert(1), at=at), silo.say(expert(2), at=at)


def test_another_run_and_strangers_are_foreign() -> None:
    other, fewer = Run(3, rounds=3), Run(2)
    assert journals().offer(other.authors[0].join()) is Offered.FOREIGN
    stranger = RUN.authors[2].anew(fewer.id)
    assert Journals(fewer.manifest).offer(stranger.join()) is Offered.FOREIGN


def test_entries_chain_and_repeat_harmlessly() -> None:
    silo, held = author(), journals()
    first, second = silo.join(), silo.say(expert(0))
    assert held.offer(second) is Offered.GAP
    assert held.offer(first) is Offered.NEW
    assert held.offer(second) is Offered.NEW
    assert held.offer(first) is Offered.KNOWN
    assert held.head(KEY) == Head(epoch=0, seq=1, digest=second.digest)


def test_a_higher_epoch_replaces_a_lost_tail_and_the_tail_is_stale() -> None:
    silo = author()
    first, lost, lost_too = silo.join(), silo.say(expert(0)), silo.say(expert(1))
    held = journals(first, lost, lost_too)
    again = silo.say(expert(2), epoch=1, at=1)
    assert held.offer(again) is Offered.REPLACED
    assert held.chains[KEY] == [first, again]
    assert held.offer(lost) is Offered.STALE


def test_an_epoch_never_falls() -> None:
    silo = author()
    first = silo.join(epoch=2)
    assert journals(first).offer(silo.say(expert(0), epoch=1)) is Offered.GAP


def test_two_entries_of_one_place_prove_a_fork_and_end_the_chain() -> None:
    before, one, other = forked()
    held = journals(*before, one)
    assert held.offer(other) is Offered.FORK
    assert held.chains[KEY] == before
    assert held.head(KEY).forked == 1
    assert held.offer(one) is Offered.KNOWN


def test_a_fork_is_seen_in_entries_that_do_not_chain() -> None:
    _, one, other = forked(at=2)
    held = journals()
    assert held.offer(one) is Offered.GAP
    assert held.offer(other) is Offered.FORK


def test_a_fork_in_a_replaced_tail_counts() -> None:
    before, one, other = forked()
    silo = author()
    silo.journal = list(before)
    held = journals(*before, silo.say(expert(1), epoch=1), silo.say(expert(2), epoch=1))
    assert held.offer(one) is Offered.STALE
    assert held.offer(other) is Offered.FORK
    assert held.chains[KEY] == before


def test_of_two_forks_the_lower_counts() -> None:
    before, one, other = forked(at=2)
    _, low, low_too = forked(at=1)
    held = journals(*before, one, other)
    held.mark_fork(low, low_too)
    held.mark_fork(one, other)
    assert held.forks[KEY].seq == 1
    assert held.chains[KEY] == before[:1]


def test_what_a_peer_lacks() -> None:
    silo = author()
    said = [silo.join(), *(silo.say(expert(round_)) for round_ in range(2))]
    held = journals(*said)
    heads = [journals(*said[:count]).head(KEY) for count in range(4)]
    assert list(held.missing_from(KEY, None)) == said
    lacked = [list(held.missing_from(KEY, head)) for head in heads]
    assert lacked == [said, said[1:], said[2:], []]
    assert list(held.missing({KEY: heads[2]})) == said[2:]
    assert list(journals(*said[:1]).missing({KEY: heads[3]})) == []


def test_a_peer_with_a_lost_tail_gets_the_whole_journal() -> None:
    silo = author()
    first, lost = silo.join(), silo.say(expert(0))
    theirs = journals(first, lost).head(KEY)
    again = silo.say(expert(1), epoch=1, at=1)
    assert list(journals(first, again).missing_from(KEY, theirs)) == [first, again]
    ahead = journals(first, again).head(KEY)
    assert list(journals(first, lost).missing_from(KEY, ahead)) == []


def test_a_proof_goes_first_and_only_to_who_lacks_it() -> None:
    before, one, other = forked()
    held = journals(*before, one, other)
    unaware = journals(*before, one).head(KEY)
    assert list(held.missing_from(KEY, unaware))[:2] == [one, other]
    assert list(held.missing_from(KEY, held.head(KEY))) == []
    behind = Head(epoch=0, seq=-1, digest=RUN.id, forked=1)
    assert list(held.missing_from(KEY, behind)) == before


def test_what_a_peer_holds_beyond_ours_is_counted() -> None:
    run = Run(3)
    run.publish_experts(0)
    ours, theirs = (Journals(run.manifest) for _ in range(2))
    for sealed in (said for author in run.authors for said in author.journal):
        theirs.offer(sealed)
    total = sum(len(author.journal) for author in run.authors)
    assert ours.lacking(theirs.heads()) == total
    assert theirs.lacking(ours.heads()) == 0
    ours.offer(run.authors[0].journal[0])
    assert ours.lacking(theirs.heads()) == total - 1
    assert ours.lacking({}) == 0


def test_a_record_that_does_not_fit_the_run_is_held_by_nobody() -> None:
    """SPEC 3.7: it neither extends a chain nor proves a fork."""
    silo, held = author(), journals()
    bare = silo.say(expert(0), at=0)
    assert held.offer(bare) is Offered.UNFIT
    first = silo.join(at=0)
    assert held.offer(first) is Offered.NEW
    late = silo.say(expert(RUN.manifest.method.last_round + 1))
    assert held.offer(late) is Offered.UNFIT
    assert "is of round 3, the last is 2 (SPEC 3.7.5)" in held.flaw(late)
    assert held.offer(silo.say(expert(2), at=1)) is Offered.NEW
    assert not held.forks


def test_a_tail_is_replaced_once_while_no_time_passes() -> None:
    """Each replacement costs a view: whoever sends rising epochs must wait."""
    silo = author()
    held = journals(silo.join(), silo.say(expert(0)))
    second = silo.say(expert(0), epoch=1, at=1)
    third = silo.say(expert(0), epoch=2, at=1)
    assert held.offer(second) is Offered.REPLACED
    assert held.offer(third) is Offered.LATER
    assert held.chains[KEY][-1] == second
    other = RUN.authors[1].anew()
    for sealed in (other.join(), other.say(expert(0))):
        held.offer(sealed)
    assert held.offer(other.say(expert(0), epoch=1, at=1)) is Offered.REPLACED
    held.breathe()
    assert held.offer(third) is Offered.REPLACED
    assert held.offer(second) is Offered.STALE


def test_a_chain_ends_where_its_bytes_are_used_up() -> None:
    """SPEC 3.3.6: and a tail that gives way makes room again."""
    silo, held = author(), journals()
    first, second, third = silo.join(), silo.say(expert(0)), silo.say(expert(1))
    held.budget = len(first.envelope) + len(second.envelope)
    outcomes = [held.offer(sealed) for sealed in (first, second, third)]
    assert outcomes == [Offered.NEW, Offered.NEW, Offered.FULL]
    assert held.room(KEY) == 0
    again = silo.say(expert(2), epoch=1, at=1)
    held.budget += 8
    assert held.offer(again) is Offered.REPLACED
    assert held.room(KEY) == held.budget - len(first.envelope) - len(again.envelope)
    held.mark_fork(second, third)
    held.mark_fork(again, silo.say(expert(1), epoch=1, at=1))
    assert held.room(KEY) == held.budget - len(first.envelope)
    assert held.room(RUN.keys[1]) == held.budget


def test_a_journals_budget_is_of_the_manifest_and_of_no_number_that_a_peer_moves() -> None:
    small, more = (journal_budget(Run(3, rounds=rounds).manifest) for rounds in (1, 5))
    assert more - small == 4 * 3 * RECORD_BYTES
    assert small > JOURNAL_BYTES
