"""SPEC 4.6.4: epochs of others, on the disk before they are named, and named after a restart."""

from collections.abc import Sequence

from dcfm_node.records.messages import Entries, Sync
from dcfm_node.swarm.effects import Effect, PersistHeartbeat, Received, Send, Tick
from dcfm_node.swarm.exchange import Exchange
from tests.unit.swarm.builders import Run
from tests.unit.swarm.exchanges import PEER, RUN, entries, exchange, sent, sync
from tests.unit.swarm.nodes import node

SILO = RUN.authors[2]


def kept(effects: Sequence[Effect]) -> list[tuple[bytes, int]]:
    heartbeats = [
        effect.sealed.heartbeat for effect in effects if isinstance(effect, PersistHeartbeat)
    ]
    return [(heartbeat.author, heartbeat.epoch) for heartbeat in heartbeats]


def named(made: Exchange) -> tuple[int, int]:
    return made.sync(reply=False).beats[SILO.key]


def test_an_epoch_is_on_the_disk_before_any_sync_names_it() -> None:
    """SPEC 3.5.6: whatever one event leads to, in its order."""
    run = Run(3)
    made = node(run)
    made.handle(Tick(), 0.0)
    heartbeat = run.authors[1].heartbeat(9, epoch=7)
    made.exchange.peers[run.keys[2]].linked = True
    message = Entries(run=run.id, entries=(), beats=(heartbeat.envelope,))
    effects = made.handle(Received(run.keys[1], message), 5.0)
    told = [isinstance(e, Send) and isinstance(e.message, Sync) for e in effects]
    (naming,) = [e.message.beats for e, is_sync in zip(effects, told, strict=True) if is_sync]
    assert naming[run.keys[1]] == (9, 7)
    assert effects.index(PersistHeartbeat(heartbeat)) < told.index(True)


def test_only_a_higher_epoch_is_written() -> None:
    made = exchange()
    assert kept(made.hear(PEER, entries(heartbeats=(SILO.heartbeat(1).envelope,)), 0.0)) == []
    for counter in (5, 6, 7):
        made.hear(PEER, entries(heartbeats=(SILO.heartbeat(counter, epoch=4).envelope,)), 0.0)
    assert made.hear(PEER, entries(heartbeats=(SILO.heartbeat(8, epoch=4).envelope,)), 0.0) == []
    assert made.hear(PEER, entries(heartbeats=(SILO.heartbeat(9, epoch=3).envelope,)), 0.0) == []
    assert named(made) == (9, 4)


def test_an_epoch_counts_though_its_heartbeat_was_overtaken() -> None:
    made = exchange()
    made.hear(PEER, entries(heartbeats=(SILO.heartbeat(50, epoch=4).envelope,)), 0.0)
    made.epochs.breathe()
    effects = made.hear(PEER, entries(heartbeats=(SILO.heartbeat(20, epoch=9).envelope,)), 0.0)
    assert kept(effects) == [(SILO.key, 9)]
    assert named(made) == (50, 9)


def test_an_author_is_written_of_once_while_no_time_passes() -> None:
    """However many messages a member sends: what is put off is named by no sync, and asked for."""
    made = exchange()
    for epoch in range(1, 9):
        effects = made.hear(
            PEER, entries(heartbeats=(SILO.heartbeat(epoch, epoch=epoch).envelope,)), 0.0
        )
        assert kept(effects) == ([(SILO.key, 1)] if epoch == 1 else [])
    assert named(made) == (8, 1)
    made.epochs.breathe()
    assert kept(made.hear(PEER, entries(heartbeats=(SILO.heartbeat(9, epoch=8).envelope,)), 0.0))
    assert named(made) == (9, 8)


def test_a_message_leads_to_one_write_an_author() -> None:
    """However many epochs a hostile one signs: one row, and one transaction with the others'."""
    made = exchange()
    rising = tuple(SILO.heartbeat(2**40, epoch=number).envelope for number in range(200))
    other = RUN.authors[3].heartbeat(3, epoch=3).envelope
    effects = made.hear(PEER, entries(heartbeats=(*rising, other)), 0.0)
    assert kept(effects) == [(SILO.key, 199), (RUN.keys[3], 3)]


def test_heartbeats_of_strangers_and_of_other_runs_are_not_kept() -> None:
    stranger, elsewhere = Run(7).authors[6], Run(5, rounds=3).authors[2]
    heartbeats = (stranger.heartbeat(3, epoch=3).envelope, elsewhere.heartbeat(3, epoch=3).envelope)
    made = exchange()
    assert made.hear(PEER, entries(heartbeats=heartbeats), 0.0) == []
    assert made.epochs.kept == {}


def test_after_a_restart_the_epoch_is_named_and_later_heartbeats_are_still_asked_for() -> None:
    """SPEC 4.4.4: what the disk knows is no sign of life, also if it comes once more."""
    made, first = exchange(), SILO.heartbeat(9, epoch=7)
    made.restore([], [], [first])
    assert named(made) == (9, 7)
    assert not made.liveness.live(SILO.key, 0.0)
    made.hear(PEER, entries(heartbeats=(first.envelope,)), 1.0)
    assert not made.liveness.live(SILO.key, 1.0)
    other = exchange()
    later = SILO.heartbeat(10, epoch=7)
    other.hear(SILO.key, entries(heartbeats=(later.envelope,)), 0.0)
    assert sent(other.hear(PEER, made.sync(reply=False), 0.0)) == [
        entries(heartbeats=(later.envelope,))
    ]


def test_the_heartbeat_of_an_epoch_is_passed_on_to_a_disk_that_lost_it_and_to_its_author() -> None:
    made, heartbeat = exchange(), SILO.heartbeat(9, epoch=7)
    made.restore([], [], [heartbeat])
    for who in (PEER, SILO.key):
        assert sent(made.hear(who, sync(), 0.0)) == [entries(heartbeats=(heartbeat.envelope,))]
        assert sent(made.hear(who, sync(beats={SILO.key: (20, 6)}), 0.0)) != []
        assert sent(made.hear(who, sync(beats={SILO.key: (0, 7)}), 0.0)) == []


def test_a_message_bears_no_more_heartbeats_than_it_may() -> None:
    """SPEC 4.4: epochs and newest heartbeats together may be more; the next sync brings more."""
    many = Run(600)
    made = Exchange.create(many.manifest, many.keys[0], exchange().liveness)
    for silo in many.authors[1:]:
        old, new = silo.heartbeat(3, epoch=3), silo.heartbeat(9, epoch=3)
        made.hear(many.keys[1], Entries(run=many.id, entries=(), beats=(old.envelope,)), 0.0)
        made.hear(many.keys[1], Entries(run=many.id, entries=(), beats=(new.envelope,)), 0.0)
    asking = Sync(run=many.id, version="1", heads={}, beats={}, reply=False)
    (answer,) = [message for message in sent(made.hear(many.keys[1], asking, 0.0)) if message.beats]
    assert len(answer.beats) == 1_000


def test_a_silo_that_is_silent_is_not_passed_on_as_if_it_lived() -> None:
    made, asks = exchange(), sync(reply=False)
    made.hear(SILO.key, entries(heartbeats=(SILO.heartbeat(10, epoch=0).envelope,)), 0.0)
    assert sent(made.hear(PEER, asks, 1.0))
    assert sent(made.hear(PEER, asks, 60.0)) == []
