"""A daemon that is made up, and the page over it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dcfm_node.api.page import Drawn
from dcfm_node.api.requests import JournalRequest, PeersRequest, RunRequest, StatusRequest
from dcfm_node.api.status import Peers, PeerStatus, Status
from dcfm_node.daemon.facts import journal_facts, run_facts
from dcfm_node.daemon.status import Surroundings, status
from dcfm_node.net.peers import Failure, Way
from dcfm_node.page.app import Page
from dcfm_node.page.drawing import Drawing
from dcfm_node.page.reader import Reader
from dcfm_node.swarm.node import Node
from tests.unit.swarm.builders import Run
from tests.unit.swarm.nodes import started

NONE = Drawn(state="none", student="", why="no student is released yet", cells=())


class Daemon:
    """Answers as a daemon would; `asked` notes the commands. `fails` is raised instead."""

    def __init__(self, run: Run | None = None, **around: Any) -> None:
        self.run = run or Run(3)
        self.node: Node = started(self.run)
        self.around, self.asked, self.fails = around, list[str](), None
        self.sent = 1_000
        self.changed: dict[str, object] = {}

    def __call__(self, state: Path, request: Any, /, *, timeout_s: float) -> Any:
        self.asked.append(request.command)
        if self.fails is not None:
            raise self.fails
        replica = self.node.replica
        match request:
            case StatusRequest():
                return self.status
            case PeersRequest():
                silos = [silo for silo in self.status.silos if not silo.own]
                return Peers(
                    peers=tuple(
                        PeerStatus(**dict(silo) | {"bytes_sent": self.sent, "bytes_received": 7})
                        for silo in silos
                    )
                )
            case JournalRequest(silo=silo):
                return journal_facts(replica.journals, replica.view, silo)
            case RunRequest():
                return run_facts(replica.journals, replica.view, self.node.me)
        raise AssertionError(request)

    @property
    def status(self) -> Status:
        found = status(self.node, 1.0, Surroundings(**self.around))
        return found.model_copy(update=self.changed)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def reader(daemon: Callable[..., Any], clock: Clock | None = None) -> Reader:
    clock = clock or Clock()
    return Reader(Path("/nowhere"), lambda: NONE, ask=daemon, clock=clock, wall=clock)


def page(daemon: Callable[..., Any], folder: Path) -> Page:
    """A page that draws nothing."""
    drawing = Drawing(folder / "page", folder / "node.toml", wanted=False)
    return Page(Reader(folder, lambda: drawing.drawn, ask=daemon), drawing)


def looked(of: Reader) -> Any:
    return asyncio.run(of.look())


def ways(daemon: Daemon, peer: int, *, bulk: str = "own") -> dict[bytes, dict[str, Way]]:
    """Links to one peer."""
    failed = (Failure("tcp://h:1", 9, "h refused the connection"),)
    return {
        daemon.run.keys[peer]: {
            "control": Way("own", 5.0),
            "bulk": Way(bulk, 60.0, () if bulk else failed),
        }
    }
