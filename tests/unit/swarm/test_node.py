"""One node as its daemon sees it: events in, effects out, in order."""

from dcfm_node.records.entries import Verdict, Vote
from dcfm_node.records.messages import Entries, Head, Heartbeat, Sync
from dcfm_node.swarm.effects import (
    AuditExperts,
    Cancel,
    DiskRefuses,
    Distil,
    Downloading,
    Drain,
    Effect,
    Fetch,
    Gone,
    Held,
    LinkUp,
    Persist,
    PersistHeartbeat,
    Received,
    Report,
    Send,
    Start,
    Tick,
    Train,
    Unfit,
    Worked,
    WorkFailed,
)
from dcfm_node.swarm.node import Node
from dcfm_node.wire.envelope import OPENER
from tests.unit.swarm.builders import Run, expert, lease, snapshot
from tests.unit.swarm.nodes import empty, node, persisted, remembered, started, told


def test_it_writes_nothing_before_a_quorum_of_peers_says_how_its_journal_ends() -> None:
    """SPEC 3.5.1: its own disk is no witness."""
    run = Run(5)
    made = node(run)
    for peer in (1, 2):
        assert persisted(made.handle(told(run, peer, empty(run)), 0.0)) == []
    assert made.exchange.recovery.epoch < 0
    assert persisted(made.handle(told(run, 3, empty(run)), 0.0)) == []
    assert made.exchange.recovery.epoch > 0
    assert persisted(remembered(made, run)) == ["join"]


def test_a_peer_whose_own_journal_is_not_held_yet_is_no_witness() -> None:
    """SPEC 3.5.2: its votes tell of terms in which this node may have voted."""
    run = Run(3)
    vote = run.authors[1].say(Vote(term=4, round=0, candidate=run.keys[1]))
    heads = {run.keys[0]: empty(run), run.keys[1]: Head(epoch=0, seq=1, digest=vote.digest)}
    sync = Sync(run=run.id, version="1", heads=heads, beats={}, reply=False)
    made = node(run)
    made.handle(told(run, 2, empty(run)), 0.0)
    made.handle(Received(run.keys[1], sync), 0.0)
    assert made.exchange.recovery.epoch < 0
    made.handle(_heard(run), 0.0)
    made.handle(Tick(), 0.0)
    assert made.exchange.recovery.epoch > 0


def test_fewer_peers_suffice_after_a_while_if_no_more_are_linked() -> None:
    run = Run(5)
    made = node(run)
    made.handle(LinkUp(run.keys[1]), 0.0)
    made.handle(told(run, 1, empty(run)), 1.0)
    assert persisted(made.handle(Tick(), 7.9)) == []
    made.handle(Tick(), 8.0)
    epoch = made.exchange.recovery.epoch
    assert persisted(made.handle(told(run, 1, empty(run), epoch=epoch), 8.1)) == ["join"]


def test_a_lost_disk_is_recovered_before_a_word_and_goes_on_under_a_higher_epoch() -> None:
    """SPEC 3.5.3 and 3.5.4: above all that peers remember, entries and heartbeats."""
    run = Run(3)
    before = [run.authors[0].join(), run.authors[0].say(expert(0))]
    run.authors[1].say(Vote(term=4, round=0, candidate=run.keys[1]))
    known = Head(epoch=0, seq=1, digest=before[1].digest)
    made = node(run)
    made.handle(told(run, 2, empty(run), heartbeats=70), 0.0)
    assert persisted(made.handle(told(run, 1, known), 0.0)) == []
    heard = (*before, *run.authors[1].journal)
    entries = Entries(run=run.id, entries=tuple(s.envelope for s in heard), beats=())
    made.handle(Received(run.keys[1], entries), 0.0)
    made.handle(Unfit(before[1].entry.body.snapshot.digest, "NaN"), 1.0)
    remembered(made, run)
    last = made.replica.journals.chains[run.keys[0]][-1].entry
    assert last.epoch > 70 and last.seq == 2
    assert made.plan_input(1.0).booth.not_before == 5


def test_an_epoch_that_a_peers_disk_knows_is_not_used_again() -> None:
    """SPEC 3.5.3: though that peer was restarted, and holds no heartbeat and no entry of it."""
    run = Run(3)
    made = node(run)
    made.handle(told(run, 1, empty(run)), 0.0)
    made.handle(told(run, 2, empty(run), epoch=12), 0.0)
    assert made.exchange.recovery.epoch == 13


