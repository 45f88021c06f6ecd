"""The page's process, as the daemon sees it: started with the node, and started again when it ends.

Nothing that comes over HTTP reaches this process. The page asks over the control socket, as the
commands do, and gets no key: the service manager's credentials stay here.
"""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import structlog
from pydantic import BaseModel, ValidationError

from dcfm_node.api.problems import THIS_NODE, Code, Problem
from dcfm_node.daemon.supervisor import next_pause
from dcfm_node.worker.ending import how_it_ended

log = structlog.get_logger()

PAUSES_S = (1.0, 300.0)
"""Pause before a page that ended is started again: first, and at most, doubling in between."""
LONG_S = 60.0
"""A page that lived so long was well, in seconds."""
END_S = 5.0
MAX_LINE_BYTES = 64 << 10
KEPT_BACK = ("CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""Variables of the environment that are the daemon's alone."""


class PageLine(BaseModel):
    """What the page's process says on its stdout."""

    page: str
    why: str = ""
    fix: str = ""


def command(config: Path) -> Sequence[str]:
    """What starts the page of a node."""
    return (sys.executable, "-P", "-m", "dcfm_node.page", "--config", str(config), "--supervised")


class PageKeeper:
    """Keeps the page's process running.

    Args:
        command: what to run.
        clock: seconds.
        pauses: in place of PAUSES_S.
    """

    def __init__(
        self,
        command: Sequence[str],
        clock: Callable[[], float],
        *,
        pauses: tuple[float, float] = PAUSES_S,
    ) -> None:
        self._command, self._clock, self._pauses = command, clock, pauses
        self._process: Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._trouble, self._fix = "", ""
        self._failed_at = 0.0

    def problems(self) -> list[Problem]:
        """Why there is no page, if its process ended by itself."""
        if not self._trouble:
            return []
        since = self._clock() - self._failed_at
        return [
            Code.PAGE_DOWN.problem(THIS_NODE, self._trouble, fix=self._fix, since_s=since),
        ]

    def start(self) -> None:
        """Start the page, beside the loop."""
        self._keeper = asyncio.create_task(self._keep(), name="page")

    async def close(self) -> None:
        """End the page."""
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper

    async def _keep(self) -> None:
        pause = self._pauses[0] / 2
        while True:
            began = self._clock()
            try:
                why, fix = await self._live()
            except OSError as error:
                why, fix = f"cannot be started: {error.strerror or error}", ""
            except Exception as error:  # a defect of ours must be seen, and not end the page
                log.error("defect", exc_info=error)
                why, fix = f"was given up: {type(error).__name__}: {error}", ""
            well = self._clock() - began >= LONG_S
            pause = next_pause(pause, well=well, pauses=self._pauses)
            trouble = f"its page does not answer: {why}; the run goes on"
            if trouble != self._trouble:
                log.warning("page_ended", why=why, fix=fix, again_in_s=round(pause, 1))
                self._failed_at = self._clock()
            self._trouble, self._fix = trouble, fix
            await asyncio.sleep(pause)

    async def _live(self) -> tuple[str, str]:
        """One life of the process: why it ended, and what to do."""
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            limit=MAX_LINE_BYTES,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if name not in KEPT_BACK},
        )
        last = PageLine(page="starting")
        try:
            if process.stdout is None:
                raise AssertionError("the page was started with pipes")
            async for raw in process.stdout:
                last = self._hear(raw) or last
            await process.wait()
        finally:
            await self._end(process)
        code = process.returncode if process.returncode is not None else 0
        return last.why or how_it_ended(code), last.fix

    def _hear(self, raw: bytes) -> PageLine | None:
        try:
            line = PageLine.model_validate_json(raw)
        except ValidationError:
            log.debug("page_said", text=raw.decode(errors="replace").rstrip())
            return None
        if line.page == "ready":
            self._trouble, self._fix = "", ""
        return line

    async def _end(self, process: Process) -> None:
        """End the process: it leaves by itself once its stdin ends."""
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), END_S)
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
