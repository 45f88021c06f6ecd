"""The one loop: what happens becomes an event, what the swarm answers is carried out in order."""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Coroutine, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import structlog

from dcfm_node import __version__
from dcfm_node.api.client import SOCKET
from dcfm_node.api.requests import AnyRequest, NotReady
from dcfm_node.api.server import Reply, serve
from dcfm_node.daemon.control import Control
from dcfm_node.daemon.deltas import Deltas, restore
from dcfm_node.daemon.disk import Disk, Said, open_journals
from dcfm_node.daemon.executor import Executor
from dcfm_node.daemon.forms import NETWORK, Form, Forms
from dcfm_node.daemon.handling import Handling
from dcfm_node.daemon.importer import BundleImporter
from dcfm_node.daemon.imports import LastImports
from dcfm_node.daemon.intake import Intake
from dcfm_node.daemon.legacy import kept, legacy
from dcfm_node.daemon.limits import (
    Settings,
    allow_connections,
    changed,
    check_counts,
    keep_secrets,
    pace,
    quota,
    room,
)
from dcfm_node.daemon.network import Network
from dcfm_node.daemon.notify import notify, watchdog_interval_s
from dcfm_node.daemon.runner import JobRunner
from dcfm_node.daemon.status import starting
from dcfm_node.daemon.supervisor import WorkerSupervisor
from dcfm_node.daemon.troubles import Troubles
from dcfm_node.daemon.upkeep import look_after
from dcfm_node.errors import Failed
from dcfm_node.store.archive import earlier_lineage
from dcfm_node.store.lock import lock
from dcfm_node.store.snapshots import SnapshotStore
from dcfm_node.swarm.effects import (
    Cancel,
    Drain,
    Drop,
    Effect,
    Event,
    Fetch,
    LinkUp,
    Received,
    Report,
    Send,
    Start,
    Tick,
    Unfetch,
    Work,
    WorkFailed,
)
from dcfm_node.swarm.node import Node
from dcfm_node.wire.envelope import Signer, manifest_bytes, run_id
from dcfm_node.worker.messages import Line, Ready, Setup

log = structlog.get_logger()

DISK_RETRY_S = 2.0
DUE = Tick()
"""What the loop tells itself when nobody else has anything to say."""
SILENCE_S = 5.0
"""The longest the loop may sleep: the service manager's watchdog is fed from it."""


