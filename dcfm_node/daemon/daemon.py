"""The one loop: what happens becomes an event, what the swarm answers is carried out in order."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from dcfm_node.api.requests import AnyRequest
from dcfm_node.api.server import Reply
from dcfm_node.daemon.control import Control
from dcfm_node.daemon.disk import Disk
from dcfm_node.daemon.ending import COMMAND, Ending, Tasks
from dcfm_node.daemon.eta import Rates
from dcfm_node.daemon.executor import Executor
from dcfm_node.daemon.handling import Handling
from dcfm_node.daemon.importer import BundleImporter
from dcfm_node.daemon.inbox import Inbox, Present
from dcfm_node.daemon.limits import pace
from dcfm_node.daemon.network import Network
from dcfm_node.daemon.notify import Teller, watchdog_interval_s
from dcfm_node.daemon.page import PageKeeper
from dcfm_node.daemon.registry import Registry
from dcfm_node.daemon.restoring import Restoring
from dcfm_node.daemon.runner import JobRunner
from dcfm_node.daemon.supervisor import WorkerSupervisor
from dcfm_node.daemon.troubles import Troubles
from dcfm_node.store.archive import earlier_lineage
from dcfm_node.swarm.effects import Drain, Tick
from dcfm_node.wire.envelope import Sealed

SILENCE_S = 5.0
"""The longest the loop may sleep: the service manager's watchdog is fed from it."""

OBSERVE_S = 4.0
"""Seconds between two looks at problems and at the speed of work."""


@dataclass(frozen=True)
class Daemon:
    """One node: its parts, made by `compose`, and the loop that drives them."""

    clock: Callable[[], float]
    started_at: float
    troubles: Troubles
    ending: Ending
    tasks: Tasks
    disk: Disk
    inbox: Inbox
    present: Present
    restoring: Restoring
    network: Network
    supervisor: WorkerSupervisor
    runner: JobRunner
    executor: Executor
    handling: Handling
    importer: BundleImporter
    registry: Registry
    rates: Rates
    page: PageKeeper | None = None

    async def serve(self) -> None:
        """Handle events until the daemon is to end.

        Raises:
            UserError: it cannot go on.
        """
        teller = Teller(watchdog_interval_s(), self.clock())
        while not self.ending.begun:
            patience_s = min(SILENCE_S, max(0.0, self.present.node.deadline - self.clock()))
            await self.handle(patience_s)
            teller.turned(self.present.node, self.clock())
        self.ending.check()

    async def handle(self, patience_s: float) -> None:
        """Handle the next event, or the time if none comes within so many seconds."""
        event = await self.inbox.next(patience_s)
        await self.handling.take(event)
        self.executor.again(self.present.node)
        self.inbox.handled(event)

    async def observe(self) -> None:
        """See, now and then, what is wrong and how fast silos work, whether anybody asks or not:
        so it is known since when. Never ends."""
        while True:
            try:
                self._control().observe()
            except Exception as error:
                self.troubles.caught("looking at the run", error)
            await asyncio.sleep(OBSERVE_S)

    def answer(self, request: AnyRequest) -> Reply | Awaitable[Reply]:
        """Answer one request of the control API."""
        return self._control().handle(request)

    def set_gossip(self, interval_s: float) -> None:
        """Gossip in another rhythm from now on, also after the node is restored from the disk."""
        self.restoring.set_gossip(interval_s)
        self.present.node.set_pace(pace(interval_s))

    def stop(self, grace_s: float, asked: str = COMMAND) -> None:
        """Take no new work, give the present one `grace_s` seconds to end, then stop.

        Args:
            asked: who asked for it, in words.
        """
        self.inbox.put(Drain())
        self.tasks.spawn(self._drain(grace_s, asked))

    async def _drain(self, grace_s: float, asked: str) -> None:
        deadline = self.clock() + grace_s
        while self.present.node.work is not None and self.clock() < deadline:
            await asyncio.sleep(0.1)
        self.ending.begin(asked=asked)
        self.inbox.put(Tick())

    def _control(self) -> Control:
        node, restoring = self.present.node, self.restoring

        def kept(said: Sealed) -> bool:
            at = (said.entry.author, said.entry.seq)
            return restoring.journals.holds(node.run, *at, said.envelope)

        return Control(
            node=node,
            network=self.network,
            runner=self.runner,
            supervisor=self.supervisor,
            snapshots=restoring.snapshots,
            disk=self.disk,
            own_troubles=self.troubles,
            ready=restoring.ready,
            features=restoring.settings.features,
            started_at=self.started_at,
            clock=self.clock,
            put=self.inbox.put,
            kept=kept,
            importer=self.importer,
            earlier=partial(earlier_lineage, restoring.settings.config.state, node.manifest),
            stop=self.stop,
            page=self.page,
            registry=self.registry,
            rates=self.rates,
        )
