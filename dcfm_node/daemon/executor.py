"""Carries out what the swarm answers, in order. An effect that fails is told and, where it must not
be lost, tried again; it never ends the loop."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby

from dcfm_node.daemon.disk import Disk, write
from dcfm_node.daemon.troubles import Troubles
from dcfm_node.store.journals import JournalStore
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
    WorkFailed,
)
from dcfm_node.swarm.node import Node

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
        do: carries out one effect that need not be durable.
        put: takes an event for the swarm.
    """

    def __init__(
        self,
        run: bytes,
        disk: Disk,
        troubles: Troubles,
        *,
        do: Callable[[Effect], None],
        put: Callable[[Event], None],
        clock: Callable[[], float],
    ) -> None:
        self._run, self._disk, self._troubles = run, disk, troubles
        self._do, self._put, self._clock = do, put, clock
        self._undone: dict[tuple[type[Effect], bytes], Effect] = {}
        """What is tried again, by kind and snapshot; so never more than there are snapshots."""
        self._retry_at = 0.0

    async def carry_out(self, journals: JournalStore, effects: Sequence[Effect]) -> None:
        """What tells of an entry or epoch waits until the disk took it (SPEC 3.5.6).

        Raises:
            Failed: the node was stopped while the disk refused, or the journals are damaged.
        """
        for kind, group in groupby(effects, type):
            if issubclass(kind, Durable):
                kept = partial(write, journals, self._run, list(group))
                await self._disk.insist("the journals", kept)
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

    def again(self, node: Node) -> None:
        """Try what failed once more, as far as it is still wanted."""
        if not self._undone or self._clock() < self._retry_at:
            return
        undone, self._undone = self._undone, {}
        for effect in undone.values():
            if _wanted(effect, node):
                self.attempt(effect)


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
