"""Writes that the disk refuses, and files that it damaged.

A refused write is shown by `status` and tried again until the disk takes it. A damaged journal is
set aside and recovered from the peers (SPEC 3.5).
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import structlog

from dcfm_node.api.problems import THIS_NODE, Code, Problem
from dcfm_node.daemon.troubles import is_the_machines
from dcfm_node.errors import Failed
from dcfm_node.store.journals import Damaged, JournalStore, set_aside
from dcfm_node.swarm.effects import Effect, Persist, PersistFork, PersistHeartbeat
from dcfm_node.wire.envelope import Sealed, SealedHeartbeat

log = structlog.get_logger()

LOW_BYTES = 200_000_000
"""With less than this free, the next snapshots may not fit."""

Said = tuple[list[Sealed], list[tuple[Sealed, Sealed]], list[SealedHeartbeat]]
"""Entries in (author, seq) order, pairs that prove forks, and the heartbeats that show epochs."""


def open_journals(path: Path, run: bytes) -> tuple[JournalStore, Said]:
    """The journals, and what they hold of a run. A damaged file is moved aside: the node then knows
    nothing, and its peers tell it how its own journal ends before it writes anything.

    Raises:
        Failed: the file cannot be used.
    """
    try:
        return _load(path, run)
    except Damaged as error:
        kept = set_aside(path)
        log.error("journals_damaged", why=error.what, kept_as=str(kept), next="ask the peers")
        return _load(path, run)


def _load(path: Path, run: bytes) -> tuple[JournalStore, Said]:
    store = JournalStore(path)
    try:
        return store, (*store.load(run), store.heartbeats(run))
    except BaseException:
        store.close()
        raise


def write(store: JournalStore, run: bytes, effects: Sequence[Effect]) -> None:
    """Carry out effects of one kind. All must be on the disk before the next effect; it does no
    harm if some are there already."""
    match effects[0]:
        case Persist():
            said = [effect.sealed for effect in effects if isinstance(effect, Persist)]
            rows = ((s.entry.author, s.entry.seq, s.envelope) for s in said)
            store.append_many(run, rows)
        case PersistHeartbeat():
            heartbeats = [
                effect.sealed for effect in effects if isinstance(effect, PersistHeartbeat)
            ]
            store.keep_heartbeats(run, [(b.heartbeat.author, b.envelope) for b in heartbeats])
        case _:
            for effect in effects:
                if isinstance(effect, PersistFork):
                    first, second = effect.first, effect.second
                    proof = (first.envelope, second.envelope)
                    store.record_fork(run, first.entry.author, effect.seq, *proof)


def low(free: int | None) -> list[Problem]:
    """Whether little room is left.

    Args:
        free: bytes that this node may still write; None if unknown.
    """
    if free is None or free >= LOW_BYTES:
        return []
    what = f"{free / 1e6:.1f} MB are free on the disk of the state folder"
    return [Code.DISK_LOW.problem(THIS_NODE, what)]


class Disk:
    """Repeats writes that must not be lost, and knows which ones the disk refused.

    Args:
        pause: waits between two tries.
        clock: seconds.
        folder: where it writes; for the operator.
    """

    def __init__(
        self,
        pause: Callable[[], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
        folder: Path | None = None,
    ) -> None:
        self._pause, self._clock = pause, clock
        self._where = f" in {folder}" if folder is not None else ""
        self._refused: dict[str, tuple[str, float]] = {}
        """By what was refused: why the last time, and since when."""
        self.waiting = False
        """Whether the loop waits until the journals are written."""
        self.tell: Callable[[bool], None] = lambda refuses: None
        """Called when the disk begins to refuse writes, and when it takes them all again."""

    def problems(self) -> list[Problem]:
        """What the disk refuses at present."""
        return [
            Code.DISK_FULL.problem(
                THIS_NODE,
                f"the disk refuses {what}{self._where}: {why}",
                since_s=self._clock() - since,
            )
            for what, (why, since) in self._refused.items()
        ]

    def refused(self, what: str, why: str) -> None:
        """A write failed; it will be tried again."""
        if what not in self._refused:
            log.error("disk_refused", what=what, why=why)
        first = not self._refused
        _, since = self._refused.get(what, ("", self._clock()))
        self._refused[what] = why, since
        if first:
            self.tell(True)

    def accepted(self, what: str) -> None:
        """A write succeeded."""
        if self._refused.pop(what, None) is not None:
            log.info("disk_accepted", what=what)
            if not self._refused:
                self.tell(False)

    async def insist(
        self,
        what: str,
        write: Callable[[], None],
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        """Write, however long it takes. Nothing that depends on the write may happen before it.

        Args:
            meanwhile: called after each try that the disk refused.

        Raises:
            Failed: the node is being stopped.
            Damaged: the file is not what was written. The next start sets it aside.
        """
        while True:
            try:
                write()
            except Exception as error:
                refused = isinstance(error, Failed) and not isinstance(error, Damaged)
                if not refused and not is_the_machines(error):
                    raise
                self.refused(what, getattr(error, "what", "") or str(error) or "out of memory")
                self.waiting = True
                meanwhile()
                await self._pause()
            else:
                self.waiting = False
                self.accepted(what)
                return
