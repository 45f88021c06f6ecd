"""Starts, queries and always ends the demo's node processes."""

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
"""Seconds that a node has to end before it is killed."""
TAIL_LINES = 12
PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""
_LIBC = ctypes.CDLL(None)


class PortTakenError(Failed):
    """Another process took a node's port before the node used it."""


class Nodes:
    """A process for every node of a stage; leaving the context ends all of them."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.lost: dict[str, str] = {}
        """Node that was killed -> how."""

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
        """End all running nodes."""
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
        """Running nodes, in the stage's order."""
        return [node for node in self._stage.nodes if node.name in self._running]

    def statuses(self) -> dict[str, Status]:
        """Node -> its status. A node that is starting does not answer yet.

        Raises:
            Failed: a node ended by itself, or killed nodes leave no majority.
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
            # The signal came from outside. The run must survive the loss of a minority.
            self.lost[node.name] = f"killed by signal {-code}"
            if 2 * len(self._running) <= len(self._stage.nodes):
                _died(node, f"{self.lost[node.name]}; the remaining nodes are not a majority")


def ask(node: NodeFolder, request: Request[Answer]) -> Answer | None:
    """A node's answer; None if its daemon does not or cannot answer."""
    try:
        return call(node.state, request, timeout_s=10.0)
    except (Unreachable, Failed):
        return None


def tail(path: Path, lines: int = TAIL_LINES) -> list[str]:
    """The last lines of a log."""
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
    """Runs in the child: makes the kernel end it when the demo ends."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _died(node: NodeFolder, how: str) -> None:
    raise Failed(
        f"the node {how}; its log ends:",
        where=str(node.log),
        more=tail(node.log),
        fix="read that log, and run the same command again",
    )
