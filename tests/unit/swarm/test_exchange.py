"""SPEC 4: what a node tells, asks, takes in and refuses."""

import random

from dcfm_node.records.entries import Withdraw
from dcfm_node.records.messages import Entries, Head, Mismatch, Sync
from dcfm_node.swarm.effects import Foreign, Persist, PersistFork, Report
from dcfm_node.swarm.exchange import FANOUT, Exchange
from dcfm_node.swarm.liveness import Liveness
from dcfm_node.wire.envelope import decode_message, encode_message, manifest_bytes
from tests.unit.swarm.builders import Author, Run, expert
from tests.unit.swarm.exchanges import ME, PEER, RUN, entries, exchange, sent, sync


def author(index: int = 2) -> Author:
    return RUN.authors[index].anew()


def test_a_round_of_gossip_tells_a_few_linked_peers() -> None:
    node = exchange()
    told = [effect.peer for effect in node.round_of_gossip(random.Random(0))]
    assert len(set(told)) == FANOUT
    for peer in node.peers.values():
        peer.linked = False
    assert node.round_of_gossip(random.Random(0)) == []


def test_what_is_sent_passes_every_peers_checks() -> None:
    node = exchange()
    node.own_heartbeat = RUN.authors[0].heartbeat(4)
    node.publish(author(0).join())
    message = node.sync(reply=True)
    assert decode_message(encode_message(message)) == message
    assert message.beats == {ME: (4, 0)}


def test_a_sync_is_answered_with_what_is_lacking_and_with_the_same_if_asked() -> None:
    node = exchange()
    said = author(0).join()
    node.publish(said)
    answers = sent(node.hear(PEER, sync(reply=True), 0.0))
    assert answers[0] == entries(said)
    assert isinstance(answers[1], Sync) and not answers[1].reply
    assert sent(node.hear(PEER, sync(heads={ME: node.replica.journals.head(ME)}), 0.0)) == []


def test_heartbeats_are_relayed_to_whoever_names_a_lower_count() -> None:
    node = exchange()
    heartbeat = RUN.authors[2].heartbeat(7)
    node.hear(PEER, entries(heartbeats=(heartbeat.envelope,)), 0.0)
    assert sent(node.hear(PEER, sync(), 0.0)) == [entries(heartbeats=(heartbeat.envelope,))]
    assert sent(node.hear(PEER, sync(beats={RUN.keys[2]: (7, 0)}), 0.0)) == []


def test_new_entries_are_persisted_once() -> None:
    node, said = exchange(), author().join()
    assert node.hear(PEER, entries(said, said), 0.0) == [Persist(said)]
    assert node.hear(PEER, entries(said), 0.0) == []
    assert RUN.keys[2] in node.replica.view.joins


def test_own_entries_are_persisted_before_they_are_told() -> None:
    node, said = exchange(), author(0).join()
    effects = node.publish(said)
    assert effects[0] == Persist(said)
    assert len(sent(effects[1:])) == len(node.peers)


def test_a_replaced_tail_leaves_the_view() -> None:
    node, silo = exchange(), author()
    node.hear(PEER, entries(silo.join(), silo.say(expert(0))), 0.0)
    node.hear(PEER, entries(silo.say(expert(1), epoch=1, at=1)), 0.0)
    assert list(node.replica.view.experts[silo.key]) == [1]


def test_stale_entries_are_answered_with_one_message_of_what_we_hold_instead() -> None:
    """However many there are."""
    node, silo = exchange(), author()
    first, *lost = silo.join(), silo.say(expert(0)), silo.say(expert(1))
    again = silo.say(expert(1), epoch=1, at=1)
    node.hear(PEER, entries(first, again), 0.0)
    assert sent(node.hear(PEER, entries(*lost), 0.0)) == [entries(again)]


def test_chains_that_heads_do_not_tell_apart_come_to_one() -> None:
    """A member that signs a tail after an entry which it took back splits nobody (SPEC 3.3.4)."""
    one, other, silo = (
        exchange(),
        Exchange.create(RUN.manifest, PEER, Liveness(9, 60, 90)),
        author(),
    )
    first = silo.join()
    longer = [first, silo.say(expert(0), epoch=1)]
    instead = silo.join(epoch=1, at=0)
    one.hear(PEER, entries(*longer), 0.0)
    other.hear(ME, entries(first, instead), 0.0)
    (told,) = sent(one.hear(PEER, other.sync(reply=False), 1.0))
    (answer,) = sent(other.hear(ME, told, 1.0))
    one.hear(PEER, answer, 1.0)
    assert (
        one.replica.journals.chains[silo.key]
        == other.replica.journals.chains[silo.key]
        == [instead]
    )