class Daemon:
    """One node. `run` returns when it was stopped."""

    node: Node
    runner: JobRunner
    forms: Forms
    intake: Intake
    ready: Ready

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = time.monotonic
        self.started_at = self.clock()
        config = settings.config
        self._desk: Control | None = None
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._stopped = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken = ""
        self.disk = Disk(self._pause)
        self.troubles = Troubles(self.clock)
        me, run = settings.keys.sign_public, run_id(settings.manifest)
        self.executor = Executor(
            run, self.disk, self.troubles, do=self._do, put=self.put, clock=self.clock
        )
        self.handling = Handling(
            me,
            self.troubles,
            node=lambda: self.node,
            carry_out=lambda effects: self.executor.carry_out(self.journals, effects),
            begin_anew=self._begin_anew,
            clock=self.clock,
        )
        self.network = Network(
            [peer for peer in settings.peers if peer.sign_key != me],
            put=self.put,
            moved=lambda digest: self.deltas.moved(digest),  # noqa: PLW0108 - made in `run`
            arrived=lambda digest: self.deltas.fetched(digest),  # noqa: PLW0108
            broken=self._end,
            disk=self.disk,
        )
        self.supervisor = WorkerSupervisor(
            Setup(
                manifest=manifest_bytes(settings.manifest).hex(),
                data=config.data,
                codec=config.codec,
                scratch=config.state,
                device=config.worker.device,
                threads=config.worker.threads,
                bf16=config.worker.bf16,
                compile=config.worker.compile,
                checkpoint_s=config.worker.checkpoint_s,
                publish_s=config.worker.publish_s,
            ),
            config.worker.devices,
            config.state / "worker.log",
            self._on_worker,
        )

    # Lifecycle

    async def run(self) -> None:
        """Serve until stopped.

        Raises:
            UserError: the node cannot start as it is set up, or not go on; nothing is left running.
        """
        config = self.settings.config
        asyncio.get_running_loop().set_exception_handler(self._unhandled)
        structlog.contextvars.bind_contextvars(
            node=config.name, run=run_id(self.settings.manifest).hex()[:8]
        )
        async with AsyncExitStack() as stack:
            stack.enter_context(lock(config.state))
            keep_secrets()
            hang_up = partial(log.warning, "hangup", why="HUP changes nothing; 'stop' ends a node")
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hang_up)
            places = room(allow_connections(), len(self.settings.peers))
            run = run_id(self.settings.manifest)
            self.journals, said = open_journals(config.state / "journals.sqlite", run)
            stack.callback(self.journals.close)
            self.imports = LastImports(config.state / "bundles.json", run)
            self._inherited = legacy(self.settings)
            self.snapshots = SnapshotStore(config.state)
            self.runner = JobRunner(
                self.supervisor,
                self.snapshots,
                config.state / "work",
                put=self.put,
                spawn=self._spawn,
            )
            self.deltas = Deltas(
                self.snapshots,
                self.settings.manifest.transfer.width,
                fetch=self.network.fetch,
                cancel=self.network.unfetch,
                arrived=lambda digest: self._spawn(self.intake.check(digest)),
                spawn=self._spawn,
                named=lambda digest: digest in self.node.replica.view.named,
            )
            server = await serve(config.state, self._answer)
            stack.callback((config.state / SOCKET).unlink, missing_ok=True)
            stack.callback(server.close)
            log.info("worker_starting", data=config.data.format)
            self.ready = await self.supervisor.start()
            self.forms = Forms(self.settings.manifest, self.ready, self.snapshots)
            self.intake = Intake(self.forms, self.troubles, node=lambda: self.node, put=self.put)
            stack.push_async_callback(self.supervisor.close)
            self.node = await self._first_node(said)
            await self.network.open(config, self.settings.keys, self.snapshots, stack, places)
            self._desk = self._control()
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, self.stop, 0.0)
            notify("READY=1", f"STATUS=taking part in {self.settings.manifest.name}")
            log.info("started", version=__version__, device=self.ready.device)
            if self.ready.device == "cpu" and (config.worker.bf16 or config.worker.compile):
                log.warning("ignored", settings="worker.bf16, worker.compile", why="no GPU is here")
            self._spawn(look_after(self.snapshots, self.put))
            await self._serve()
            notify("STOPPING=1")
        log.info("stopped")

    def _answer(self, request: AnyRequest) -> Reply | Awaitable[Reply]:
        if self._desk is None:
            name, manifest = self.settings.config.name, self.settings.manifest
            return NotReady(starting=starting(name, manifest, self.supervisor.doing))
        return self._desk.handle(request)

    def _control(self) -> Control:
        return Control(
            node=self.node,
            network=self.network,
            runner=self.runner,
            supervisor=self.supervisor,
            snapshots=self.snapshots,
            disk=self.disk,
            own_troubles=self.troubles,
            ready=self.ready,
            started_at=self.started_at,
            clock=self.clock,
            put=self.put,
            kept=lambda said: self.journals.holds(
                self.node.run, said.entry.author, said.entry.seq, said.envelope
            ),
            importer=BundleImporter(
                node=self.node,
                snapshots=self.snapshots,
                folder=self.settings.config.state / "import",
                handle=self._hand_in,
                check=self.intake.check,
                unfetch=self.network.unfetch,
                imports=self.imports,
            ),
            earlier=partial(earlier_lineage, self.settings.config.state, self.node.manifest),
            stop=self.stop,
        )

    def stop(self, grace_s: float) -> None:
        """Take no new work, give the present one `grace_s` seconds to end, then stop."""
        self.put(Drain())
        self._spawn(self._drain(grace_s))

    async def _drain(self, grace_s: float) -> None:
        deadline = self.clock() + grace_s
        while self.node.work is not None and self.clock() < deadline:
            await asyncio.sleep(0.1)
        self._stopped.set()
        self.put(Tick())

    def _restored(self, said: Said) -> Node:
        """A node that knows what the store kept, and has not begun."""
        settings = self.settings
        node = Node(
            signer=Signer(settings.keys.sign),
            manifest=settings.manifest,
            counts=self.ready.counts,
            quota=quota(settings.manifest, self.ready.tensors, self.ready.router),
            distils=settings.config.distils,
            rng=random.Random(),
            wall_ms=time.time_ns() // 1_000_000 - int(self.clock() * 1_000),
            pace=pace(settings.config.gossip.interval_s),
            inherited=self._inherited,
        )
        node.restore(*said)
        return node

    async def _first_node(self, said: Said) -> Node:
        manifest = self.settings.manifest
        check_counts(self.ready.counts, self.settings.config.name)
        node = self._restored(said)
        self.journals.enter(node.run, manifest_bytes(manifest))
        view = node.replica.view
        for warning in (other := changed(view.joins.get(node.me), self.ready.counts)):
            log.warning("private_data", why=str(warning))
        self.ready = self.ready.model_copy(update={"warnings": (*self.ready.warnings, *other)})
        forms = {digest: set(by.values()) for digest, by in self.forms.asked(view).items()}
        for digest in kept(manifest, node.inherited):
            forms[digest] = {*forms.get(digest, ()), NETWORK}
        node.held |= await asyncio.to_thread(self.forms.intact, forms)
        await asyncio.to_thread(restore, self.snapshots, view.deltas, node.held, view.named)
        return node

    # The loop

    def put(self, event: Event) -> None:
        """Hand the loop an event. While it stands still for the disk, or for what fails, what peers
        say is let pass: gossip says it again."""
        if self.disk.waiting and isinstance(event, Received):
            return
        if isinstance(event, Received | LinkUp):
            if (heard := self.handling.admitted(event)) is None:
                return
            event = heard
        if isinstance(event, LinkUp):
            self.imports.forget(self.settings.manifest.silo_name(event.peer))
        self._events.put_nowait(event)

    async def _hand_in(self, event: Event) -> None:
        """The same, and wait until what it led to is carried out."""
        self.put(event)
        await self._events.join()

    async def _serve(self) -> None:
        watchdog = watchdog_interval_s()
        fed_at = self.clock()
        while not self._stopped.is_set():
            try:
                patience = min(SILENCE_S, max(0.0, self.node.deadline - self.clock()))
                event = await asyncio.wait_for(self._events.get(), patience)
            except TimeoutError:
                event = DUE
            await self.handling.take(event)
            self.executor.again(self.node)
            if event is not DUE:
                self._events.task_done()
            if watchdog is not None and self.clock() - fed_at >= watchdog:
                fed_at = self.clock()
                notify("WATCHDOG=1")
        if self._broken:
            raise Failed(self._broken, fix="start it again, as a service manager does by itself")

    def _begin_anew(self) -> None:
        """From what is on the disk, as after a restart."""
        old, run = self.node, self.node.run
        self.executor.attempt(Cancel())
        self.node = self._restored((*self.journals.load(run), self.journals.heartbeats(run)))
        self.node.held |= old.held & self.snapshots.held()
        self._desk = self._control()
        for peer in old.exchange.linked():
            self.put(LinkUp(peer))

    async def _pause(self) -> None:
        """Until a write is tried again; not while the node is being stopped."""
        notify("WATCHDOG=1")
        if self._stopped.is_set():
            raise Failed("stopped while the disk refused the journals", fix="make room on the disk")
        await asyncio.sleep(DISK_RETRY_S)

    def _do(self, effect: Effect) -> None:
        match effect:
            case Send(peer, message):
                self.network.send(peer, message)
            case Start(work):
                if doubtful := self.forms.doubtful(work, self.node.replica.view):
                    self._spawn(self._start_checked(work, doubtful))
                else:
                    self.runner.start(work, self.node, self.ready.data)
            case Cancel():
                self.runner.cancel()
            case Fetch(snapshot):
                delta = self.node.replica.view.deltas.get(snapshot.digest)
                self.deltas.fetch(snapshot, delta)
            case Unfetch(digest):
                self.deltas.cancel(digest)
            case Drop(digest):
                self.snapshots.remove(digest)
                if digest in self.node.replica.view.deltas:
                    self.deltas.drop(self.node.replica.view.deltas[digest])
            case Report(event, fields, level):
                getattr(log, level)(event, **fields)

    # What comes in

    def _on_worker(self, line: Line) -> None:
        try:
            self.runner.hear(line)
        except Exception as error:
            why = self.troubles.caught("hearing the worker", error)
            self.executor.attempt(Cancel())
            if (work := self.node.work) is not None:
                self.put(WorkFailed(work, why))

    async def _start_checked(self, work: Work, doubtful: Sequence[tuple[bytes, Form]]) -> None:
        """Begin work that would load what was checked for another use than this."""
        try:
            flaw = await self.intake.doubt(doubtful)
            if not flaw and self.node.work == work:
                self.runner.start(work, self.node, self.ready.data)
        except Exception as error:
            flaw = self.troubles.caught("starting work", error)
        if flaw:
            self.put(WorkFailed(work, flaw))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        """What a task leaves undone is asked for again; that it failed is told."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.troubles.caught("a task of this node", error)

    def _unhandled(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What raised in a callback of the loop, where nobody else would hear of it."""
        error = context.get("exception") or RuntimeError(context["message"])
        self.troubles.caught("a callback of this node", error)

    def _end(self) -> None:
        """Without the thread that moves snapshots no run can end: a start mends that."""
        self._broken = "the thread that moves snapshots ended by a defect; see the log"
        self._stopped.set()
