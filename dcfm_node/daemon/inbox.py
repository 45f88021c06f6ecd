"""Events that wait for the loop, and the node that will handle them."""

import asyncio
from dataclasses import dataclass

from dcfm_node.daemon.aside import Aside
from dcfm_node.daemon.disk import Disk
from dcfm_node.daemon.imports import LastImports
from dcfm_node.records.manifest import Manifest
from dcfm_node.swarm.effects import Event, LinkUp, Received, Tick
from dcfm_node.swarm.node import Node

DUE = Tick()
"""What the loop gets when nobody else has anything to say."""


@dataclass
class Present:
    """The node of this daemon. After a failure another takes its place (`handling`)."""

    node: Node


class Inbox:
    """The loop's queue.

    Attributes:
        paused: what peers say is let pass: gossip says it again.
    """

    def __init__(self, manifest: Manifest, disk: Disk, aside: Aside, imports: LastImports) -> None:
        self._manifest, self._disk, self._aside, self._imports = manifest, disk, aside, imports
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self.paused = False

    def put(self, event: Event) -> None:
        """Queue an event. While the loop stands still for the disk, or for what fails, what peers
        say is let pass."""
        if (self.paused or self._disk.waiting) and isinstance(event, Received):
            return
        if isinstance(event, Received | LinkUp):
            if (heard := self._aside.without(event)) is None:
                return
            event = heard
        if isinstance(event, LinkUp):
            self._imports.forget(self._manifest.silo_name(event.peer))
        self._events.put_nowait(event)

    async def hand_in(self, event: Event) -> None:
        """Queue an event, and wait until what it led to is carried out."""
        self.put(event)
        await self._events.join()

    async def next(self, patience_s: float) -> Event:
        """The next event; `DUE` if none comes in time. Say `handled` of it afterwards."""
        try:
            return await asyncio.wait_for(self._events.get(), patience_s)
        except TimeoutError:
            return DUE

    def handled(self, event: Event) -> None:
        """What this event led to is carried out."""
        if event is not DUE:
            self._events.task_done()

    def empty(self) -> bool:
        """Whether no event waits."""
        return self._events.empty()