def test_a_count_is_no_word_for_an_epoch_on_the_disk() -> None:
    """SPEC 3.5.3: a peer may hold a heartbeat of a lost disk that counts above the epoch just
    chosen, and forget it with its next start."""
    run = Run(3)
    made = node(run)
    for peer in (1, 2):
        made.handle(told(run, peer, empty(run)), 0.0)
    epoch = made.exchange.recovery.epoch
    assert persisted(made.handle(told(run, 1, empty(run), heartbeats=epoch + 5), 0.0)) == []
    assert persisted(made.handle(told(run, 1, empty(run), epoch=epoch + 5), 0.0)) == []
    assert persisted(made.handle(told(run, 1, empty(run), epoch=epoch), 0.0)) == ["join"]


def test_a_used_epoch_that_is_shown_before_it_writes_is_risen_above_and_a_claim_is_not() -> None:
    """SPEC 3.5.3: one that claims ever more must not keep it from writing."""
    run = Run(3)
    made = node(run)
    for peer in (1, 2):
        made.handle(told(run, peer, empty(run)), 0.0)
    epoch = made.exchange.recovery.epoch
    made.handle(told(run, 1, empty(run), epoch=epoch + 5), 0.0)
    assert made.exchange.recovery.epoch == epoch
    used = run.authors[0].heartbeat(epoch + 5, epoch=epoch + 5)
    shown = Entries(run=run.id, entries=(), beats=(used.envelope,))
    effects = made.handle(Received(run.keys[1], shown), 0.0)
    assert made.exchange.recovery.epoch == epoch + 6
    kept = [e.sealed.heartbeat.epoch for e in effects if isinstance(e, PersistHeartbeat)]
    assert kept == [epoch + 5, epoch + 6]


def test_what_a_recovered_journal_shows_trained_is_not_trained_again() -> None:
    """SPEC 3.5: it began Stage I, knowing nothing, and hears that it published that long ago."""
    run = Run(3)
    before = [run.authors[0].join(), run.authors[0].say(expert(0))]
    made = node(run)
    assert Start(Train("local", 0)) in made.handle(Tick(), 0.0)
    entries = Entries(run=run.id, entries=tuple(s.envelope for s in before), beats=())
    effects = made.handle(Received(run.keys[1], entries), 1.0)
    assert Cancel() in effects
    assert made.work is None


def test_a_peer_that_names_an_incredible_count_does_not_keep_it_from_writing() -> None:
    """SPEC 4.6.2: such a count raises no epoch; of an epoch near it, honest peers still tell."""
    run = Run(5)
    made = node(run)
    made.handle(told(run, 1, empty(run), heartbeats=2**53), 0.0)
    made.handle(told(run, 2, empty(run), heartbeats=2**52 - 1), 0.0)
    made.handle(told(run, 3, empty(run)), 0.0)
    assert made.exchange.recovery.epoch == 2**52
    assert persisted(remembered(made, run)) == ["join"]


def test_a_node_that_was_driven_to_an_incredible_epoch_writes_after_its_next_start() -> None:
    """SPEC 3.5.2, 3.5.3: what is shown is believed, however high: entries and heartbeats."""
    run, high = Run(3), 2**52
    said = run.authors[0].join(epoch=high)
    heartbeat = run.authors[0].heartbeat(high + 70, epoch=high)
    head = Head(epoch=high, seq=0, digest=said.digest)
    made = node(run)
    for peer in (1, 2):
        made.handle(told(run, peer, head, heartbeats=high + 70, epoch=high), 0.0)
    assert made.exchange.recovery.epoch < 0
    shown = Entries(run=run.id, entries=(said.envelope,), beats=(heartbeat.envelope,))
    made.handle(Received(run.keys[1], shown), 0.0)
    assert made.exchange.recovery.epoch > high
    assert made.exchange.own_count > high + 70
    remembered(made, run)
    assert made.exchange.recovery.writable


