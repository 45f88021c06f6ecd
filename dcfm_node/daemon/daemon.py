"""The one loop: what happens becomes an event, what the swarm answers is carried out in order."""

import asyncio
import random
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import structlog

from dcfm_node import __version__
from dcfm_node.api.server import serve
from dcfm_node.config.keys import NodeKeys
from dcfm_node.config.node import NodeConfig
from dcfm_node.config.peers import Peer
from dcfm_node.daemon.control import Control
from dcfm_node.daemon.notify import notify, watchdog_interval_s
from dcfm_node.daemon.training import Trainer
from dcfm_node.daemon.work import job_for
from dcfm_node.errors import PeerError
from dcfm_node.net import bulk, links
from dcfm_node.net.peers import LinkPeer
from dcfm_node.records.manifest import Manifest
from dcfm_node.store.journals import JournalStore
from dcfm_node.store.lock import lock
from dcfm_node.store.snapshots import SnapshotStore, describe
from dcfm_node.store.tensors import check_snapshot
from dcfm_node.swarm.effects import (
    Cancel,
    Drain,
    Effect,
    Event,
    Fetch,
    Held,
    LinkDown,
    LinkUp,
    Persist,
    PersistFork,
    Progressed,
    Received,
    Report,
    Send,
    Start,
    Tick,
    Unfetch,
    Unfit,
    Work,
    Worked,
    WorkFailed,
)
from dcfm_node.swarm.node import Node, Pace
from dcfm_node.wire.envelope import (
    Signer,
    decode_message,
    encode_message,
    manifest_bytes,
    run_id,
)
from dcfm_node.worker.messages import Broken, Done, Line, Progress, Ready, Setup

log = structlog.get_logger()

MAX_PENDING = 64
"""Unknown keys that are remembered for the operator to approve."""


@dataclass(frozen=True)
class Settings:
    """Everything one node is started with."""

    config: NodeConfig
    keys: NodeKeys
    peers: tuple[Peer, ...]
    manifest: Manifest


