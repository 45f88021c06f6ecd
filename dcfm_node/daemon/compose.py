"""The composition root: makes a daemon's parts, in order, and runs its loop."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import structlog

from dcfm_node import __version__
from dcfm_node.api.client import SOCKET
from dcfm_node.api.requests import AnyRequest, NotReady, ReloadRequest, Stopping, StopRequest
from dcfm_node.api.server import Reply, serve
from dcfm_node.api.status import Peers
from dcfm_node.config.node import Worker
from dcfm_node.config.peers import Peer
from dcfm_node.daemon.aside import Aside
from dcfm_node.daemon.daemon import Daemon
from dcfm_node.daemon.deltas import Deltas
from dcfm_node.daemon.disk import Disk, Said, open_journals
from dcfm_node.daemon.egress import Egress
from dcfm_node.daemon.ending import SIGNAL, Ending, Tasks
from dcfm_node.daemon.eta import Rates
from dcfm_node.daemon.executor import Executor
from dcfm_node.daemon.forms import Forms
from dcfm_node.daemon.handling import Handling
from dcfm_node.daemon.importer import BundleImporter
from dcfm_node.daemon.imports import LastImports
from dcfm_node.daemon.inbox import Inbox, Present
from dcfm_node.daemon.legacy import legacy
from dcfm_node.daemon.limits import (
    Settings,
    allow_connections,
    changed,
    check_counts,
    counts_told,
    keep_secrets,
    moments_undo,
    room,
)
from dcfm_node.daemon.network import Network, no_guests
from dcfm_node.daemon.notify import notify
from dcfm_node.daemon.page import PageKeeper
from dcfm_node.daemon.page import command as page_command
from dcfm_node.daemon.pairing import other_peers, pending_sites
from dcfm_node.daemon.registry import Registry
from dcfm_node.daemon.reloading import Reloading
from dcfm_node.daemon.restoring import Restoring
from dcfm_node.daemon.runner import JobRunner
from dcfm_node.daemon.status import starting
from dcfm_node.daemon.supervisor import WorkerSupervisor
from dcfm_node.daemon.troubles import Troubles
from dcfm_node.daemon.upkeep import look_after
from dcfm_node.daemon.vetting import Vetting
from dcfm_node.data.privacy import MOMENTS_OFF, MOMENTS_UNDO
from dcfm_node.records.entries import Expert
from dcfm_node.store.egress import Ledger
from dcfm_node.store.export import refuse_moved
from dcfm_node.store.journals import JournalStore
from dcfm_node.store.lock import lock
from dcfm_node.store.snapshots import SnapshotStore
from dcfm_node.swarm.effects import DiskRefuses
from dcfm_node.wire.envelope import manifest_bytes, run_id
from dcfm_node.worker.messages import Ready, Setup

log = structlog.get_logger()


class Ground:
    """The parts that everything else stands on: they need nothing but the settings.

    Args:
        clock: seconds.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        state, run = settings.config.state, run_id(settings.manifest)
        self.settings, self.clock, self.started_at = settings, clock, clock()
        self.troubles, self.ending = Troubles(clock), Ending()
        self.tasks = Tasks(self.troubles)
        self.disk = Disk(self.ending.pause, clock, state)
        self.aside = Aside(settings.keys.sign_public)
        self.imports = LastImports(state / "bundles.json", run)
        self.inbox = Inbox(settings.manifest, self.disk, self.aside, self.imports)
        self.snapshots = SnapshotStore(state)
        self.page = _page(settings, clock)
        self.registry, self.rates = Registry(clock), Rates()
        self.disk.tell = lambda refuses: self.inbox.put(DiskRefuses(refuses))


@dataclass(frozen=True)
class Known:
    """What a node's disk and its worker say at the start.

    Attributes:
        said: what the journals hold of the run.
        inherited: this silo's expert of the run that this one continues.
    """

    journals: JournalStore
    said: Said
    inherited: Expert | None
    ready: Ready


class Reception:
    """Answers the control socket, also while the node is starting."""

    def __init__(self, settings: Settings, supervisor: WorkerSupervisor) -> None:
        self._name, self._manifest = settings.config.name, settings.manifest
        self._supervisor = supervisor
        self.daemon: Daemon | None = None
        self.reloading: Reloading | None = None
        self._roster = {silo.name for silo in settings.manifest.roster}

    def answer(self, request: AnyRequest) -> Reply | Awaitable[Reply]:
        """Hand a request to the daemon. While it is starting, stop it or say that it is."""
        if isinstance(request, ReloadRequest) and self.reloading is not None:
            return self.reloading.reload()
        if self.daemon is not None:
            answer = self.daemon.answer(request)
            return self._with_others(answer) if isinstance(answer, Peers) else answer
        if isinstance(request, StopRequest):
            signal.raise_signal(signal.SIGTERM)  # as from outside: `run` ends the start
            return Stopping(grace_s=request.grace_s)
        return NotReady(starting=starting(self._name, self._manifest, self._supervisor.doing))

    def _with_others(self, found: Peers) -> Peers:
        """Also the peers of the next run, and the sites that wait for approval."""
        if self.reloading is None or self.daemon is None:
            return found
        home, ways = self.reloading.home, self.daemon.network.ways()
        more = {
            "others": other_peers(self.reloading.peers, ways, self._roster),
            "waiting": pending_sites(home),
            "fingerprint": home.fingerprint,
        }
        return found.model_copy(update=more)


