"""Whatever an effect raises, however often: the node lives, `status` names it, nothing is lost."""

import asyncio
import errno
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq

from dcfm_node.daemon import executor
from dcfm_node.daemon.disk import write
from dcfm_node.daemon.executor import WORDS
from dcfm_node.daemon.troubles import HELD_S
from dcfm_node.records.entries import Withdraw
from dcfm_node.records.messages import Entries, Sync
from dcfm_node.swarm.effects import (
    Cancel,
    Drop,
    Durable,
    Effect,
    Event,
    Fetch,
    Leave,
    LinkUp,
    Persist,
    PersistFork,
    PersistHeartbeat,
    Received,
    Report,
    Send,
    Start,
    Train,
    Unfetch,
    Worked,
)
from tests.unit.daemon.rig import RUN, Rig, rigged
from tests.unit.swarm.builders import Author, expert, join
from tests.unit.swarm.nodes import empty, told

ERRORS: dict[str, Callable[[], Exception]] = {
    "ENOSPC": lambda: OSError(errno.ENOSPC, "No space left on device"),
    "EMFILE": lambda: OSError(errno.EMFILE, "Too many open files"),
    "EIO": lambda: OSError(errno.EIO, "Input/output error"),
    "MemoryError": MemoryError,
    "EAGAIN": lambda: zmq.ZMQError(errno.EAGAIN),
}
EFFECTS: tuple[type[Effect], ...] = (
    *(Persist, PersistFork, PersistHeartbeat),
    *(Send, Start, Cancel, Fetch, Unfetch, Drop, Report),
)
TRIES = 3
"""So many calls fail in a row."""


def received(author: Author, *said: bytes) -> Received:
    return Received(author.key, Entries(run=RUN.id, entries=said, beats=()))


def session(rig: Rig) -> list[list[Event]]:
    """Events that lead to every kind of effect, in batches."""
    one, two = (RUN.authors[n].anew() for n in (1, 2))
    first = [one.say(join("silo-0001")).envelope, one.say(expert(0, "expert one")).envelope]
    left = one.say(Withdraw(reason="")).envelope
    forked = two.join().envelope, two.join(at=0, distils=False).envelope
    epoch = two.heartbeat(9, epoch=7)
    return [
        [LinkUp(RUN.keys[1]), LinkUp(RUN.keys[2])],
        [told(RUN, 1, empty(RUN)), told(RUN, 2, empty(RUN))],
        [],  # it has chosen its epoch, which `remember` lets peers name
        [received(one, *first), received(two, *forked)],
        [Received(two.key, Entries(run=RUN.id, entries=(), beats=(epoch.envelope,)))],
        [received(one, left)],
        [Leave("at its operator's wish")],
        [Worked(Train("local", 0), rig.made("mine"), {})],
        [Received(one.key, Sync(run=RUN.id, version="", heads={}, beats={}, reply=True))],
    ]


def remember(rig: Rig) -> list[Event]:
    node = rig.node
    held, epoch = node.replica.journals.head(node.me), max(0, node.exchange.recovery.epoch)
    return [told(RUN, peer, held, epoch=epoch) for peer in (1, 2)]


def play(rig: Rig) -> dict[str, object]:
    """The session, with time for what failed to be tried again; what came of it."""

    async def all_of_it() -> None:
        for batch in session(rig):
            await rig.take(*batch)
            for _ in range(2):
                await rig.take(*remember(rig), seconds=8.0)

    asyncio.run(all_of_it())
    rig.now += HELD_S + 1.0
    entries, forks = rig.journals.load(RUN.id)
    opened = [sealed.entry for sealed in entries]
    return {
        "written": sorted((e.author, e.seq, e.body.kind) for e in opened),
        "forks": len(forks),
        "epochs": {b.heartbeat.author for b in rig.journals.heartbeats(RUN.id)},
        "fetched": set(rig.network.fetched),
        "given up": set(rig.network.given_up),
        "jobs": {job.key for job in rig.worker.jobs},
        "stopped": rig.worker.cancelled > 0,
        "on disk": rig.ground.snapshots.held(),
    }


class Faulty:
    """Fails calls of one kind, from the k-th on, so many times."""

    def __init__(self, kind: type[Effect], first: int, error: Callable[[], Exception]) -> None:
        self.kind, self.first, self.error = kind, first, error
        self.calls = 0

    def see(self, effect: Effect) -> None:
        """Raises: what was asked for, where it is due."""
        if isinstance(effect, self.kind):
            self.calls += 1
            if self.first <= self.calls < self.first + TRIES:
                raise self.error()

    def install(self, rig: Rig, patch: pytest.MonkeyPatch) -> None:
        do = rig.daemon.executor._do

        def faulty_do(effect: Effect) -> None:
            self.see(effect)
            do(effect)

        def faulty_write(store, run, effects):  # type: ignore[no-untyped-def]
            for effect in effects:
                self.see(effect)
            write(store, run, effects)

        rig.daemon.executor._do = faulty_do
        patch.setattr(executor, "write", faulty_write)


def played(
    state: Path, patch: pytest.MonkeyPatch, faulty: Faulty | None = None
) -> tuple[dict[str, object], Rig]:
    """A session, faulty or not."""
    with rigged(state, patch) as rig:
        if faulty is not None:
            faulty.install(rig, patch)
        return play(rig), rig


@pytest.fixture(scope="module")
def unharmed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    with pytest.MonkeyPatch.context() as patch:
        found, rig = played(tmp_path_factory.mktemp("unharmed"), patch)
    assert not any("failed" in told for told in rig.told)
    assert found.pop("on disk") == set() and all(found.values())
    found["on disk"] = set()
    return found


@pytest.mark.parametrize(("code", "first"), [*((code, 1) for code in ERRORS), ("EIO", 2)])
@pytest.mark.parametrize("kind", EFFECTS, ids=lambda kind: kind.__name__)
def test_a_failing_effect_ends_nothing_loses_nothing_and_is_told(
    kind: type[Effect],
    code: str,
    first: int,
    unharmed: dict[str, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faulty = Faulty(kind, first, ERRORS[code])
    found, rig = played(tmp_path, monkeypatch, faulty)
    what = "the disk refuses the journals" if issubclass(kind, Durable) else WORDS[kind]
    said = [t for t in rig.told if what in t and (issubclass(kind, Durable) or code in t)]
    assert faulty.calls > 0
    assert bool(said) == (faulty.calls >= first), rig.told
    assert found == unharmed
    assert rig.status().troubles == ()
