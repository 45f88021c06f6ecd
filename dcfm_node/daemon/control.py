"""What the operator may ask of a running self."""

import asyncio
import math
import resource
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcfm_node.api.server import Answer
from dcfm_node.daemon.disk import Disk
from dcfm_node.daemon.explain import explain, failing
from dcfm_node.daemon.facts import journal_facts, student_facts, students_facts
from dcfm_node.daemon.importer import BundleImporter
from dcfm_node.daemon.network import Network
from dcfm_node.daemon.runner import JobRunner
from dcfm_node.daemon.status import status
from dcfm_node.daemon.supervisor import WorkerSupervisor
from dcfm_node.daemon.troubles import Troubles
from dcfm_node.errors import Failed
from dcfm_node.records.entries import Withdraw, check_reason
from dcfm_node.store.snapshots import SnapshotStore
from dcfm_node.swarm.effects import Event, Leave
from dcfm_node.swarm.lineage import bundle
from dcfm_node.swarm.node import Node
from dcfm_node.swarm.proof import bundle as bundle_fork
from dcfm_node.swarm.verdicts import superseding
from dcfm_node.swarm.view import View
from dcfm_node.wire.envelope import Sealed
from dcfm_node.worker.messages import Ready

PATIENCE_S = 10.0
"""How long a command waits for what it asks to be on the disk, so that its client hears of it."""
MAX_GRACE_S = 86_400.0


