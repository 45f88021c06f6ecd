"""A daemon whose network and worker are stood in for, and whose disk, loop and swarm are real."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dcfm_node.api.problems import Problem
from dcfm_node.api.requests import StatusRequest
from dcfm_node.api.status import Status
from dcfm_node.config.keys import NodeKeys
from dcfm_node.config.node import NodeConfig
from dcfm_node.daemon import ending, handling
from dcfm_node.daemon.compose import Ground, Known, compose
from dcfm_node.daemon.disk import open_journals
from dcfm_node.daemon.limits import Settings
from dcfm_node.net.peers import Crowd
from dcfm_node.records.entries import Snapshot
from dcfm_node.records.messages import Message
from dcfm_node.swarm.effects import Event, Tick
from dcfm_node.swarm.node import Node
from dcfm_node.worker.messages import Job, Line, Ready
from tests.unit.swarm.builders import Run

ME, RUN = 0, Run(3, participation="tolerant")


STEP_S = 4.0
"""Between two ticks of the rig's clock."""


class Network:
    """Takes what the daemon says, and reaches nobody."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Message]] = []
        self.fetched: list[bytes] = []
        self.given_up: list[bytes] = []
        self.pending: dict[str, dict[str, str]] = {}
        self.refusals: dict[str, str] = {}
        self.crowded = False

    def send(self, peer: bytes, message: Message) -> None:
        self.sent.append((peer, message))

    def fetch(self, snapshot: Any) -> None:
        self.fetched.append(snapshot.digest)

    def unfetch(self, digest: bytes) -> None:
        self.given_up.append(digest)

    def traffic(self) -> dict[bytes, tuple[int, int]]:
        return {}

    def problems(self) -> list[Problem]:
        return []

    def clocks(self) -> dict[bytes, float]:
        return {}

    def ways(self) -> dict[bytes, Any]:
        return {}

    def addresses(self) -> dict[bytes, str | None]:
        return {}

    def crowds(self) -> dict[str, Crowd]:
        return {}


class Worker:
    """Takes jobs and does none."""

    pid = None

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.cancelled = 0

    def submit(self, job: Job, notify: Callable[[Line], None]) -> None:
        self.jobs.append(job)

    def cancel(self) -> None:
        self.cancelled += 1

    def problems(self) -> list[Problem]:
        return []


class Rig:
    """Args:
    state: an empty folder.
    """

    def __init__(self, state: Path) -> None:
        self.now = 100.0
        self.network, self.worker = Network(), Worker()
        author = RUN.authors[ME]
        config = NodeConfig.model_validate(
            {
                "name": "silo-0000",
                "state": state,
                "data": {"format": "builtin", "name": "gaussians", "silo": 0, "silos": 3},
            }
        )
        keys = NodeKeys(author.signer._private, "", "")
        settings = Settings(config, keys, (), RUN.manifest, state / "run.toml")
        self.ground = Ground(settings, clock=lambda: self.now)
        self.journals, said = open_journals(state / "journals.sqlite", RUN.id)
        ready = Ready(device="cpu", counts=(((0, 0), 5),), data="data", tensors={})
        self.daemon, _, _ = compose(
            self.ground,
            Known(self.journals, said, None, ready),
            self.network,  # type: ignore[arg-type]
            self.worker,  # type: ignore[arg-type]
        )
        self.told: list[str] = []
        """Every problem that `status` named, looked at after each second and each refused write."""
        disk = self.ground.disk
        pause = disk._pause

        async def watched() -> None:
            self.look()
            await pause()

        disk._pause = watched

    async def take(self, *events: Event, seconds: float = 0.0) -> None:
        """Let the loop take these and all that follows from them, then so much time pass."""
        inbox = self.ground.inbox
        for event in events:
            inbox.put(event)
        end = self.now + seconds
        while True:
            while not inbox.empty():
                await self.daemon.handle(60.0)
            self.daemon.executor.again(self.node)
            if inbox.empty():
                self.look()
                if self.now >= end:
                    return
                self.now = min(end, self.now + STEP_S)
                inbox.put(Tick())

    @property
    def node(self) -> Node:
        """The present one."""
        return self.daemon.present.node

    def made(self, content: str) -> Snapshot:
        """A file that its worker made, taken over."""
        file = self.ground.settings.config.state / "made"
        file.write_text(content)
        return self.ground.snapshots.adopt(file)

    def look(self) -> None:
        """Keep what `status` says is wrong."""
        self.told += map(str, self.status().problems)

    def status(self) -> Status:
        answer = self.daemon.answer(StatusRequest())
        assert isinstance(answer, Status)
        return answer


@contextmanager
def rigged(state: Path, patch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """A rig whose clock stands still until it is moved."""
    state.mkdir(exist_ok=True)
    made: list[Rig] = []
    patch.setattr(ending, "DISK_RETRY_S", 0.0)
    patch.setattr(handling, "PAUSE_S", 0.0)
    made.append(Rig(state))
    try:
        yield made[0]
    finally:
        made[0].journals.close()