def compose(
    ground: Ground, known: Known, network: Network, supervisor: WorkerSupervisor
) -> tuple[Daemon, Forms, Deltas]:
    """A daemon's parts over its network and its worker; nothing of it runs yet."""
    settings, snapshots, put = ground.settings, ground.snapshots, ground.inbox.put
    troubles = ground.troubles
    state, spawn, clock = settings.config.state, ground.tasks.spawn, ground.clock
    restoring = Restoring(settings, known.journals, snapshots, known.ready, known.inherited, clock)
    present = Present(restoring.restored(known.said))
    forms = Forms(settings.manifest, known.ready, snapshots)
    vetting = Vetting(forms, ground.troubles, present, put)
    deltas = _deltas(ground, network, vetting, present)
    runner = JobRunner(
        supervisor, snapshots, state / "work", troubles, data=known.ready.data, put=put, spawn=spawn
    )
    executor = Executor(
        known.journals,
        ground.disk,
        ground.troubles,
        present,
        network=network,
        runner=runner,
        vetting=vetting,
        deltas=deltas,
        snapshots=snapshots,
        put=put,
        spawn=spawn,
        clock=clock,
    )
    handling = Handling(
        ground.aside,
        ground.troubles,
        inbox=ground.inbox,
        present=present,
        executor=executor,
        restoring=restoring,
        clock=clock,
    )
    importer = BundleImporter(
        present=present,
        snapshots=snapshots,
        folder=state / "import",
        handle=ground.inbox.hand_in,
        check=vetting.check,
        unfetch=network.unfetch,
        imports=ground.imports,
    )
    daemon = Daemon(
        clock=clock,
        started_at=ground.started_at,
        troubles=ground.troubles,
        ending=ground.ending,
        tasks=ground.tasks,
        disk=ground.disk,
        inbox=ground.inbox,
        present=present,
        restoring=restoring,
        network=network,
        supervisor=supervisor,
        runner=runner,
        executor=executor,
        handling=handling,
        importer=importer,
        page=ground.page,
        registry=ground.registry,
        rates=ground.rates,
    )
    return daemon, forms, deltas


def _page(settings: Settings, clock: Callable[[], float]) -> PageKeeper | None:
    """The keeper of the node's page, if it has one."""
    if settings.file is None or settings.config.page.listen is None:
        return None
    return PageKeeper(page_command(settings.file.absolute()), clock)


def _deltas(ground: Ground, network: Network, vetting: Vetting, present: Present) -> Deltas:
    return Deltas(
        ground.snapshots,
        ground.settings.manifest.transfer.width,
        fetch=network.fetch,
        cancel=network.unfetch,
        arrived=lambda digest: ground.tasks.spawn(vetting.check(digest)),
        spawn=ground.tasks.spawn,
        named=lambda digest: digest in present.node.replica.view.named,
    )


async def run(settings: Settings) -> None:
    """Take part in a run until stopped. TERM and INT end it, also while it is starting.

    Raises:
        UserError: the node cannot start as it is set up, or not go on; nothing is left running.
    """
    taking_part = asyncio.ensure_future(_take_part(settings))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, taking_part.cancel)
    try:
        await taking_part
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise  # whoever runs this cancelled it, and no signal did
        log.info("stopped", why=f"{SIGNAL} while it was starting")


