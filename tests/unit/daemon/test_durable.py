"""Effects that must be durable, as the daemon carries them out (SPEC 3.5.6)."""

import asyncio
from pathlib import Path
from unittest.mock import Mock

from dcfm_node.daemon.disk import Disk, open_journals
from dcfm_node.daemon.executor import Executor
from dcfm_node.daemon.inbox import Present
from dcfm_node.daemon.troubles import Troubles
from dcfm_node.records.messages import Entries, Sync
from dcfm_node.store.journals import JournalStore
from dcfm_node.swarm.effects import Effect, PersistFork, Received
from dcfm_node.wire.envelope import SealedHeartbeat
from tests.unit.swarm.builders import Run, expert, lease, vote
from tests.unit.swarm.nodes import node, told

RUN = Run(3)


def carried_out(state: Path, effects: list[Effect]) -> list[tuple[Sync, list[SealedHeartbeat]]]:
    """Each `sync` that was sent, with the heartbeats that were on the disk by then."""
    path = state / "journals.sqlite"
    sent: list[tuple[Sync, list[SealedHeartbeat]]] = []

    def send(peer: bytes, message: object) -> None:
        if isinstance(message, Sync):
            other = JournalStore(path)
            sent.append((message, other.heartbeats(RUN.id)))
            other.close()

    async def never() -> None:
        raise AssertionError

    journals, _ = open_journals(path, RUN.id)
    executor = Executor(
        journals,
        Disk(never),
        Troubles(lambda: 0.0),
        Present(node(RUN)),
        network=Mock(send=send),
        clock=lambda: 0.0,
        vetting=Mock(doubtful=lambda work: ()),
        **dict.fromkeys(("runner", "deltas", "snapshots", "put", "spawn"), Mock()),
    )
    asyncio.run(executor.carry_out(effects))
    journals.close()
    return sent


def test_an_epoch_is_on_the_disk_when_the_sync_that_names_it_is_sent(tmp_path: Path) -> None:
    """SPEC 4.6.4, and it is there after a restart."""
    made, heartbeat = node(RUN), RUN.authors[1].heartbeat(9, epoch=7)
    asked = Sync(run=RUN.id, version="1", heads={}, beats={}, reply=True)
    heard = Entries(run=RUN.id, entries=(), beats=(heartbeat.envelope,))
    effects = made.handle(Received(RUN.keys[1], heard), 0.0)
    effects += made.handle(Received(RUN.keys[2], asked), 0.0)
    ((message, on_disk),) = carried_out(tmp_path, effects)
    assert message.beats[RUN.keys[1]] == (9, 7)
    assert on_disk == [heartbeat]
    store, said = open_journals(tmp_path / "journals.sqlite", RUN.id)
    again = node(RUN)
    again.restore(*said)
    assert again.exchange.sync(reply=False).beats[RUN.keys[1]] == (9, 7)
    again.handle(Received(RUN.keys[2], heard), 0.0)
    assert not again.exchange.liveness.live(RUN.keys[1], 0.0)  # told once more, by another
    store.close()


def test_a_node_knows_its_own_epoch_after_a_restart_though_it_wrote_nothing(tmp_path: Path) -> None:
    made = node(RUN)
    empty = made.replica.journals.head(made.me)
    effects = [e for peer in (1, 2) for e in made.handle(told(RUN, peer, empty), 0.0)]
    carried_out(tmp_path, effects)
    store, said = open_journals(tmp_path / "journals.sqlite", RUN.id)
    again = node(RUN)
    again.restore(*said)
    for peer in (1, 2):
        again.handle(told(RUN, peer, empty), 0.0)
    assert again.exchange.recovery.epoch > made.exchange.recovery.epoch > 0
    store.close()


def test_forks_and_entries_are_written_in_their_order(tmp_path: Path) -> None:
    silo = Run(3).authors[1]
    first, one, other = silo.join(), silo.say(expert(0)), silo.say(expert(1), at=1)
    made = node(RUN)
    heard = Entries(run=RUN.id, entries=(first.envelope, one.envelope, other.envelope), beats=())
    effects = made.handle(Received(RUN.keys[1], heard), 0.0)
    assert PersistFork(one, other) in effects
    carried_out(tmp_path, effects)
    store, (entries, forks, _) = open_journals(tmp_path / "journals.sqlite", RUN.id)
    assert (entries, forks) == ([first], [(one, other)])
    store.close()


def test_a_fork_of_two_numbers_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """Who takes back what others built on may do so by an entry before it (SPEC 3.4)."""
    run = Run(3)
    leader, voter = run.authors[:2]
    leader.join()
    first, before = voter.join(), voter.say(expert(0))
    votes = [author.say(vote(1, 0, leader.key)) for author in (leader, voter)]
    leader.say(lease(1, 0, votes))
    said = (*leader.journal, first, before, votes[1])
    again = voter.say(expert(0, "another"), epoch=7, at=before.entry.seq)
    made = node(RUN)
    heard = Entries(run=RUN.id, entries=tuple(s.envelope for s in (*said, again)), beats=())
    effects = made.handle(Received(RUN.keys[2], heard), 0.0)
    assert PersistFork(votes[1], again) in effects
    carried_out(tmp_path, effects)
    store, (entries, forks, _) = open_journals(tmp_path / "journals.sqlite", RUN.id)
    assert [s for s in entries if s.entry.author == voter.key] == [first]
    assert forks == [(votes[1], again)]
    store.close()
