"""SPEC 3.3 and 3.4, rule by rule."""

from dcfm_node.records.messages import Head
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
