"""The worker process as the daemon sees it: started, given jobs, killed, started again.

Every life of it is listened to as the first is. What the first said of data, device and networks
is what the run goes on with: a later one that says anything else gets no job, and `status` says
why, until one is as the first was.
"""

import asyncio
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import structlog
from pydantic import ValidationError

from dcfm_node.api.problems import THIS_NODE, Code, Problem
from dcfm_node.daemon.worker_log import WorkerLog
from dcfm_node.errors import Failed, UserError
from dcfm_node.worker.ending import how_it_ended, kills_for_memory
from dcfm_node.worker.messages import (
    LINE,
    SETUP,
    WORKER,
    Broken,
    Done,
    Job,
    Line,
    Progress,
    Ready,
    Setup,
    Starting,
)

log = structlog.get_logger()

MAX_LINE_BYTES = 16 << 20
RESTART_S = (1.0, 60.0)
"""Pause before a worker that died is started again: first, and at most, doubling in between. After
one that lived as long as the longest pause, or came farther with its job, it is the first again."""
SILENT_S = 600.0
"""A worker that says so long not even what it does, before it is up, hangs: reading data and
starting other ranks are told apart."""
WATCH_S = 0.5
READS = "reads the private data"
"""What the worker says that it does while the data can be at fault."""
PUT_BACK = "put the data back, or restart the node to train on what is there"
END_S = 10.0
"""How long a process that was killed may take to be gone, in seconds."""


