"""Handlers of the control API."""

import asyncio
import resource
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dcfm_node.api.problems import Problem
from dcfm_node.api.requests import (
    AnyRequest,
    ForkProof,
    ImportRequest,
    JournalRequest,
    PeersRequest,
    ProofRequest,
    ReloadRequest,
    RunRequest,
    StatusRequest,
    Stopping,
    StopRequest,
    StudentRequest,
    StudentsRequest,
    Withdrawn,
    WithdrawRequest,
)
from dcfm_node.api.server import Reply
from dcfm_node.api.status import (
    Machine,
    Peers,
    PeerStatus,
    Status,
    Stranger,
    Strangers,
    WorkerStatus,
)
from dcfm_node.api.students import StudentFiles
from dcfm_node.daemon.disk import Disk, low
from dcfm_node.daemon.eta import Rates
from dcfm_node.daemon.explain import explain, failing
from dcfm_node.daemon.facts import journal_facts, run_facts, students_facts
from dcfm_node.daemon.importer import BundleImporter
from dcfm_node.daemon.network import Network
from dcfm_node.daemon.page import PageKeeper
from dcfm_node.daemon.problems import data_problems
from dcfm_node.daemon.registry import Registry
from dcfm_node.daemon.runner import JobRunner
from dcfm_node.daemon.status import Surroundings, silo_statuses, status
from dcfm_node.daemon.students import student_files
from dcfm_node.daemon.supervisor import WorkerSupervisor
from dcfm_node.daemon.troubles import Troubles
from dcfm_node.errors import Failed
from dcfm_node.records.entries import Withdraw, check_reason
from dcfm_node.store.snapshots import SnapshotStore
from dcfm_node.swarm.effects import Event, Leave
from dcfm_node.swarm.node import Node
from dcfm_node.swarm.proof import bundle as bundle_fork
from dcfm_node.wire.envelope import Sealed
from dcfm_node.worker.messages import Ready

PATIENCE_S = 10.0
"""How long a command waits until what it asks for is on the disk."""