def test_training_starts_at_once_and_ends_in_a_record() -> None:
    run = Run(3)
    made = node(run)
    assert Start(Train("local", 0)) in made.handle(Tick(), 0.0)
    made = started(run)
    effects = made.handle(Worked(Train("local", 0), snapshot("mine"), {"ci_gap": 1.0}), 5.0)
    assert persisted(effects) == ["expert"]
    telling = [isinstance(e, Send) and isinstance(e.message, Entries) for e in effects]
    assert [isinstance(e, Persist) for e in effects].index(True) < telling.index(True)


def test_what_was_finished_before_it_could_write_is_said_later() -> None:
    run = Run(3)
    made = node(run)
    made.handle(Tick(), 0.0)
    effects = made.handle(Worked(Train("local", 0), snapshot("mine"), {}), 5.0)
    assert persisted(effects) == [] and len(made.unsaid) == 1
    for peer in (1, 2):
        made.handle(told(run, peer, empty(run)), 6.0)
    assert persisted(remembered(made, run)) == ["join", "expert"]
    assert made.unsaid == ()


def test_an_expert_of_a_round_is_said_once() -> None:
    made = started(Run(3))
    made.handle(Worked(Train("local", 0), snapshot("mine"), {}), 5.0)
    assert persisted(made.handle(Worked(Train("local", 0), snapshot("again"), {}), 6.0)) == []


def test_failed_work_is_asked_for_again_after_a_pause() -> None:
    made = started(Run(3))
    effects = made.handle(WorkFailed(Train("local", 0), "out of memory"), 5.0)
    assert [e.event for e in effects if isinstance(e, Report)] == ["work_failed"]
    assert made.work is None
    assert not any(isinstance(e, Start) for e in made.handle(Tick(), 14.9))
    assert Start(Train("local", 0)) in made.handle(Tick(), 15.0)


def test_a_draining_node_starts_nothing_and_leads_nothing() -> None:
    made = node(Run(3))
    assert not any(isinstance(effect, Start) for effect in made.handle(Drain(), 0.0))
    assert (
        made.exchange.own_heartbeat is not None and not made.exchange.own_heartbeat.heartbeat.ready
    )


def test_peers_experts_are_fetched_once_and_kept() -> None:
    run = Run(3)
    made = started(run)
    run.authors[1].say(expert(0, "theirs"))
    effects = made.handle(_heard(run), 1.0)
    assert [e.snapshot for e in effects if isinstance(e, Fetch)] == [snapshot("theirs")]
    assert not any(isinstance(e, Fetch) for e in made.handle(Tick(), 2.0))
    made.handle(Held(snapshot("theirs").digest), 3.0)
    assert not made.fetching and snapshot("theirs").digest in made.held
    effects = made.handle(Gone(snapshot("theirs").digest), 4.0)
    assert [e.snapshot for e in effects if isinstance(e, Fetch)] == [snapshot("theirs")]


def test_an_unfit_expert_is_refused_by_a_verdict_and_not_fetched_again() -> None:
    run = Run(3)
    made = started(run)
    said = run.authors[1].say(expert(0, "theirs"))
    made.handle(_heard(run), 1.0)
    effects = made.handle(Unfit(snapshot("theirs").digest, "NaN"), 2.0)
    (verdict,) = [e.sealed.entry.body for e in effects if isinstance(e, Persist)]
    assert verdict == Verdict(
        subject=run.keys[1], cause="snapshot", entry=said.digest, reason="NaN"
    )
    assert not any(isinstance(e, Fetch) for e in made.handle(Tick(), 60.0))


def test_a_download_is_lost_only_when_no_byte_came_for_long() -> None:
    run = Run(3, stall_s=60.0)
    made = started(run)
    made.handle(Worked(Train("local", 0), snapshot("mine"), {}), 0.0)
    run.authors[1].say(expert(0, "theirs"))
    made.handle(_heard(run), 0.0)
    digest = snapshot("theirs").digest
    made.handle(Downloading(1, 100), 50.0)
    assert not made.plan_input(110.0).lost(digest)
    assert made.plan_input(110.1).lost(digest)


def test_a_restarted_node_counts_above_what_peers_remember() -> None:
    run = Run(3)
    made = node(run)
    made.handle(told(run, 1, empty(run), heartbeats=41), 0.0)
    assert made.exchange.own_heartbeat is not None
    assert made.exchange.own_heartbeat.heartbeat.counter == 42