class Daemon:
    """One node. `run` returns when it was stopped."""

    node: Node
    ready: Ready

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = time.monotonic
        self.started_at = self.clock()
        self.metrics: dict[str, float] = {}
        self.pending: dict[str, dict[str, str]] = {}
        self.refusals: dict[str, str] = {}
        config = settings.config
        self._work_folder = config.state / "work"
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._stopped = asyncio.Event()
        self._job: tuple[str, Work, Path] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.trainer = Trainer(
            Setup(
                manifest=manifest_bytes(settings.manifest).hex(),
                data=config.data,
                device=config.worker.device,
                threads=config.worker.threads,
                checkpoint_s=config.worker.checkpoint_s,
            ),
            config.worker.devices,
            config.state / "worker.log",
            self._on_worker,
        )

    # Lifecycle

    async def run(self) -> None:
        """Serve until stopped.

        Raises:
            UserError: the node cannot start as it is set up; nothing is left running.
        """
        config = self.settings.config
        structlog.contextvars.bind_contextvars(
            node=config.name, run=run_id(self.settings.manifest).hex()[:8]
        )
        async with AsyncExitStack() as stack:
            stack.enter_context(lock(config.state))
            self._work_folder.mkdir(exist_ok=True)
            self.journals = JournalStore(config.state / "journals.sqlite")
            stack.callback(self.journals.close)
            self.snapshots = SnapshotStore(config.state)
            self.ready = await self.trainer.start()
            stack.push_async_callback(self.trainer.close)
            self.node = await self._restored_node()
            await self._open_network(stack)
            server = await serve(config.state, Control(self).handle)
            stack.callback(server.close)
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, self.stop, 0.0)
            notify("READY=1", f"STATUS=taking part in {self.settings.manifest.name}")
            log.info("started", version=__version__, device=self.ready.device)
            await self._serve()
            notify("STOPPING=1")
        log.info("stopped")

    def stop(self, grace_s: float) -> None:
        """Take no new work, give the present one `grace_s` seconds to end, then stop."""
        self.put(Drain())
        self._spawn(self._drain(grace_s))

    async def _drain(self, grace_s: float) -> None:
        deadline = self.clock() + grace_s
        while self.node.work is not None and self.clock() < deadline:
            await asyncio.sleep(0.1)
        self._stopped.set()

    async def _restored_node(self) -> Node:
        settings = self.settings
        node = Node(
            signer=Signer(settings.keys.sign),
            manifest=settings.manifest,
            counts=self.ready.counts,
            distils=settings.config.distils,
            rng=random.Random(),
            wall_ms=time.time_ns() // 1_000_000 - int(self.clock() * 1_000),
            pace=pace(settings.config.gossip.interval_s),
        )
        node.restore(*self.journals.load(node.run))
        node.held |= await asyncio.to_thread(self._intact, node.exchange.view.snapshots())
        return node

    def _intact(self, named: set[bytes]) -> set[bytes]:
        """Snapshots of this run that are on disk and sound. A disk can change a bit, and a crash
        can leave one unchecked: what is not sound is dropped, and fetched again if it is wanted."""
        found = set()
        for digest in self.snapshots.held() & named:
            if describe(self._path(digest)).digest == digest and not self._flaw(digest):
                found.add(digest)
            else:
                self.snapshots.remove(digest)
        for digest in self.snapshots.partials() - named:
            self.snapshots.discard(digest)
        return found

    async def _open_network(self, stack: AsyncExitStack) -> None:
        config, keys = self.settings.config, self.settings.keys
        peers = [
            LinkPeer(peer.sign_key, peer.name, peer.link_key, peer.control, peer.bulk)
            for peer in self.settings.peers
            if peer.sign_key != self.node.me
        ]
        self.links = links.Links(
            secret=keys.link_secret,
            public=keys.link_public,
            listen=config.listen.control,
            peers=peers,
            notify=self._on_link,
        )
        self.bulk = bulk.Bulk(
            secret=keys.link_secret,
            public=keys.link_public,
            listen=config.listen.bulk,
            peers=peers,
            files=self.snapshots,
            notify=partial(_hand_over, asyncio.get_running_loop(), self._on_bulk),
        )
        await self.links.start()
        stack.push_async_callback(self.links.close)
        self.bulk.start()
        stack.callback(self.bulk.close)

    # The loop

    def put(self, event: Event) -> None:
        """Hand the loop an event."""
        self._events.put_nowait(event)

    async def _serve(self) -> None:
        stopped = asyncio.create_task(self._stopped.wait())
        watchdog = watchdog_interval_s()
        fed_at = self.clock()
        while not stopped.done():
            try:
                patience = max(0.0, self.node.deadline - self.clock())
                event = await asyncio.wait_for(self._events.get(), patience)
            except TimeoutError:
                event = Tick()
            await self._carry_out(self.node.handle(event, self.clock()))
            if watchdog is not None and self.clock() - fed_at >= watchdog:
                fed_at = self.clock()
                notify("WATCHDOG=1")

    async def _carry_out(self, effects: list[Effect]) -> None:
        for kind, group in groupby(effects, type):
            if kind is Persist:
                entries = [effect.sealed for effect in group if isinstance(effect, Persist)]
                self.journals.append_many(
                    self.node.run, [(e.entry.author, e.entry.seq, e.envelope) for e in entries]
                )
                continue
            for effect in group:
                self._do(effect)

    def _do(self, effect: Effect) -> None:
        match effect:
            case PersistFork(first, second):
                author, seq = first.entry.author, first.entry.seq
                self.journals.record_fork(
                    self.node.run, author, seq, first.envelope, second.envelope
                )
            case Send(peer, message):
                self.links.send(peer, encode_message(message))
            case Start(work):
                self._start(work)
            case Cancel():
                self._job = None
                self.trainer.cancel()
            case Fetch(snapshot):
                self.bulk.fetch(snapshot)
            case Unfetch(digest):
                self.bulk.cancel(digest)
            case Report(event, fields, level):
                getattr(log, level)(event, **fields)

    # The worker

    def _start(self, work: Work) -> None:
        job = job_for(
            work,
            manifest=self.node.manifest,
            me=self.node.me,
            view=self.node.exchange.view,
            path=self._path,
            folder=self._work_folder,
        )
        for stale in self._work_folder.iterdir():
            if not stale.name.startswith(job.key):
                stale.unlink()
        self._job = (job.key, work, job.output)
        self.metrics = {}
        log.info("work_started", job=job.key)
        self.trainer.submit(job)

    def _path(self, digest: bytes) -> Path:
        path = self.snapshots.path(digest)
        if path is None:
            raise AssertionError(f"snapshot {digest.hex()[:8]} was said to be held")
        return path

    def _on_worker(self, line: Line) -> None:
        if self._job is None or isinstance(line, Ready) or line.key != self._job[0]:
            return
        key, work, output = self._job
        match line:
            case Progress():
                self.metrics = line.metrics
                self.put(Progressed(line.done, line.total))
            case Done():
                self._job = None
                log.info("work_done", job=key, **_rounded(line.metrics))
                self._spawn(self._adopt(work, output, line.metrics))
            case Broken():
                self._job = None
                self.put(WorkFailed(work, line.reason))

    async def _adopt(self, work: Work, output: Path, metrics: dict[str, float]) -> None:
        snapshot = (
            await asyncio.to_thread(self.snapshots.adopt, output) if output.exists() else None
        )
        self.put(Worked(work, snapshot, metrics))

    # The network

    def _on_link(self, event: links.LinkEvent) -> None:
        match event:
            case links.Up(peer):
                self.refusals.pop(self.node.manifest.silo_name(peer), None)
                log.info("link_up", peer=self.node.manifest.silo_name(peer))
                self.put(LinkUp(peer))
            case links.Down(peer):
                log.info("link_down", peer=self.node.manifest.silo_name(peer))
                self.put(LinkDown(peer))
            case links.Received(peer, data):
                self._on_message(peer, data)
            case links.Refused():
                self._on_refused(event)

    def _on_message(self, peer: bytes, data: bytes) -> None:
        try:
            self.put(Received(peer, decode_message(data)))
        except PeerError as error:
            name = self.node.manifest.silo_name(peer)
            if peer in self.node.exchange.peers:
                self.node.exchange.peers[peer].trouble = str(error)
            log.warning("refused_input", peer=name, why=str(error))

    def _on_refused(self, event: links.Refused) -> None:
        log.warning("link_refused", peer=event.name, address=event.address, why=event.reason)
        if event.name is not None:
            self.refusals[event.name] = event.reason
        elif event.link_key is not None and len(self.pending) < MAX_PENDING:
            self.pending[event.link_key] = {
                "link_key": event.link_key,
                "address": event.address,
                "reason": event.reason,
            }

    def _on_bulk(self, event: bulk.BulkEvent) -> None:
        match event:
            case bulk.Fetched(digest):
                self._spawn(self._check(digest))
            case bulk.Progressed(_, done, total) if self.node.work is None:
                self.put(Progressed(done, total))
            case bulk.BadPeer(peer, digest, reason):
                name = self.node.manifest.silo_name(peer)
                log.warning("bad_peer", peer=name, snapshot=digest.hex()[:8], why=reason)
            case bulk.FetchFailed(digest, reason, retried):
                log.error("fetch_failed", snapshot=digest.hex()[:8], why=reason, retried=retried)
                if not retried:
                    self.put(Unfit(digest, reason))
            case bulk.ServeFailed(digest, reason):
                log.error("serve_failed", snapshot=digest.hex()[:8], why=reason)
            case bulk.Crashed(reason):
                log.error("transfers_ended", why=reason)
                self._stopped.set()

    async def _check(self, digest: bytes) -> None:
        flaw = await asyncio.to_thread(self._flaw, digest)
        if not flaw:
            self.put(Held(digest))
            return
        log.warning("snapshot_refused", snapshot=digest.hex()[:8], why=flaw)
        self.snapshots.remove(digest)
        self.put(Unfit(digest, flaw))

    def _flaw(self, digest: bytes) -> str:
        """Why a snapshot on disk may not be loaded; empty if it may."""
        try:
            check_snapshot(self._path(digest), self.ready.tensors)
        except PeerError as error:
            return str(error)
        return ""

    # Figures

    def traffic_by_peer(self) -> dict[bytes, tuple[int, int]]:
        """Payload bytes (sent, received) by peer, control and bulk together."""
        total: dict[bytes, tuple[int, int]] = {}
        for stats in (self.links.stats(), self.bulk.stats()):
            for peer, (sent, received) in stats.items():
                before = total.get(peer, (0, 0))
                total[peer] = (before[0] + sent, before[1] + received)
        return total

    def traffic(self) -> tuple[int, int]:
        """Payload bytes (sent, received) over all peers."""
        counts = list(self.traffic_by_peer().values())
        return sum(sent for sent, _ in counts), sum(received for _, received in counts)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("defect", exc_info=task.exception())
            self._stopped.set()


def pace(gossip_s: float) -> Pace:
    """A term must outlast a few rounds of gossip, or votes split before they are heard."""
    return Pace(gossip_s=gossip_s, term_s=max(2.0, 8 * gossip_s))


def _hand_over(
    loop: asyncio.AbstractEventLoop,
    handle: Callable[[bulk.BulkEvent], None],
    event: bulk.BulkEvent,
) -> None:
    """From the bulk thread to the loop."""
    loop.call_soon_threadsafe(handle, event)


def _rounded(metrics: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.4g}") for name, value in metrics.items()}