@dataclass(frozen=True)
class Control:
    """Answers the requests of the control API.

    Attributes:
        clock: seconds, the daemon's own.
        put: hands the swarm an event.
        kept: whether an entry is on the disk.
        importer: imports bundles, and knows what they brought.
        earlier: gives the lineage of the run that this one continues.
        stop: begins to stop. Its argument is how many seconds the present work may take to end.
        registry: knows since when problems last.
        rates: how fast silos work.
        features: names of the numbers of a sample, if they are known.
        page: keeps the page running, if this node has one.
    """

    node: Node
    network: Network
    runner: JobRunner
    supervisor: WorkerSupervisor
    snapshots: SnapshotStore
    disk: Disk
    own_troubles: Troubles
    ready: Ready
    started_at: float
    clock: Callable[[], float]
    put: Callable[[Event], None]
    kept: Callable[[Sealed], bool]
    importer: BundleImporter
    earlier: Callable[[], bytes | None]
    stop: Callable[[float], None]
    registry: Registry
    rates: Rates
    features: Sequence[str] = ()
    page: PageKeeper | None = None

    def observe(self) -> None:
        """Let the registry of problems and the rates of work see the present state."""
        self._status()

    def handle(self, request: AnyRequest) -> Reply | Awaitable[Reply]:
        """Answer one request.

        Raises:
            UserError: it cannot be done.
        """
        replica = self.node.replica
        match request:
            case StatusRequest():
                return self._status()
            case PeersRequest():
                return self._peers()
            case RunRequest():
                return run_facts(replica.journals, replica.view, self.node.me)
            case StudentsRequest():
                held = self.node.held.__contains__
                return students_facts(replica.journals, replica.view, held)
            case StudentRequest(digest=digest):
                return self._student(digest)
            case JournalRequest(silo=silo):
                silo = silo or self.node.manifest.silo_name(self.node.me)
                return journal_facts(replica.journals, replica.view, silo)
            case ProofRequest(silo=silo):
                return self._proof(silo)
            case ImportRequest(folder=folder):
                return self.importer.take_in(Path(folder))
            case WithdrawRequest(reason=reason):
                return self._withdraw(reason)
            case ReloadRequest():  # answered by `Reception`, once the network stands
                raise Failed("the node is starting", fix="try again in a few seconds")
            case StopRequest(grace_s=grace):
                self.stop(grace)
                return Stopping(grace_s=grace)

    def _status(self) -> Status:
        idle = self.supervisor.problems()
        free, total = self.snapshots.disk()
        problems = (
            *self.disk.problems(),
            *low(free),
            *self.own_troubles.problems(),
            *idle,
            *failing(self.node),
            *self.runner.problems(),
            *data_problems(self.node.replica.view, self.ready.warnings),
            *self.network.problems(),
            *(self.page.problems() if self.page is not None else ()),
        )
        traffic = self.network.traffic().values()
        machine = Machine(
            uptime_s=round(self.clock() - self.started_at, 1),
            disk_free=free,
            disk_total=total,
            snapshots_bytes=self.snapshots.bytes_held(),
            bytes_sent=sum(sent for sent, _ in traffic),
            bytes_received=sum(received for _, received in traffic),
            troubles=self.own_troubles.facts(),
            peak_rss_mb=_peak_rss_mb(self.supervisor.pid),
            worker=WorkerStatus(
                device=self.ready.device, pid=self.supervisor.pid, metrics=self.runner.metrics
            ),
            **dict(self._strangers()),
        )
        why = idle[0].sentence if idle else ""
        return status(self.node, self.clock(), self._around(problems, why, machine))

    def _around(
        self, problems: Sequence[Problem] = (), idle: str = "", machine: Machine | None = None
    ) -> Surroundings:
        return Surroundings(
            problems=problems,
            idle=idle,
            carried=self.importer.carried,
            ways=self.network.ways(),
            clocks=self.network.clocks(),
            refusals=self.network.refusals,
            features=self.features,
            addresses=self.network.addresses(),
            traffic=self.network.traffic(),
            rates=self.rates,
            registry=self.registry,
            machine=machine or Machine(),
        )

    def _peers(self) -> Peers:
        silos = silo_statuses(self.node, self.clock(), self._around())
        peers = tuple(PeerStatus(**dict(silo)) for silo in silos if not silo.own)
        return Peers(peers=peers, **dict(self._strangers()))

    def _strangers(self) -> Strangers:
        network = self.network
        return Strangers(
            pending=tuple(Stranger(**found) for found in network.pending.values()),
            pending_more=network.crowded,
            unknown=network.crowds(),
        )

    def _student(self, wish: str) -> StudentFiles:
        """All that `student fetch` needs to write the folder."""
        replica = self.node.replica
        return student_files(
            replica.journals, replica.view, wish, self.snapshots.path, self.earlier()
        )

    def _proof(self, wish: str) -> ForkProof:
        """Two entries of a silo that contradict each other, for others to check."""
        manifest = self.node.manifest
        forks = self.node.replica.journals.forks
        found = {manifest.silo_name(author): fork for author, fork in forks.items()}
        if wish not in found:
            raise Failed(
                f"this node holds no proof that {wish!r} signed two histories",
                fix=f"one of {', '.join(found)}" if found else "'dcfm-node status' names culprits",
            )
        fork = found[wish]
        if fork.takes_back:
            raise Failed(
                f"{wish} took back what others had built on, which two entries alone do not show",
                fix="the run's records show it: 'dcfm-node journal --silo', of all silos",
            )
        return ForkProof(silo=wish, proof=bundle_fork(manifest, fork).hex())

    async def _withdraw(self, reason: str) -> Withdrawn:
        """Leave the run, once. When the answer comes, the record is on the disk and on its way to
        the peers. A second request gets the reason that was given first."""
        reason = check_reason(reason)
        already = self.node.me in self.node.replica.view.withdrawn
        exchange = self.node.exchange
        if not already:
            await self._until(lambda: exchange.recovery.writable or exchange.usurped)
            if exchange.usurped or not exchange.recovery.writable:
                why = "another node signs with this node's key" if exchange.usurped else ""
                raise Failed(
                    "this silo has not withdrawn, since its node may not write yet:"
                    f" {why or explain(self.node).why}",
                    fix="see 'dcfm-node status --explain', and ask again once its node may",
                )
            self.put(Leave(reason))
        await self._until(lambda: self._withdrawal() is not None)
        if (said := self._withdrawal()) is None:
            why = "; ".join(map(str, (*self.disk.problems(), *self.own_troubles.problems())))
            raise Failed(
                f"this silo has not withdrawn yet: {why or 'its node is too busy'}",
                fix="ask again: the withdrawal is lost if the node stops before it is written",
            )
        return Withdrawn(already=already, reason=said.reason)

    def _withdrawal(self) -> Withdraw | None:
        """This silo's withdrawal, once it is on the disk."""
        if self.node.me not in self.node.replica.view.withdrawn:
            return None
        for said in reversed(self.node.replica.journals.chains[self.node.me]):
            if isinstance(said.entry.body, Withdraw):
                return said.entry.body if self.kept(said) else None
        return None

    async def _until(self, what: Callable[[], bool]) -> None:
        """Wait until something is so, at most PATIENCE_S."""
        deadline = self.clock() + PATIENCE_S
        while not what() and self.clock() < deadline:
            await asyncio.sleep(0.05)


def _peak_rss_mb(worker: int | None) -> float:
    """High-water mark of the daemon and of its worker together, in MB."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round((own + _peak_of(worker)) / 1024, 1)


def _peak_of(pid: int | None) -> int:
    if pid is None:
        return 0
    try:
        with open(f"/proc/{pid}/status") as lines:  # noqa: PTH123 - a kernel file, not a path
            return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return 0