def test_a_fork_is_kept_reported_and_passed_on() -> None:
    node, silo = exchange(), author()
    one, other = silo.join(), silo.join(at=0, distils=False)
    node.hear(PEER, entries(one), 0.0)
    effects = node.hear(PEER, entries(other), 0.0)
    assert effects[0] == PersistFork(one, other)
    assert isinstance(effects[1], Report) and "silo-0002" in str(effects[1].fields["why"])
    assert silo.key not in node.replica.view.joins
    assert sent(node.hear(PEER, sync(), 0.0)) == [entries(one, other)]


def test_hostile_entries_are_refused_with_a_reason() -> None:
    node = exchange()
    garbage = Entries(run=RUN.id, entries=(b"garbage",), beats=())
    (report,) = node.hear(PEER, garbage, 0.0)
    assert isinstance(report, Report) and report.event == "refused_input"
    assert node.peers[PEER].trouble
    node.hear(PEER, sync(), 1.0)
    assert node.peers[PEER].trouble == ""


def test_strangers_are_refused() -> None:
    (report,) = exchange().hear(b"s" * 32, sync(), 0.0)
    assert isinstance(report, Report) and "not on the roster" in str(report.fields["why"])


def test_another_run_is_told_our_manifest_seldom() -> None:
    node = exchange()
    foreign = sync(run=bytes(32))
    (answer,) = sent(node.hear(PEER, foreign, 0.0))
    assert isinstance(answer, Mismatch) and answer.manifest == manifest_bytes(RUN.manifest)
    assert node.hear(PEER, foreign, 9.0) == []
    assert len(node.hear(PEER, foreign, 10.0)) == 1


def test_a_mismatch_names_the_field_once() -> None:
    node, other = exchange(), Run(5, rounds=3)
    message = Mismatch(
        run=other.id, version="1", manifest=manifest_bytes(other.manifest), reason="another"
    )
    report, *_ = node.hear(PEER, message, 0.0)
    assert isinstance(report, Report) and "method.max_rounds" in str(report.fields["why"])
    assert node.hear(PEER, message, 1.0) == []


def test_a_peer_has_its_manifests_read_seldom() -> None:
    """SPEC 4.5: reading one may take a second, and a member may send many."""
    node = exchange()
    for second, rounds in enumerate((3, 4, 5, 6)):
        other = Run(5, rounds=rounds)
        text = manifest_bytes(other.manifest) if second < 3 else b"junk"
        message = Mismatch(run=other.id, version="1", manifest=text, reason="another")
        node.hear(PEER, message, 2.0 * second)
    assert node.peers[PEER].compared_at == 6.0
    assert "cannot read its manifest" in node.peers[PEER].trouble


def test_a_mismatch_of_rosters_names_the_silo() -> None:
    node, other = exchange(), Run(4)
    message = Mismatch(
        run=other.id, version="1", manifest=manifest_bytes(other.manifest), reason="another"
    )
    node.hear(PEER, message, 0.0)
    trouble = "its run.toml or roster differs in: roster (silo-0004 is missing there)"
    assert node.peers[PEER].trouble == trouble


def test_another_protocol_is_told_once_with_who_must_upgrade() -> None:
    """SPEC 4.2.1."""
    node, name = exchange(), RUN.manifest.silo_name(PEER)
    (report,) = node.hear_foreign(Foreign(PEER, 0, "0.0.9"))
    assert isinstance(report, Report)
    why = f"speaks protocol 0 (dcfm-node 0.0.9), this node 1; upgrade {name}"
    assert node.peers[PEER].trouble == report.fields["why"] == why
    assert node.hear_foreign(Foreign(PEER, 0, "0.0.9")) == []
    node.hear_foreign(Foreign(PEER, 2, ""))
    assert node.peers[PEER].trouble == "speaks protocol 2, this node 1; upgrade this node"
    assert node.hear_foreign(Foreign(b"s" * 32, 0, "")) == []
    node.hear(PEER, sync(), 0.0)
    assert node.peers[PEER].trouble == ""