async def _take_part(settings: Settings) -> None:
    """As `run`.

    Raises:
        UserError: the node cannot start as it is set up, or not go on; nothing is left running.
    """
    config, manifest, loop = settings.config, settings.manifest, asyncio.get_running_loop()
    run = run_id(manifest)
    structlog.contextvars.bind_contextvars(node=config.name, run=run.hex()[:8])
    async with AsyncExitStack() as stack:
        stack.enter_context(lock(config.state))
        refuse_moved(config.state)
        keep_secrets()
        hang_up = partial(log.warning, "hangup", why="the node is starting and reads its files")
        loop.add_signal_handler(signal.SIGHUP, hang_up)
        places = room(allow_connections(), len(settings.peers))
        journals, said = open_journals(config.state / "journals.sqlite", run)
        stack.callback(journals.close)
        inherited = legacy(settings)
        ground = Ground(settings)
        loop.set_exception_handler(ground.tasks.unhandled)
        supervisor = _supervisor(settings)
        reception = Reception(settings, supervisor)
        server = await serve(config.state, reception.answer)
        stack.callback((config.state / SOCKET).unlink, missing_ok=True)
        stack.callback(server.close)
        if ground.page is not None:
            ground.page.start()
            stack.push_async_callback(ground.page.close)
        log.info("worker_starting", data=config.data.format)
        notify(f"STATUS={manifest.name}: reading the private data")
        ready = await supervisor.start()
        stack.push_async_callback(supervisor.close)
        check_counts(counts_told(settings, ready), config.name)
        others = tuple(p for p in settings.peers if p.sign_key != settings.keys.sign_public)
        broken = ground.ending.transfers_ended
        network = Network(others, put=ground.inbox.put, broken=broken, disk=ground.disk)
        known = Known(journals, said, inherited, ready)
        daemon, forms, deltas = compose(ground, known, network, supervisor)
        await _settle(daemon, forms)
        egress = await _egress(ground, run, stack)
        reloading = _reloading(daemon, others, egress)
        await network.open(
            config,
            settings.keys,
            ground.snapshots,
            deltas,
            stack=stack,
            room=places,
            sent=egress.sent,
            ask=reloading.desk.answer if reloading is not None else no_guests,
        )
        reception.daemon, reception.reloading = daemon, reloading
        _reload_on_hangup(reloading, ground)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, daemon.stop, 0.0, SIGNAL)
        notify("READY=1")
        log.info("started", version=__version__, device=ready.device)
        _warn_of_ignored(config.worker, ready.device)
        ground.tasks.spawn(look_after(ground.snapshots, ground.inbox.put))
        ground.tasks.spawn(egress.keep())
        ground.tasks.spawn(daemon.observe())
        await daemon.serve()
        notify("STOPPING=1")
    log.info("stopped", why=ground.ending.asked)


def _warn_of_ignored(worker: Worker, device: str) -> None:
    if device == "cpu" and (worker.bf16 or worker.compile):
        log.warning("ignored", settings="worker.bf16, worker.compile", why="no GPU is here")


def _reload_on_hangup(reloading: Reloading | None, ground: Ground) -> None:
    """Let the signal HUP read the files again, and take up what changed since they were read."""
    if reloading is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloading.hang_up)
        reloading.catch_up()
        ground.tasks.spawn(reloading.watch())


async def _egress(ground: Ground, run: bytes, stack: AsyncExitStack) -> Egress:
    """The ledger of what is sent. It is written a last time once the network, opened after it, is
    closed."""
    settings = ground.settings
    egress = Egress(
        Ledger(settings.config.state),
        ground.disk,
        me=settings.keys.sign_public,
        run=run,
        names={peer.sign_key: peer.name for peer in settings.peers},
    )
    await egress.begin()
    stack.push_async_callback(partial(egress.write, closed=True))
    return egress


def _reloading(daemon: Daemon, peers: tuple[Peer, ...], egress: Egress) -> Reloading | None:
    """What takes up changed files; None for a node that was started without files."""
    settings = daemon.restoring.settings
    if settings.home is None:
        return None
    return Reloading(
        settings.home,
        peers,
        daemon.network,
        manifest=settings.manifest,
        set_gossip=daemon.set_gossip,
        sent=egress.paired,
    )


async def _settle(daemon: Daemon, forms: Forms) -> None:
    """Keep the run's manifest, find the snapshots, and say what differs from this silo's `join`."""
    node, restoring = daemon.present.node, daemon.restoring
    restoring.journals.enter(node.run, manifest_bytes(node.manifest))
    ready, join = restoring.ready, node.replica.view.joins.get(node.me)
    if join is None:  # what its join is about to tell, and for how long this node keeps the record
        told = restoring.settings.config.privacy.told
        restoring.journals.put(f"counts/{node.run.hex()}", told.encode())
    if moments_undo(restoring.settings, ready):
        log.warning("privacy", why=MOMENTS_UNDO, fix=MOMENTS_OFF)
    other = changed(join, counts_told(restoring.settings, ready))
    for warning in other:
        log.warning("private_data", why=str(warning))
    restoring.ready = ready.model_copy(update={"warnings": (*ready.warnings, *other)})
    await restoring.find_snapshots(node, forms)


def _supervisor(settings: Settings) -> WorkerSupervisor:
    config = settings.config
    worker = config.worker
    setup = Setup(
        manifest=manifest_bytes(settings.manifest).hex(),
        data=settings.data,
        codec=config.codec,
        scratch=config.state,
        device=worker.device,
        threads=worker.threads,
        bf16=worker.bf16,
        compile=worker.compile,
        checkpoint_s=worker.checkpoint_s,
        publish_s=worker.publish_s,
        membership_auc=config.privacy.membership_auc,
    )
    return WorkerSupervisor(setup, worker.devices, config.state / "worker.log")
