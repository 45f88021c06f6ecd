"""Lets the swarm handle events, and outlives what it fails on.

An event may fail half-way: the swarm then holds records that are on no disk, of which it must not
tell (SPEC 3.5.6). So it is begun anew from the disk, as after a restart: it asks its peers how its
journal ends, and takes another epoch before it writes. That is safe whatever was half done, and it
is used every day. What it failed on is dropped, and whoever wrote it set aside.
"""

import asyncio
from collections.abc import Callable

import structlog

from dcfm_node.api.problems import Code
from dcfm_node.daemon.aside import Aside
from dcfm_node.daemon.executor import Executor
from dcfm_node.daemon.inbox import Inbox, Present
from dcfm_node.daemon.restoring import Restoring
from dcfm_node.daemon.troubles import Troubles, code_of, is_the_machines
from dcfm_node.errors import Failed
from dcfm_node.swarm.effects import Cancel, Event, LinkUp, Received

log = structlog.get_logger()

PAUSE_S = 5.0
"""After a failure that no message is to blame for: the next tick may fail as well."""


class Handling:
    """Has the present node handle events, and begins it anew from the disk where that fails."""

    def __init__(
        self,
        aside: Aside,
        troubles: Troubles,
        *,
        inbox: Inbox,
        present: Present,
        executor: Executor,
        restoring: Restoring,
        clock: Callable[[], float],
    ) -> None:
        self._aside, self._troubles, self._inbox = aside, troubles, inbox
        self._present, self._executor, self._restoring = present, executor, restoring
        self._clock = clock

    async def take(self, event: Event) -> None:
        """Handle an event. If that fails, find out whose input it fails on, and go on without.

        Raises:
            Failed: the node was stopped meanwhile, or its journals are damaged.
        """
        error = await self._try(event)
        if error is None:
            return
        for part in () if is_the_machines(error) else self._aside.parts(event):
            if await self._try(part) is not None:
                if (author := self._aside.blame(part)) is not None:
                    name = self._present.node.manifest.silo_name(author)
                    log.error("set_aside", peer=name, why=code_of(error))
                    what = (
                        f"this node fails ({code_of(error)}) on what {name} wrote, and takes in"
                        " nothing more of it until it is started again"
                    )
                    self._troubles.lasts(Code.EVENT_DROPPED.problem(name, what))
                return  # gossip brings what else was in it
        if not isinstance(event, Received):
            await self._pause()

    async def _try(self, event: Event) -> Exception | None:
        try:
            await self._executor.carry_out(self._present.node.handle(event, self._clock()))
        except Failed:
            raise
        except Exception as error:
            peer = getattr(event, "peer", None)
            whose = f" of {self._present.node.manifest.silo_name(peer)}" if peer is not None else ""
            self._troubles.caught(f"handling {type(event).__name__}{whose}", error)
            await self._anew()
            return error
        return None

    async def _anew(self) -> None:
        """However long it takes: nothing may be told of what the failed swarm holds."""
        while True:
            try:
                self._begin_anew()
            except Failed:
                raise
            except Exception as error:
                self._troubles.caught("beginning anew from the journals", error)
                await self._pause()
            else:
                return

    async def _pause(self) -> None:
        self._inbox.paused = True
        await asyncio.sleep(PAUSE_S)
        self._inbox.paused = False

    def _begin_anew(self) -> None:
        """From what is on the disk, as after a restart."""
        old = self._present.node
        self._executor.attempt(Cancel())
        self._present.node = self._restoring.again(old)
        for peer in old.exchange.linked():
            self._inbox.put(LinkUp(peer))