def test_who_says_another_version_each_time_is_told_of_ever_more_seldom() -> None:
    node = exchange()
    told = [node.hear_foreign(Foreign(PEER, number % 2 * 2, "")) for number in range(1_000)]
    assert sum(map(len, told)) == 10
    assert node.peers[PEER].trouble == "speaks protocol 2, this node 1; upgrade this node"


def test_an_entry_of_ours_that_we_did_not_write_silences_us() -> None:
    node = exchange()
    first = author(0).join()
    node.hear(PEER, entries(first), 0.0)
    assert not node.usurped
    node.recovery.writable, node.recovery.epoch = True, 3
    silo = author(0)
    silo.journal = [first]
    node.hear(PEER, entries(silo.say(expert(0), epoch=2)), 0.0)
    assert not node.usurped  # a lost disk's, brought back
    node.hear(PEER, entries(silo.say(expert(1), epoch=3)), 0.0)
    assert node.usurped


def test_restoring_a_fork_of_ours_silences_us() -> None:
    node, silo = exchange(), author(0)
    one, other = silo.join(), silo.join(at=0, distils=False)
    node.restore([one], [(one, other)])
    assert node.usurped
    assert node.replica.journals.chains[ME] == []


def test_peers_say_how_our_journal_ends() -> None:
    node = exchange()
    head = Head(epoch=0, seq=3, digest=bytes(32))
    node.hear(PEER, sync(heads={ME: head}, beats={ME: (9, 2)}), 0.0)
    assert node.recovery.heads == {PEER: head}
    assert (node.recovery.counts, node.recovery.epochs) == ({PEER: 9}, {PEER: 2})


def test_one_bad_envelope_leaves_the_good_ones_of_its_message_unapplied() -> None:
    """What is folded in must reach the disk: nothing of a refused message is (SPEC 1.3, 3.5.6)."""
    run = Run()
    one = exchange(run)
    said = run.authors[1].join()
    message = Entries(run=run.id, entries=(said.envelope, b"junk"), beats=())
    effects = one.hear(run.keys[1], message, 0.0)
    assert not [effect for effect in effects if isinstance(effect, Persist)]
    assert not one.replica.journals.chains[run.keys[1]]
    again = one.hear(run.keys[1], Entries(run=run.id, entries=(said.envelope,), beats=()), 1.0)
    assert [effect for effect in again if isinstance(effect, Persist)]


def test_a_bundle_tells_where_the_own_journal_ends() -> None:
    """SPEC 10.2.2: a node without a link may write once bundles told it, and not before."""
    node, own = exchange(), author(0)
    for peer in node.peers.values():
        peer.linked = False
    assert not node.own_journal_known(8.0, 8.0)
    node.recovery.hear_bundle(PEER, Head(epoch=0, seq=-1, digest=RUN.id))
    assert node.own_journal_known(8.0, 8.0)
    assert not node.own_journal_known(7.0, 8.0)
    said = own.join()
    node.recovery.hear_bundle(PEER, Head(epoch=0, seq=0, digest=said.digest))
    node.recovery.hear_bundle(
        PEER, Head(epoch=0, seq=-1, digest=RUN.id)
    )  # an older one, brought later
    assert not node.own_journal_known(8.0, 8.0)
    node.hear(PEER, entries(said), 0.0)
    assert node.own_journal_known(8.0, 8.0)
    assert node.recovery.acknowledged([], settled=True)


def test_that_a_silo_withdrew_is_logged_once_however_often_it_says_so() -> None:
    """Under rising epochs its journal has room for it for ever, and the log would have none."""
    node, silo = exchange(), author()
    node.hear(PEER, entries(silo.join()), 0.0)
    logged = 0
    for epoch in range(1, 5):
        node.replica.journals.breathe()
        instead = silo.say(Withdraw(reason="moving"), epoch=epoch, at=1)
        effects = node.hear(PEER, entries(instead, silo.say(Withdraw(reason="again"))), 0.0)
        logged += sum(isinstance(e, Report) and e.event == "silo_withdrew" for e in effects)
    assert logged == 1
