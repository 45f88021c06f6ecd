"""What the operator may ask of a running daemon."""

import asyncio
import resource
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from dcfm_node.daemon.status import status, student_facts
from dcfm_node.errors import Failed
from dcfm_node.swarm.effects import Leave
from dcfm_node.swarm.lineage import bundle

if TYPE_CHECKING:
    from dcfm_node.daemon.daemon import Daemon


class Control:
    """Handlers of the control API's commands."""

    def __init__(self, daemon: "Daemon") -> None:
        self._daemon = daemon
        self._commands: dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]] = {
            "status": self._status,
            "peers": self._peers,
            "students": self._students,
            "student": self._student,
            "withdraw": self._withdraw,
            "stop": self._stop,
        }

    async def handle(self, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Answer one command."""
        handler = self._commands.get(command)
        if handler is None:
            raise Failed(f"unknown command {command!r}", fix="use the daemon's own version")
        return await handler(arguments)

    async def _status(self, _: dict[str, Any]) -> dict[str, Any]:
        daemon = self._daemon
        traffic = daemon.network.traffic().values()
        return status(daemon.node, daemon.clock()) | {
            "uptime_s": round(daemon.clock() - daemon.started_at, 1),
            "bytes_sent": sum(sent for sent, _ in traffic),
            "bytes_received": sum(received for _, received in traffic),
            "peak_rss_mb": _peak_rss_mb(daemon.trainer.pid),
            "worker": {
                "device": daemon.ready.device,
                "pid": daemon.trainer.pid,
                "metrics": daemon.bench.metrics,
            },
            "pending": list(daemon.network.pending.values()),
        }

    async def _peers(self, _: dict[str, Any]) -> dict[str, Any]:
        daemon = self._daemon
        facts = status(daemon.node, daemon.clock())
        traffic = daemon.network.traffic()
        silos = [silo for silo in facts["silos"] if not silo["self"]]
        for silo in silos:
            sent, received = traffic.get(bytes.fromhex(silo["id"]), (0, 0))
            silo |= {"bytes_sent": sent, "bytes_received": received}
            silo["refused"] = daemon.network.refusals.get(silo["name"], "")
        return {
            "schema": "dcfm-node/peers/1",
            "peers": silos,
            "pending": list(daemon.network.pending.values()),
        }

    async def _students(self, _: dict[str, Any]) -> dict[str, Any]:
        view = self._daemon.node.exchange.view
        students = [student_facts(view, said) for said in view.valid_students()]
        for student in students:
            student["held"] = bytes.fromhex(student["digest"]) in self._daemon.node.held
        return {"schema": "dcfm-node/students/1", "students": students}

    async def _student(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Everything `student fetch` needs to write the folder."""
        node = self._daemon.node
        view, wish = node.exchange.view, str(arguments.get("digest", "latest"))
        students = view.valid_students()
        latest = view.latest()
        found = (
            ([latest] if latest is not None else [])
            if wish == "latest"
            else [said for said in students if said.body.snapshot.digest.hex().startswith(wish)]
        )
        if not found:
            raise Failed(
                "no student is released yet" if wish == "latest" else f"no student {wish!r}",
                fix="see 'dcfm-node student list' and 'dcfm-node status --explain'",
            )
        said = found[-1]
        path = self._daemon.snapshots.path(said.body.snapshot.digest)
        if path is None:
            raise Failed("this node does not hold that student yet", fix="try again in a while")
        return {
            "schema": "dcfm-node/student/1",
            "path": str(path),
            "lineage": bundle(node.manifest, node.exchange.journals).hex(),
            "student": student_facts(view, said),
        }

    async def _withdraw(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self._daemon.put(Leave(str(arguments.get("reason", ""))[:500]))
        return {"schema": "dcfm-node/withdraw/1", "withdrawn": True}

    async def _stop(self, arguments: dict[str, Any]) -> dict[str, Any]:
        grace = float(arguments.get("grace_s", 30.0))
        asyncio.get_running_loop().call_soon(self._daemon.stop, grace)
        return {"schema": "dcfm-node/stop/1", "stopping": True, "grace_s": grace}


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