class WorkerSupervisor:
    """Keeps one worker process alive and hands it one job at a time.

    Args:
        devices: ranks that share the work.
        log_file: takes the worker's own complaints, the newest of them.
        command: what to run.
        pauses: in place of RESTART_S.
        silent_s: in place of SILENT_S.

    Attributes:
        doing: what the worker does before it is up.
    """

    def __init__(
        self,
        setup: Setup,
        devices: int,
        log_file: Path,
        *,
        command: Sequence[str] = WORKER,
        pauses: tuple[float, float] = RESTART_S,
        silent_s: float = SILENT_S,
    ) -> None:
        self._setup, self._devices = setup, devices
        self._notify: Callable[[Line], None] = lambda line: None
        self._command, self._pauses, self._silent_s = command, pauses, silent_s
        self._log = WorkerLog(log_file)
        self._process: Process | None = None
        self._complaints: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[Ready] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._first: Ready | None = None
        self._job: Job | None = None
        self._done = 0
        self._mark = ("", 0)
        self._up = False
        self._unfit: str | None = ""
        self._trouble = ""
        self._data_fault = False
        self._fix = ""
        self.doing = "starts"

    @property
    def pid(self) -> int | None:
        """The worker's process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def problems(self) -> list[Problem]:
        """Why no worker is up, if it ended by itself."""
        what = f"its training process {self._trouble}"
        return [Code.WORKER_DOWN.problem(THIS_NODE, what, fix=self._fix)] * bool(self._trouble)

    async def start(self) -> Ready:
        """Start the worker and hear that it is fit.

        Raises:
            UserError: the private data or the settings do not fit; nothing is left running.
        """
        self._ready = asyncio.get_running_loop().create_future()
        self._keeper = asyncio.create_task(self._keep(), name="worker")
        try:
            self._first = await self._ready
        except BaseException:
            await self.close()
            raise
        for warning in self._first.warnings:
            if not warning.unscaled:  # else the run standardises, and `status` tells if it does not
                log.warning("private_data", why=str(warning))
        for note in self._first.notes:
            log.info("private_data", note=note)
        return self._first

    def submit(self, job: Job, notify: Callable[[Line], None]) -> None:
        """Give the worker a job. It survives a worker's death, if that one came farther with it
        than the one before; else the death is its failure.

        Args:
            notify: called with each line about the job, on the loop.
        """
        self._job, self._done, self._notify = job, 0, notify
        if self._up:
            self._write(job.model_dump_json())

    def cancel(self) -> None:
        """Drop the job. A worker that has it is killed: it may be at any instant anyway."""
        given, self._job = self._job is not None and self._up, None
        if given:
            self._end("")

    async def close(self) -> None:
        """End the worker, and wait until it is gone, or does not go."""
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
            self._kill()
            await self._gone()

    # Its lives

    async def _keep(self) -> None:
        clock, pause = asyncio.get_running_loop().time, self._pauses[0] / 2
        while True:
            began = clock()
            try:
                why = await self._live()
            except OSError as error:
                why = f"cannot be started: {error}"
            except Exception as error:  # a defect of ours must be seen, and not be the last life
                log.error("defect", exc_info=error)
                why = f"was given up: {type(error).__name__}: {error}"
            farther = self._came_farther()
            well = not why or farther or clock() - began >= self._pauses[1]
            pause = next_pause(pause, well=well, pauses=self._pauses)
            self._bury(why, pause, farther)
            await asyncio.sleep(pause)

    async def _live(self) -> str:
        """One life of a worker process: why it ended, empty if somebody here wished it."""
        killed, self._unfit, self.doing = kills_for_memory(), None, "starts"
        self._data_fault = False
        self._log.forget()
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            limit=MAX_LINE_BYTES,
            start_new_session=True,
            env=environment(self._setup, self._devices),
        )
        if process.stdout is None or process.stderr is None:
            raise AssertionError("the worker was started with pipes")
        self._complaints = asyncio.create_task(self._log.drain(process.stderr))
        heir = asyncio.create_task(self._outlive(process))
        self._expect()
        try:
            self._write(self._setup.model_dump_json())
            async for raw in process.stdout:
                self._hear(raw)
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), END_S)
        finally:
            heir.cancel()
            self._unexpect()
            self._kill()
            await self._gone()
        if self._unfit is not None:
            return self._unfit
        code = process.returncode if process.returncode is not None else -signal.SIGKILL
        return how_it_ended(code, said=self._log.last_line, for_memory=kills_for_memory() > killed)

    async def _outlive(self, process: Process) -> None:
        """Once the process is gone, end what it started, which may hold its pipes open. (Its exit
        is in `returncode` at once, and `wait` waits for the pipes as well.)"""
        while process.returncode is None:
            await asyncio.sleep(WATCH_S)
        self._kill()

    async def _gone(self) -> None:
        """Wait for what was killed. What the kernel does not end must not keep the daemon."""
        if self._process is None or self._complaints is None:
            return
        try:
            await asyncio.wait_for(self._process.wait(), END_S)
        except TimeoutError:
            log.error("worker_does_not_end", pid=self._process.pid)
        await asyncio.wait({self._complaints}, timeout=END_S)
        self._complaints.cancel()

    def _bury(self, why: str, pause: float, farther: bool) -> None:
        """A life is over. Who waits for the first is told; the present job may have failed."""
        given, self._up = self._up and self._job is not None, False
        if not why:
            log.info("worker_ended", why="its work was cancelled")
            return
        known = self._unfit is not None
        more = f"; see {self._log.path}" if self._log.last_line and not known else ""
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(
                Failed(f"the training process {why}", fix=f"mend that{more}, and start again")
            )
            return
        trouble = f"{why}{more}; it is started again by itself"
        if trouble != self._trouble:
            event = "worker_unfit" if known else "worker_died"
            log.warning(event, why=why + more, again_in_s=round(pause, 1))
        self._trouble, self._fix = trouble, self._what_to_do()
        if given and self._job is not None:
            self._blame(self._job, why, farther)

    def _what_to_do(self) -> str:
        """The fix of what ended this life; empty for the usual one, which names worker.log."""
        if self._data_fault:
            return PUT_BACK
        return "" if self._log.path.exists() else "see the node's log; it starts again by itself"

    def _came_farther(self) -> bool:
        """Whether this life came farther with its job than those before it."""
        key, done = self._mark
        before = done if self._job is not None and self._job.key == key else 0
        return self._up and self._job is not None and self._done > before

    def _blame(self, job: Job, why: str, farther: bool) -> None:
        """A worker died over a job. A second one that comes no farther tells that it is the job."""
        if job.key == self._mark[0] and not farther:
            self._job = None
            self._notify(Broken(key=job.key, reason=f"the training process {why}"))
        else:
            self._mark = job.key, self._done

    # What it says

    def _hear(self, raw: bytes) -> None:
        try:
            line = LINE.validate_json(raw)
        except ValidationError:
            log.debug("worker_said", text=raw.decode(errors="replace").rstrip())
            return
        match line:
            case Starting(doing=doing):
                self.doing = doing
                self._expect()
            case Ready():
                self._unexpect()
                self._on_ready(line)
            case Broken(key=key) if key == SETUP:
                self._on_unfit(line)
            case _ if self._job is not None and line.key == self._job.key:
                if isinstance(line, Progress):
                    self._done = max(self._done, line.done)
                if isinstance(line, Done | Broken):
                    self._job = None
                self._notify(line)

    def _on_ready(self, ready: Ready) -> None:
        if self._unfit is not None:
            return  # it was ended while it said so
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(ready)
            self._first = ready
        elif self._first is not None and (why := changes(self._first, ready)):
            self._data_fault = other_data(self._first, ready)
            self._end(f"gets no work: {why}")
            return
        self._up, self._trouble, self._done = True, "", 0
        if self._job is not None:
            self._write(self._job.model_dump_json())

    def _on_unfit(self, line: Broken) -> None:
        """It will not come up: the settings or the data are at fault. It ends by itself."""
        kind = UserError if line.exit_code == UserError.exit_code else Failed
        self._data_fault = kind is UserError and self.doing == READS
        if self._ready is not None and not self._ready.done():
            first, *rest = line.reason.split("\n")
            self._ready.set_exception(kind(first, more=[text.strip() for text in rest]))
        self._unfit = "cannot start: " + line.reason.replace("\n  fix: ", "; ")

    def _expect(self) -> None:
        """Hear of it in time, or end it."""
        self._unexpect()
        later = asyncio.get_running_loop().call_later
        why = f"hung: it {self.doing}, and said nothing for {self._silent_s:g} s"
        self._alarm = later(self._silent_s, self._end, why)

    def _unexpect(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()

    # What is done to it

    def _write(self, line: str) -> None:
        stdin = self._process.stdin if self._process is not None else None
        if stdin is not None and not stdin.is_closing():
            stdin.write(line.encode() + b"\n")

    def _end(self, why: str) -> None:
        """Kill it, for a reason that is known here; empty if nothing is wrong."""
        self._unfit, self._up = why, False
        self._kill()

    def _kill(self) -> None:
        """Every process of its group: it may have started others. They need no warning, since all
        that they keep on disk is whole at any instant."""
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)


def next_pause(last: float, *, well: bool, pauses: tuple[float, float] = RESTART_S) -> float:
    """Seconds to wait before a worker is started again: coming up is not enough to be well."""
    first, most = pauses
    return first if well else min(2 * last, most)


def other_data(first: Ready, now: Ready) -> bool:
    """Whether a worker read other data than the first did."""
    return (first.counts, first.data) != (now.counts, now.data)


def changes(first: Ready, now: Ready) -> str:
    """What a worker says otherwise than the first did, and what to do; empty if nothing."""
    back = (
        "once it is as it was, this node goes on by itself; to train on what is there, restart it"
    )
    if other_data(first, now):
        was, is_ = (f"{sum(n for _, n in of.counts)} samples" for of in (first, now))
        if was == is_:
            is_ = "as many, and other ones"
        return (
            f"the private data is not what this node was started with ({was} to train on, now"
            f" {is_}): {back}"
        )
    if first.device != now.device:
        return f"it was started on {first.device}, and is now on {now.device}: {back}"
    # Sums of other threads may differ in the last digit; the data do not.
    if (
        first.model_copy(
            update={"warnings": now.warnings, "notes": now.notes, "moments": now.moments}
        )
        != now
    ):
        return "it makes other networks than at first: the software changed; restart the node"
    return ""


def environment(setup: Setup, devices: int) -> Mapping[str, str]:
    """Of a worker: as the daemon's, with the first rank's place among the ranks, and how many
    threads torch takes before it is told."""
    threads = setup.threads or (1 if devices > 1 else 0)
    given = {"OMP_NUM_THREADS": str(threads)} if threads else {}
    return {**os.environ, **given, "RANK": "0", "WORLD_SIZE": str(devices)}