def test_a_silo_alone_runs_from_join_to_vote_to_lease() -> None:
    run = Run(1)
    made = node(run)
    effects = made.handle(Tick(), 0.0)
    effects += made.handle(Worked(Train("local", 0), snapshot("mine"), {}), 1.0)
    assert persisted(effects) == ["join", "expert", "vote", "lease"]
    assert made.step is not None and made.step.phase.stage == "distil"


def test_a_silo_that_cannot_distil_waits() -> None:
    made = node(Run(1), distils=False)
    made.handle(Tick(), 0.0)
    effects = made.handle(Worked(Train("local", 0), snapshot("mine"), {}), 1.0)
    assert persisted(effects) == ["expert"]
    assert made.step is not None and "can distil" in getattr(made.step.action, "why", "")


def test_a_fenced_leaders_student_is_never_said() -> None:
    """SPEC 7.4: whoever saw a later leader elected keeps silent, and stops working."""
    run = Run(3)
    made = started(run)
    made.handle(Worked(Train("local", 0), snapshot("mine"), {}), 1.0)
    run.publish_experts(0, but=(0,))
    run.authors[1].say(Vote(term=1, round=0, candidate=run.keys[0]))
    effects = made.handle(_heard(run), 2.0)
    for digest in list(made.fetching):
        effects += made.handle(Held(digest), 3.0)
    assert persisted(effects)[-2:] == ["vote", "lease"]
    work = made.work
    assert isinstance(work, AuditExperts)
    made.handle(Worked(work, None, {}), 3.0)
    work = made.work
    assert isinstance(work, Distil)
    votes = [a.say(Vote(term=2, round=0, candidate=run.keys[1])) for a in run.authors[1:]]
    run.authors[1].say(lease(2, 0, votes))
    assert Cancel() in made.handle(_heard(run), 4.0)
    late = made.handle(Worked(work, snapshot("fenced"), {}), 5.0)
    assert persisted(late) == []


def _heard(run: Run) -> Received:
    said = [sealed.envelope for author in run.authors[1:] for sealed in author.journal]
    return Received(run.keys[1], Entries(run=run.id, entries=tuple(said), beats=()))


def test_a_peer_cannot_use_up_the_heartbeat_counter() -> None:
    """SPEC 1.3: a member's number at the end of its range is no defect of ours."""
    run = Run()
    made = started(run)
    made.handle(told(run, 1, empty(run), heartbeats=2**53), 1.0)
    made.handle(Tick(), 100.0)
    assert made.exchange.own_heartbeat is not None
    assert made.exchange.own_heartbeat.heartbeat.counter < 2**20


def beats_of(made: Node, effects: list[Effect]) -> list[Heartbeat]:
    """The heartbeats of its own in what a node sends."""
    said = [e.message for e in effects if isinstance(e, Send) and isinstance(e.message, Entries)]
    assert all(message.entries == () for message in said)
    opened = [OPENER.heartbeat(b).heartbeat for message in said for b in message.beats]
    return [beat for beat in opened if beat.author == made.me]


def test_a_node_that_waits_for_its_disk_shows_life_and_says_why() -> None:
    run = Run(3)
    made = started(run)
    before = made.exchange.own_count
    beats = beats_of(made, made.while_disk_refuses())
    assert {(b.activity, b.done, b.total) for b in beats} == {("disk-full", 0, 0)}
    assert len(beats) == len(made.exchange.linked())
    assert beats[0].counter > before
    again = beats_of(made, made.while_disk_refuses())
    assert again[0].counter > beats[0].counter
    fresh = node(run)
    fresh.handle(Tick(), 0.0)
    fresh.handle(LinkUp(run.keys[1]), 0.0)
    assert fresh.while_disk_refuses() == [], "its epoch may not be on the disk"


def test_an_idle_node_whose_disk_refuses_snapshots_says_so_until_it_takes_them() -> None:
    run = Run(3)
    made = started(run)

    def does(now: float) -> str:
        made.handle(Tick(), now)
        assert made.exchange.own_heartbeat is not None
        return made.exchange.own_heartbeat.heartbeat.activity

    made.handle(DiskRefuses(True), 1.0)
    assert does(5.0) == "local", "what it works at matters more"
    made.handle(Worked(Train("local", 0), snapshot("mine"), {}), 6.0)
    assert does(9.0) == "disk-full"
    made.handle(DiskRefuses(False), 10.0)
    assert does(14.0) == "idle"
