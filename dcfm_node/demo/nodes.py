"""The demo's node processes: started, asked, and always ended."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from dcfm_node.api.client import call
from dcfm_node.api.requests import Answer, Request, StatusRequest
from dcfm_node.api.status import Status
from dcfm_node.demo.stage import NodeFolder, Stage
from dcfm_node.errors import Failed, Unreachable

TERMINATE_S = 10.0
"""How long a node may take to end before it is killed."""
TAIL_LINES = 12
PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""
_LIBC = ctypes.CDLL(None)


class PortTakenError(Failed):
    """Somebody took a node's port between its choice and its use."""


class Nodes:
    """Every node of a stage as a process of its own; leaving the context ends them all."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.lost: dict[str, str] = {}
        """Nodes that somebody killed, and how."""

    def __enter__(self) -> Self:
        try:
            for node in self._stage.nodes:
                self._running[node.name] = _start(self._stage, node)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End every node that still runs."""
        for process in self._running.values():
            process.terminate()
        deadline = time.monotonic() + TERMINATE_S
        for process in self._running.values():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()

    @property
    def alive(self) -> list[NodeFolder]:
        """Nodes that run, in the stage's order."""
        return [node for node in self._stage.nodes if node.name in self._running]

    def statuses(self) -> dict[str, Status]:
        """What every node that answers says of itself; a starting one does not answer yet.

        Raises:
            Failed: a node ended by itself, or so many were killed that no majority is left.
        """
        self._bury()
        return {
            node.name: answer
            for node in self.alive
            if (answer := ask(node, StatusRequest())) is not None
        }

    def _bury(self) -> None:
        for node in self.alive:
            code = self._running[node.name].poll()
            if code is None:
                continue
            del self._running[node.name]
            if code >= 0 and any("Address already in use" in line for line in tail(node.log)):
                raise PortTakenError(f"{node.name} could not listen", where=str(node.log))
            if code >= 0:
                _died(node, f"ended with exit code {code}")
            # A signal came from outside: the run is meant to survive the loss of a minority.
            self.lost[node.name] = f"killed by signal {-code}"
            if 2 * len(self._running) <= len(self._stage.nodes):
                _died(node, f"{self.lost[node.name]}; the nodes left are no majority")


def ask(node: NodeFolder, request: Request[Answer]) -> Answer | None:
    """A node's answer, None while its daemon does not answer or cannot."""
    try:
        return call(node.state, request, timeout_s=10.0)
    except (Unreachable, Failed):
        return None


def tail(path: Path, lines: int = TAIL_LINES) -> list[str]:
    """The end of a log."""
    try:
        return path.read_text(errors="replace").split("\n")[-lines - 1 :]
    except OSError:
        return ["(no log was written)"]


def _start(stage: Stage, node: NodeFolder) -> subprocess.Popen[bytes]:
    command = ["start", "--config", node.config, "--peers", stage.peers, "--run", stage.run]
    with node.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "dcfm_node", *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - no thread runs beside it yet
            # The demo's nodes share the machine's cores: one thread each.
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


def _end_with_parent() -> None:
    """In the child: the kernel ends it with the demo, however that ends."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _died(node: NodeFolder, how: str) -> None:
    raise Failed(
        f"the node {how}; its log ends:",
        where=str(node.log),
        more=tail(node.log),
        fix="read that log, and run the same command again",
    )
