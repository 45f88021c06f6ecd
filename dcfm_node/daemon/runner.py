"""Runs jobs: one piece of the swarm's work at a time, from digests to a held snapshot."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

import structlog

from dcfm_node.api.problems import THIS_NODE, Code, Problem
from dcfm_node.daemon.covered import gaps
from dcfm_node.daemon.supervisor import WorkerSupervisor
from dcfm_node.daemon.troubles import Troubles
from dcfm_node.daemon.work import job_for
from dcfm_node.errors import Failed
from dcfm_node.records.entries import Delta
from dcfm_node.store.delta import encode
from dcfm_node.store.snapshots import SnapshotStore
from dcfm_node.swarm.effects import (
    AuditExperts,
    Checkpointed,
    Distil,
    Event,
    Score,
    Train,
    Work,
    Worked,
    WorkFailed,
    WorkProgressed,
)
from dcfm_node.swarm.node import Node
from dcfm_node.swarm.outcome import base_of
from dcfm_node.worker.messages import Broken, Done, Hindered, Line, Progress, Ready, Saved, Starting

log = structlog.get_logger()


class JobRunner:
    """Turns work into jobs, and what the worker says into events.

    Args:
        folder: private folder for checkpoints and outputs.
        data: digest of the private data.
        put: takes an event for the swarm.
        spawn: runs a coroutine beside the loop.

    Attributes:
        metrics: the newest figures of the present work.
    """

    def __init__(
        self,
        supervisor: WorkerSupervisor,
        snapshots: SnapshotStore,
        folder: Path,
        troubles: Troubles,
        *,
        data: str,
        put: Callable[[Event], None],
        spawn: Callable[[Coroutine[None, None, None]], None],
    ) -> None:
        self._supervisor, self._snapshots, self._folder = supervisor, snapshots, folder
        self._troubles, self._data = troubles, data
        self._put, self._spawn = put, spawn
        self._present: tuple[str, Work, Path] | None = None
        self._silos: dict[str, bytes] = {}
        self._base: Path | None = None
        self._width = 4
        self.metrics: dict[str, float] = {}
        self._hindrance, self._withheld = "", ""

    def problems(self) -> list[Problem]:
        """Why there are no checkpoints, or no expert. The swarm counts failures."""
        what = f"its training goes on without checkpoints: {self._hindrance}"
        found = [Code.CHECKPOINTS_STOPPED.problem(THIS_NODE, what)] * bool(self._hindrance)
        if self._withheld:
            why, _, fix = self._withheld.partition("\n  fix: ")
            found.append(Code.EXPERT_WITHHELD.problem(THIS_NODE, why, fix=fix))
        return found

    def start(self, work: Work, node: Node) -> None:
        """Begin a piece of work, or resume it from its checkpoint.

        What cannot be begun has failed: nothing that a record names may end this process.
        """
        try:
            self._begin(work, node)
        except Exception as error:
            self._present = None
            self._fail(work, f"it cannot be begun: {_words(error)}")

    def _begin(self, work: Work, node: Node) -> None:
        job = job_for(
            work,
            manifest=node.manifest,
            me=node.me,
            view=node.replica.view,
            path=self._path,
            folder=self._folder,
            data=self._data,
        )
        self._folder.mkdir(exist_ok=True)
        for stale in self._folder.iterdir():
            # A worker that was killed while it wrote leaves a scratch file of the present job too.
            if not stale.name.startswith(job.key) or stale.suffix == ".tmp":
                stale.unlink()
        self._present = (job.key, work, job.output)
        self._silos = {silo.name: silo.key for silo in node.manifest.roster}
        transfer = node.manifest.transfer
        base = base_of(work, node.replica.view) if transfer.delta else None
        self._base, self._width = self._snapshots.path(base) if base else None, transfer.width
        self.metrics = {}
        for problem in gaps(node.replica.view):
            log.warning(problem.code.value, why=problem.sentence, fix=problem.fix)
        log.info("work_started", job=job.key)
        self._supervisor.submit(job, self.hear)

    def cancel(self) -> None:
        """Drop the present work."""
        self._present = None
        self._supervisor.cancel()

    def hear(self, line: Line) -> None:
        """Take a line of the worker's. Where that fails, the work has failed."""
        present = self._present
        try:
            self._hear(line)
        except Exception as error:
            why = self._troubles.caught("hearing the worker", error)
            self.cancel()
            if present is not None:
                self._put(WorkFailed(present[1], why))

    def _hear(self, line: Line) -> None:
        if (
            self._present is None
            or isinstance(line, Starting | Ready)
            or line.key != self._present[0]
        ):
            return
        key, work, output = self._present
        match line:
            case Progress():
                self.metrics = line.metrics
                self._put(WorkProgressed(line.done, line.total))
            case Saved() if isinstance(work, Distil):
                self._spawn(self._publish(work, line.path, line.step))
            case Hindered(reason=reason):
                self._hindrance = reason.replace("\n  fix: ", "; ")
                log.warning("checkpoints_hindered", why=reason or "no more")
            case Done():
                self._present, self._hindrance = None, ""
                if isinstance(work, Train):
                    self._withheld = ""
                log.info("work_done", job=key, **_rounded(line.metrics))
                self._spawn(self._adopt(work, output, line))
            case Broken():
                self._present = None
                if isinstance(work, Train):
                    self._withheld = line.reason if line.withheld else ""
                if isinstance(work, Distil) and work.resume is not None:
                    # What was made on from another's checkpoint may be what failed.
                    output.with_suffix(".checkpoint").unlink(missing_ok=True)
                self._fail(work, line.reason)

    def _fail(self, work: Work, reason: str) -> None:
        self._put(WorkFailed(work, reason.replace("\n  fix: ", "; ")))

    async def _adopt(self, work: Work, output: Path, done: Done) -> None:
        """Hand over what was made, or tell why not: the swarm waits for one of them."""
        try:
            if isinstance(work, Score | AuditExperts):
                scores = {self._silos[name]: given for name, given in done.scores.items()}
                self._put(Worked(work, None, done.metrics, scores))
                return
            delta = await asyncio.to_thread(self._delta, self._base, output)
            snapshot = await asyncio.to_thread(self._snapshots.adopt, output)
        except Exception as error:
            self._fail(work, f"what it made cannot be kept: {_words(error)}")
        else:
            self._put(Worked(work, snapshot, done.metrics, delta=delta))

    def _delta(self, base: Path | None, output: Path) -> Delta | None:
        """What changed since the base, adopted too, if that is smaller."""
        if base is None:
            return None
        coded = output.with_suffix(".delta")
        encode(base, output, coded, self._width)
        if coded.stat().st_size >= output.stat().st_size:
            return None
        return Delta(base=bytes.fromhex(base.stem), coded=self._snapshots.adopt(coded))

    async def _publish(self, work: Distil, path: Path, step: int) -> None:
        try:
            snapshot = await asyncio.to_thread(self._snapshots.adopt, path)
        except OSError as error:
            log.warning("checkpoint_kept_back", step=step, why=str(error))
            return
        self._put(Checkpointed(work, snapshot, step))

    def _path(self, digest: bytes) -> Path:
        path = self._snapshots.path(digest)
        if path is None:
            raise AssertionError(f"snapshot {digest.hex()[:8]} was said to be held")
        return path


def _words(error: Exception) -> str:
    """Why something failed; the log has the traceback where it is a defect of ours."""
    if isinstance(error, Failed | OSError):
        return str(error)
    log.error("defect", exc_info=error)
    return f"{type(error).__name__}: {error}"


def _rounded(metrics: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.4g}") for name, value in metrics.items()}