@dataclass(frozen=True)
class Control:
    """Handlers of the control API's commands, and what they look at.

    Attributes:
        clock: seconds, the daemon's own.
        put: takes an event for the swarm.
        kept: whether an entry is on the disk.
        importer: imports bundles, and knows what they brought.
        earlier: gives the lineage of the run that this one continues.
        stop: begins to stop, with the grace in seconds that the present work gets.
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

    def handle(self, command: str, arguments: dict[str, Any]) -> Answer | Awaitable[Answer]:
        """Answer one command."""
        if command == "import":
            return self.importer.take_in(Path(str(arguments.get("folder", ""))))
        if command == "withdraw":
            return self._withdraw(arguments)
        handlers = {
            "status": self._status,
            "peers": self._peers,
            "students": self._students,
            "student": self._student,
            "journal": self._journal,
            "proof": self._proof,
            "stop": self._stop,
        }
        if command not in handlers:
            raise Failed(f"unknown command {command!r}", fix="use the daemon's own version")
        return handlers[command](arguments)

    def _status(self, _: dict[str, Any]) -> dict[str, Any]:
        traffic = self.network.traffic().values()
        troubles = [
            *self.disk.problems(),
            *self.own_troubles.problems(),
            *self.supervisor.problems(),
            *failing(self.node),
            *self.runner.problems(),
            *self.ready.warnings,
            *self.network.problems(),
        ]
        facts = status(
            self.node, self.clock(), troubles, self.importer.carried, self.network.ways()
        )
        for silo in facts["silos"]:
            silo["refused"] = self._refused(silo)
        if (idle := self.supervisor.problems()) and self.node.work is not None:
            facts["doing"]["why"] += f"; but {idle[0]}"
        return facts | {
            "uptime_s": round(self.clock() - self.started_at, 1),
            "bytes_sent": sum(sent for sent, _ in traffic),
            "bytes_received": sum(received for _, received in traffic),
            "troubles": self.own_troubles.facts(),
            "peak_rss_mb": _peak_rss_mb(self.supervisor.pid),
            "worker": {
                "device": self.ready.device,
                "pid": self.supervisor.pid,
                "metrics": self.runner.metrics,
            },
            **self._strangers(),
        }

    def _peers(self, _: dict[str, Any]) -> dict[str, Any]:
        ways = self.network.ways()
        facts = status(self.node, self.clock(), carried=self.importer.carried, ways=ways)
        traffic = self.network.traffic()
        silos = [silo for silo in facts["silos"] if not silo["self"]]
        for silo in silos:
            sent, received = traffic.get(bytes.fromhex(silo["id"]), (0, 0))
            silo |= {"bytes_sent": sent, "bytes_received": received}
            silo["refused"] = self._refused(silo)
        return {"schema": "dcfm-node/peers/1", "peers": silos, **self._strangers()}

    def _refused(self, silo: dict[str, Any]) -> str:
        """What a peer did on its links, or why none stands."""
        failures = [] if silo["linked"] else silo["links"].get("control", {}).get("failures", [])
        dialled = failures[0]["reason"] if failures else ""
        return self.network.refusals.get(silo["name"], dialled)

    def _strangers(self) -> dict[str, Any]:
        """Unknown keys that knocked; `pending_more`: others may have, which are not kept. And
        connections that do not say whose they are, by plane."""
        network = self.network
        return {
            "pending": list(network.pending.values()),
            "pending_more": network.crowded,
            "unknown": network.crowds(),
        }

    def _students(self, _: dict[str, Any]) -> dict[str, Any]:
        exchange = self.node.exchange
        return students_facts(exchange.journals, exchange.view, self.node.held.__contains__)

    def _student(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Everything `student fetch` needs to write the folder."""
        node = self.node
        view, wish = node.exchange.view, str(arguments.get("digest", "latest"))
        students = view.valid_students()
        latest = view.latest()
        found = (
            ([latest] if latest is not None else [])
            if wish == "latest"
            else [said for said in students if said.body.snapshot.digest.hex().startswith(wish)]
        )
        if not found:
            raise (
                none_released(view)
                if wish == "latest"
                else Failed(f"no student {wish!r}", fix=_SEE)
            )
        said = found[-1]
        path = self.snapshots.path(said.body.snapshot.digest)
        if path is None or not path.is_file():  # deleted by hand: `upkeep` sees it
            raise Failed(
                "this node does not hold that student: it is on its way, or was dropped for a later"
                " one",
                fix="see 'dcfm-node status'; interim students are kept for their own round alone",
            )
        return {
            "schema": "dcfm-node/student/1",
            "path": str(path),
            "lineage": bundle(node.manifest, node.exchange.journals, self.earlier()).hex(),
            "student": student_facts(view, said),
        }

    def _journal(self, arguments: dict[str, Any]) -> dict[str, Any]:
        exchange, wish = self.node.exchange, str(arguments.get("silo", ""))
        silo = wish or self.node.manifest.silo_name(self.node.me)
        return journal_facts(exchange.journals, exchange.view, silo)

    def _proof(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Two entries of a silo that contradict each other, for others to check."""
        manifest, wish = self.node.manifest, str(arguments.get("silo", ""))
        forks = self.node.exchange.journals.forks
        found = {manifest.silo_name(author): fork for author, fork in forks.items()}
        if wish not in found:
            raise Failed(
                f"no proof is held that {wish!r} signed two histories",
                fix=f"one of {', '.join(found)}" if found else "'dcfm-node status' names culprits",
            )
        fork = found[wish]
        if fork.takes_back:
            raise Failed(
                f"{wish} took back what others had built on, which two entries alone do not show",
                fix="the run's records show it: 'dcfm-node journal --silo', of all silos",
            )
        proof = bundle_fork(manifest, fork).hex()
        return {"schema": "dcfm-node/proof/1", "silo": wish, "proof": proof}

    async def _withdraw(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Once; whoever asks again is told the reason that was given first. It is said before the
        answer is given: on the disk, and under way to the peers."""
        reason = check_reason(arguments.get("reason"))
        already = self.node.me in self.node.exchange.view.withdrawn
        exchange = self.node.exchange
        if not already:
            await self._until(lambda: exchange.recovery.writable or exchange.usurped)
            if exchange.usurped or not exchange.recovery.writable:
                why = "another node signs with this node's key" if exchange.usurped else ""
                raise Failed(
                    "this silo has not withdrawn, since its node may not write yet:"
                    f" {why or explain(self.node)['why']}",
                    fix="see 'dcfm-node status --explain', and ask again once its node may",
                )
            self.put(Leave(reason))
        await self._until(lambda: self._withdrawal() is not None)
        if (said := self._withdrawal()) is None:
            why = "; ".join([*self.disk.problems(), *self.own_troubles.problems()])
            raise Failed(
                f"this silo has not withdrawn yet: {why or 'its node is too busy'}",
                fix="ask again: it is lost if the node is stopped before it could be written",
            )
        return {
            "schema": "dcfm-node/withdraw/1",
            "withdrawn": True,
            "already": already,
            "reason": said.reason,
        }

    def _withdrawal(self) -> Withdraw | None:
        """What this silo said, once it is on the disk."""
        if self.node.me not in self.node.exchange.view.withdrawn:
            return None
        for said in reversed(self.node.exchange.journals.chains[self.node.me]):
            if isinstance(said.entry.body, Withdraw):
                return said.entry.body if self.kept(said) else None
        return None

    async def _until(self, what: Callable[[], bool]) -> None:
        """Wait for it, and not for ever."""
        deadline = self.clock() + PATIENCE_S
        while not what() and self.clock() < deadline:
            await asyncio.sleep(0.05)

    def _stop(self, arguments: dict[str, Any]) -> dict[str, Any]:
        grace = float(arguments.get("grace_s", 30.0))
        if not (math.isfinite(grace) and 0 <= grace <= MAX_GRACE_S):
            raise Failed(f"{grace} s is no time to wait", fix=f"give 0 to {MAX_GRACE_S:.0f} s")
        self.stop(grace)
        return {"schema": "dcfm-node/stop/1", "stopping": True, "grace_s": grace}


_SEE = "see 'dcfm-node student list' and 'dcfm-node status --explain'"


def none_released(view: View) -> Failed:
    """Why there is no student to fetch."""
    final = [said for said in view.valid_students() if said.body.final]
    if final and (why := superseding(view, final[-1].body)):
        left = "; ".join(f"{silo} {reason}" for silo, reason in why.items())
        digest = final[-1].body.snapshot.digest.hex()[:12]
        return Failed(
            f"the last student is superseded: {left}; no other is released yet",
            fix="so that a folder which holds it says so: dcfm-node student fetch --digest"
            f" {digest} --out DIR",
        )
    if final and view.rejected(final[-1]):
        return Failed("the last student was refused by too many silos to be released", fix=_SEE)
    return Failed("no student is released yet", fix=_SEE)


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
