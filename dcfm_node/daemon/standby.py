"""A node without a run: it pairs, links with the peers that are approved, and answers its operator.

`start` waits so while no peer is approved, and `invite` while it waits for a guest.
"""

import asyncio
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import structlog

from dcfm_node import __version__
from dcfm_node.api.client import SOCKET
from dcfm_node.api.document import RunName
from dcfm_node.api.requests import (
    AnyRequest,
    NotReady,
    PeersRequest,
    ReloadRequest,
    StatusRequest,
    Stopping,
    StopRequest,
)
from dcfm_node.api.server import Reply, serve
from dcfm_node.api.status import Peers, StartingDoing, StartingStatus, Stranger
from dcfm_node.config.pairing import Home
from dcfm_node.daemon.disk import Disk
from dcfm_node.daemon.egress import Egress
from dcfm_node.daemon.ending import COMMAND, SIGNAL, Ending, Tasks
from dcfm_node.daemon.limits import allow_connections, keep_secrets, room
from dcfm_node.daemon.network import Network
from dcfm_node.daemon.notify import notify, watchdog_interval_s
from dcfm_node.daemon.pairing import other_peers, pending_sites
from dcfm_node.daemon.reloading import Reloading
from dcfm_node.daemon.troubles import Troubles
from dcfm_node.errors import Failed
from dcfm_node.store.egress import Ledger
from dcfm_node.store.lock import lock
from dcfm_node.store.pairing import Site
from dcfm_node.store.snapshots import SnapshotStore

log = structlog.get_logger()

Told = Callable[[Site], None]


class _NoDownloads:
    """A node without a run asks for no snapshots."""

    def fetched(self, digest: bytes) -> None:
        return

    def moved(self, digest: bytes) -> None:
        return


@dataclass(frozen=True)
class Standby:
    """Answers the control socket of a node without a run."""

    network: Network
    reloading: Reloading
    ending: Ending

    def answer(self, request: AnyRequest) -> Reply:
        """Answer one request.

        Raises:
            UserError: it needs a run, or a file is wrong.
        """
        match request:
            case StatusRequest():
                return NotReady(starting=self._status())
            case PeersRequest():
                return self._peers()
            case ReloadRequest():
                return self.reloading.reload()
            case StopRequest(grace_s=grace):
                self.ending.begin(asked=COMMAND)
                return Stopping(grace_s=grace)
        raise Failed("this node takes part in no run yet", fix=_next(self._counts()))

    def _counts(self) -> tuple[int, int]:
        return len(self.reloading.peers), len(pending_sites(self.reloading.home))

    def _status(self) -> StartingStatus:
        peers, waiting = self._counts()
        approved = (
            f"{peers} peer{'s are' if peers != 1 else ' is'} approved"
            if peers
            else ("no peer is approved")
        )
        asks = f", {waiting} wait{'s' * (waiting == 1)} for approval" if waiting else ""
        why = f"it takes part in no run yet: {approved}{asks}; {_next((peers, waiting))}"
        return StartingStatus(
            node=self.reloading.home.config.name,
            version=__version__,
            run=RunName(name="", id=""),
            doing=StartingDoing(why=why),
        )

    def _peers(self) -> Peers:
        network, home = self.network, self.reloading.home
        return Peers(
            peers=(),
            others=other_peers(self.reloading.peers, network.ways(), ()),
            waiting=pending_sites(home),
            fingerprint=home.fingerprint,
            pending=tuple(Stranger(**found) for found in network.pending.values()),
            pending_more=network.crowded,
            unknown=network.crowds(),
        )


def _next(counts: tuple[int, int]) -> str:
    """What the operator may do, given how many peers are approved and how many wait."""
    peers, waiting = counts
    if waiting:
        return "see 'dcfm-node peers', compare fingerprints by phone, and 'dcfm-node peers approve'"
    if not peers:
        return "'dcfm-node invite' here, and 'dcfm-node join CODE' at the other site"
    return (
        "when all sites are approved at each: 'dcfm-node run merge', then stop this node and start"
        " it again"
    )


async def wait(
    home: Home, *, told: Told = lambda site: None, until: Callable[[], bool] = lambda: False
) -> None:
    """Pair, and answer the operator, until stopped.

    Args:
        told: called with each site that asks for the first time.
        until: asked about once a second whether to end.

    Raises:
        UserError: the node cannot start as it is set up.
    """
    config, loop = home.config, asyncio.get_running_loop()
    structlog.contextvars.bind_contextvars(node=config.name)
    async with AsyncExitStack() as stack:
        stack.enter_context(lock(config.state))
        keep_secrets()
        peers, ending = home.listed(), Ending()
        troubles = Troubles(time.monotonic)
        tasks = Tasks(troubles)
        loop.set_exception_handler(tasks.unhandled)
        disk = Disk(ending.pause, time.monotonic, config.state)
        me, names = home.keys.sign_public, {peer.sign_key: peer.name for peer in peers}
        egress = Egress(Ledger(config.state), disk, me=me, run=b"", names=names)
        await egress.begin()
        stack.push_async_callback(partial(egress.write, closed=True))
        network = Network(
            peers,
            put=lambda event: None,
            broken=ending.transfers_ended,
            disk=disk,
        )
        reloading = Reloading(home, peers, network, told=told, sent=egress.paired)
        await network.open(
            config,
            home.keys,
            SnapshotStore(config.state),
            _NoDownloads(),
            stack=stack,
            room=room(allow_connections(), len(peers)),
            sent=lambda peer, plane, frames: None,  # a node without a run sends signs of life
            ask=reloading.desk.answer,
        )
        standby = Standby(network, reloading, ending)
        server = await serve(config.state, standby.answer)
        stack.callback((config.state / SOCKET).unlink, missing_ok=True)
        stack.callback(server.close)
        reloading.sweep()
        tasks.spawn(egress.keep())
        loop.add_signal_handler(signal.SIGHUP, reloading.hang_up)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, partial(ending.begin, asked=SIGNAL))
        notify("READY=1", "STATUS=in no run yet: it waits for peers")
        log.info("waiting_for_peers", version=__version__, approved=len(peers))
        await _until_ended(ending, reloading, until)
        notify("STOPPING=1")
    log.info("stopped", why=ending.asked)


async def _until_ended(ending: Ending, reloading: Reloading, until: Callable[[], bool]) -> None:
    """Sweep invites and feed the service manager's watchdog, about once a second."""
    interval_s = watchdog_interval_s()
    while not ending.begun and not until():
        reloading.sweep()
        if interval_s is not None:
            notify("WATCHDOG=1")
        await asyncio.sleep(min(1.0, interval_s or 1.0))
    ending.check()
