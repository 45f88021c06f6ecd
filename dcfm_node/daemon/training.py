"""The worker process as the daemon sees it: started, given jobs, killed, started again."""

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog
from pydantic import ValidationError

from dcfm_node.errors import Failed, UserError
from dcfm_node.worker.messages import LINE, Broken, Done, Job, Line, Ready, Setup

log = structlog.get_logger()

MAX_LINE_BYTES = 16 << 20
RESTART_S = (1.0, 60.0)
"""Pause before a worker that died is started again: first, and at most, doubling in between."""


class Trainer:
    """Keeps one worker process alive and hands it one job at a time.

    Args:
        devices: ranks to launch through torch.distributed.run; 1 needs no launcher.
        stderr: file that the worker's own complaints are appended to.
        notify: called with each line of the worker, on the loop.
    """

    def __init__(
        self, setup: Setup, devices: int, stderr: Path, notify: Callable[[Line], None]
    ) -> None:
        self._setup, self._devices, self._stderr = setup, devices, stderr
        self._notify = notify
        self._process: asyncio.subprocess.Process | None = None
        self._ready: asyncio.Future[Ready] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._job: Job | None = None
        self._up = False
        self._closing = False

    @property
    def pid(self) -> int | None:
        """The worker's process id while it runs."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> Ready:
        """Start the worker and hear that it is fit.

        Raises:
            UserError: the private data or the settings do not fit; nothing is left running.
        """
        self._ready = asyncio.get_running_loop().create_future()
        self._keeper = asyncio.create_task(self._keep(), name="worker")
        try:
            ready = await self._ready
        except UserError:
            await self.close()
            raise
        for warning in ready.warnings:
            log.warning("private_data", why=warning)
        return ready

    def submit(self, job: Job) -> None:
        """Give the worker a job; it survives the worker's death until it is done or cancelled."""
        self._job = job
        if self._up:
            self._write(job.model_dump_json())

    def cancel(self) -> None:
        """Drop the job. A worker that has it is killed: it may be at any instant anyway."""
        given, self._job = self._job is not None and self._up, None
        if given:
            self._kill()

    async def close(self) -> None:
        """End the worker, and wait until it is gone."""
        self._closing = True
        self._kill()
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
        if self._process is not None:
            await self._process.wait()

    async def _keep(self) -> None:
        pause = RESTART_S[0]
        while not self._closing:
            try:
                came_up = await self._run_once()
            except OSError as error:
                came_up = False
                log.error("worker_cannot_start", why=str(error))
            pause = RESTART_S[0] if came_up else min(pause * 2, RESTART_S[1])
            if not self._closing:
                await asyncio.sleep(pause)

    async def _run_once(self) -> bool:
        """One life of a worker process. True if it came up."""
        with self._stderr.open("ab") as stderr:
            self._process = await asyncio.create_subprocess_exec(
                *self._command(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                limit=MAX_LINE_BYTES,
                start_new_session=True,
                env=self._environment(),
            )
        self._write(self._setup.model_dump_json())
        if self._process.stdout is None:
            raise AssertionError("the worker was started with a pipe")
        async for raw in self._process.stdout:
            line = self._parse(raw)
            if isinstance(line, Ready):
                self._up = True
                if self._job is not None:
                    self._write(self._job.model_dump_json())
            if line is not None:
                self._take(line)
        code = await self._process.wait()
        came_up, self._up = self._up, False
        if not self._closing:
            log.warning("worker_ended", exit_code=code, log=str(self._stderr))
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(
                Failed(
                    f"the training process ended with exit code {code} before it was ready",
                    where=str(self._stderr),
                    fix="read the end of that file",
                )
            )
        return came_up

    def _command(self) -> list[str]:
        if self._devices == 1:
            return [sys.executable, "-m", "dcfm_node.worker"]
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
        return [sys.executable, *launcher, str(self._devices), "-m", "dcfm_node.worker"]

    def _environment(self) -> dict[str, str]:
        # One rank per core group: torch.distributed.run would otherwise warn and choose 1.
        threads = {"OMP_NUM_THREADS": str(self._setup.threads)} if self._setup.threads else {}
        return {**os.environ, **threads}

    def _parse(self, raw: bytes) -> Line | None:
        try:
            return LINE.validate_json(raw)
        except ValidationError:
            log.debug("worker_said", text=raw.decode(errors="replace").rstrip())
            return None

    def _take(self, line: Line) -> None:
        if self._ready is not None and not self._ready.done():
            if isinstance(line, Ready):
                self._ready.set_result(line)
            elif isinstance(line, Broken):
                first, *rest = line.reason.split("\n")
                error = UserError(first, more=[text.strip() for text in rest])
                self._ready.set_exception(error)
            return
        if isinstance(line, Ready) or self._job is None or line.key != self._job.key:
            return
        if isinstance(line, Done | Broken):
            self._job = None
        self._notify(line)

    def _write(self, line: str) -> None:
        stdin = self._process.stdin if self._process is not None else None
        if stdin is not None and not stdin.is_closing():
            stdin.write(line.encode() + b"\n")

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
