"""Carries out what the swarm answers, in order. An effect that fails is told and, where it must not
be lost, tried again; it never ends the loop."""

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from itertools import groupby

import structlog

from dcfm_node.daemon.deltas import Deltas
from dcfm_node.daemon.disk import Disk, write
from dcfm_node.daemon.forms import Form
from dcfm_node.daemon.inbox import Present
from dcfm_node.daemon.network import Network
from dcfm_node.daemon.runner import JobRunner
from dcfm_node.daemon.troubles import Troubles
from dcfm_node.daemon.vetting import Vetting
from dcfm_node.store.journals import JournalStore
from dcfm_node.store.snapshots import SnapshotStore
from dcfm_node.swarm.effects import (
    Cancel,
    Drop,
    Durable,
    Effect,
    Event,
    Fetch,
    Report,
    Send,
    Start,
    Unfetch,
    Work,
    WorkFailed,
)
from dcfm_node.swarm.node import Node
from dcfm_node.swarm.view import View

log = structlog.get_logger()

RETRY_S = 5.0
WORDS: dict[type[Effect], str] = {
    Send: "sending",
    Start: "starting work",
    Cancel: "stopping work",
    Fetch: "asking for a snapshot",
    Unfetch: "giving a download up",
    Drop: "deleting a snapshot",
    Report: "logging",
}
"""What `status` says that fails. What must be durable is insisted on and told by the disk."""


class Executor:
    """The daemon's hands.

    Args:
        put: hands the swarm an event.
        spawn: runs a coroutine beside the loop.
        clock: seconds.
    """

    def __init__(
        self,
        journals: JournalStore,
        disk: Disk,
        troubles: Troubles,
        present: Present,
        *,
        network: Network,
        runner: JobRunner,
        vetting: Vetting,
        deltas: Deltas,
        snapshots: SnapshotStore,
        put: Callable[[Event], None],
        spawn: Callable[[Coroutine[None, None, None]], None],
        clock: Callable[[], float],
    ) -> None:
        self._journals, self._disk, self._troubles = journals, disk, troubles
        self._present, self._network, self._runner = present, network, runner
        self._vetting, self._deltas, self._snapshots = vetting, deltas, snapshots
        self._put, self._spawn, self._clock = put, spawn, clock
        self._undone: dict[tuple[type[Effect], bytes], Effect] = {}
        """What is tried again, by kind and snapshot; so never more than there are snapshots."""
        self._retry_at = 0.0

    async def carry_out(self, effects: Sequence[Effect]) -> None:
        """What tells of an entry or epoch waits until the disk took it (SPEC 3.5.6).

        Raises:
            Failed: the node was stopped while the disk refused, or the journals are damaged.
        """
        for kind, group in groupby(effects, type):
            if issubclass(kind, Durable):
                kept = partial(write, self._journals, self._present.node.run, list(group))
                await self._disk.insist("the journals", kept, self._show_life)
            else:
                for effect in group:
                    self.attempt(effect)

    def attempt(self, effect: Effect) -> None:
        """Carry one out, or tell why not and see that it is not lost."""
        try:
            self._do(effect)
        except Exception as error:
            why = self._troubles.caught(WORDS[type(effect)], error)
            # Gossip says again what was not sent, and a log line is only a line.
            if isinstance(effect, Start):
                self._put(WorkFailed(effect.work, why))  # the swarm asks again after a pause
            elif isinstance(effect, Fetch | Unfetch | Drop | Cancel):
                self._undone[type(effect), _about(effect)] = effect
                self._retry_at = self._clock() + RETRY_S

    def _show_life(self) -> None:
        """Peers learn why this node is still, while it waits for its disk."""
        for effect in self._present.node.while_disk_refuses():
            self.attempt(effect)

    def again(self, node: Node) -> None:
        """Try what failed once more, as far as it is still wanted."""
        if not self._undone or self._clock() < self._retry_at:
            return
        undone, self._undone = self._undone, {}
        for effect in undone.values():
            if _wanted(effect, node):
                self.attempt(effect)

    def _do(self, effect: Effect) -> None:
        """Carry out an effect that need not be durable."""
        match effect:
            case Send(peer, message):
                self._network.send(peer, message)
            case Start(work):
                self._start(work)
            case Cancel():
                self._runner.cancel()
            case Fetch(snapshot):
                self._deltas.fetch(snapshot, self._view().deltas.get(snapshot.digest))
            case Unfetch(digest):
                self._deltas.cancel(digest)
            case Drop(digest):
                self._snapshots.remove(digest)
                if (delta := self._view().deltas.get(digest)) is not None:
                    self._deltas.drop(delta)
            case Report(event, fields, level):
                getattr(log, level)(event, **fields)

    def _start(self, work: Work) -> None:
        if doubtful := self._vetting.doubtful(work):
            self._spawn(self._start_vetted(work, doubtful))
        else:
            self._runner.start(work, self._present.node)

    async def _start_vetted(self, work: Work, doubtful: Sequence[tuple[bytes, Form]]) -> None:
        """Begin work that would load what was checked for another use than this."""
        try:
            flaw = await self._vetting.doubt(doubtful)
            if not flaw and self._present.node.work == work:
                self._runner.start(work, self._present.node)
        except Exception as error:
            flaw = self._troubles.caught("starting work", error)
        if flaw:
            self._put(WorkFailed(work, flaw))

    def _view(self) -> View:
        return self._present.node.replica.view


def _about(effect: Effect) -> bytes:
    match effect:
        case Fetch(snapshot):
            return snapshot.digest
        case Unfetch(digest) | Drop(digest):
            return digest
    return b""


def _wanted(effect: Effect, node: Node) -> bool:
    """Whether the swarm has not changed its mind since."""
    match effect:
        case Fetch(snapshot):
            return snapshot.digest in node.fetching
        case Unfetch(digest):
            return digest not in node.fetching
        case Drop(digest):
            return digest not in node.held and digest not in node.fetching
    return node.work is None  # a Cancel: what runs now was begun since
