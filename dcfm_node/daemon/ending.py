"""Whether the daemon is to end, and the tasks beside its loop."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from dcfm_node.daemon.notify import notify
from dcfm_node.daemon.troubles import Troubles
from dcfm_node.errors import Failed

DISK_RETRY_S = 2.0


SIGNAL, COMMAND = "a signal ended the node", "'dcfm-node stop' ended the node"


class Ending:
    """Set once the daemon is to end.

    Attributes:
        asked: who asked for it, in words.
    """

    def __init__(self) -> None:
        self._why = self.asked = ""
        self._ending = asyncio.Event()

    @property
    def begun(self) -> bool:
        """Whether the daemon is to end."""
        return self._ending.is_set()

    def begin(self, why: str = "", *, asked: str = "") -> None:
        """End, as a failure if `why` says so: a service manager then starts the node again."""
        self._why, self.asked = self._why or why, self.asked or asked
        self._ending.set()

    def transfers_ended(self) -> None:
        """Without the thread that moves snapshots no run can end: a start mends that."""
        self.begin("the thread that moves snapshots ended by a defect; see the log")

    def check(self) -> None:
        """Raises Failed: the daemon ended because of a failure."""
        if self._why:
            raise Failed(self._why, fix="start it again, as a service manager does by itself")

    async def pause(self) -> None:
        """Wait until a write is tried again.

        Raises:
            Failed: the node is being stopped.
        """
        notify("WATCHDOG=1")
        if self.begun:
            raise Failed("stopped while the disk refused the journals", fix="make room on the disk")
        await asyncio.sleep(DISK_RETRY_S)


class Tasks:
    """Coroutines beside the loop. If one fails, the daemon continues and reports it."""

    def __init__(self, troubles: Troubles) -> None:
        self._troubles = troubles
        self.running: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run a coroutine beside the loop. What it leaves undone is asked for again."""
        task = asyncio.get_running_loop().create_task(work)
        self.running.add(task)
        task.add_done_callback(self._finished)

    def unhandled(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Takes what raised in a callback of the loop, where nobody else would hear of it."""
        error = context.get("exception") or RuntimeError(context["message"])
        self._troubles.caught("a callback of this node", error)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self.running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._troubles.caught("a task of this node", error)
