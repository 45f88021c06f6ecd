"""Reads the daemon for the page: one look at a time, shared by all who watch."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dcfm_node.api.client import Starting, call
from dcfm_node.api.journal import Journal
from dcfm_node.api.page import Drawn, PageNow, PagePast, PeerTraffic, WorkPoint
from dcfm_node.api.requests import JournalRequest, PeersRequest, Request, RunRequest, StatusRequest
from dcfm_node.api.run import RunFacts
from dcfm_node.api.status import Peers, StartingStatus, Status
from dcfm_node.errors import UserError
from dcfm_node.page.readiness import readiness
from dcfm_node.page.records import past

PATIENCE_S = 5.0
"""How long one answer of the daemon may take, in seconds."""
FRESH_S = 1.5
"""A look is shared by all who ask within so many seconds."""
JOURNALS_S = 5.0
"""Least seconds between two readings of the journals: they are long."""
POINTS = 240
"""Losses of the present work that are kept."""


class Asks(Protocol):
    """Asks the daemon: `api.client.call`."""

    def __call__(self, state: Path, request: Request[Any], /, *, timeout_s: float) -> Any: ...


@dataclass(frozen=True)
class Seen:
    """One look at the daemon.

    Attributes:
        status, peers: None if it did not answer, or is starting.
        version: changes with `past`.
    """

    now: PageNow
    past: PagePast
    version: int
    peers: Peers | None = None

    @property
    def status(self) -> Status | None:
        """The whole status, once the node is up."""
        return self.now.status if isinstance(self.now.status, Status) else None


@dataclass
class Reader:
    """Looks at the daemon that runs in a state folder.

    Args:
        drawn: what pictures there are of the student.
        clock, wall: seconds, monotonic and Unix.
    """

    state: Path
    drawn: Callable[[], Drawn]
    ask: Asks = call
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _seen: Seen | None = None
    _at: float = 0.0
    _journals_at: float = float("-inf")
    _run: RunFacts | None = None
    _journals: dict[str, Journal] = field(default_factory=dict)
    _traffic: tuple[float, dict[str, tuple[int, int]]] = (0.0, {})
    _points: deque[WorkPoint] = field(default_factory=lambda: deque(maxlen=POINTS))

    async def look(self) -> Seen:
        """What is so now, or was up to FRESH_S ago."""
        async with self._lock:
            if self._seen is None or self.clock() - self._at >= FRESH_S:
                self._seen = await asyncio.to_thread(self._look)
                self._at = self.clock()
            return self._seen

    def _look(self) -> Seen:
        status: Status | StartingStatus | None = None
        peers, why, fix = None, "", ""
        try:
            status = self._asked(StatusRequest())
            peers = self._asked(PeersRequest())
        except Starting as starting:
            status = starting.status
        except UserError as error:
            why, fix = error.what, error.fix
        if isinstance(status, Status):
            try:
                self._read_journals(status)
            except UserError as error:  # `status` answered: its journals are asked for again
                why = f"the journals could not be read: {error.what}"
        found = past(self._run, self._journals, self.drawn())
        before = self._seen
        same = before is not None and before.past == found
        now = PageNow(
            time_ms=round(self.wall() * 1_000),
            status=status,
            unreachable=why,
            unreachable_fix=fix,
            ready=readiness(status, why),
            traffic=tuple(self._rates(peers)) if peers is not None else (),
            work=tuple(self._worked(status)),
        )
        version = 0 if before is None else before.version + (not same)
        return Seen(now, found, version, peers)

    def _asked(self, request: Request[Any]) -> Any:
        return self.ask(self.state, request, timeout_s=PATIENCE_S)

    def _read_journals(self, status: Status) -> None:
        """Read the journals that have grown. After a new run nothing of the old one is left."""
        if self._run is not None and self._run.run.id != status.run.id:
            self._run, self._journals, self._journals_at = None, {}, float("-inf")
            self._points.clear()
        if self.clock() - self._journals_at < JOURNALS_S:
            return
        grown = [s.name for s in status.silos if s.records != self._known(s.name)]
        for silo in grown:
            self._journals[silo] = self._asked(JournalRequest(silo=silo))
        if grown or self._run is None:
            self._run = self._asked(RunRequest())
            self._journals_at = self.clock()

    def _known(self, silo: str) -> int:
        found = self._journals.get(silo)
        return len(found.entries) if found is not None else 0

    def _rates(self, peers: Peers) -> Iterator[PeerTraffic]:
        at, before = self._traffic
        now, found = self.clock(), dict[str, tuple[int, int]]()
        for peer in peers.peers:
            sent, received = peer.bytes_sent, peer.bytes_received
            if sent is None or received is None:
                continue
            found[peer.name] = sent, received
            last, span = before.get(peer.name), now - at
            known = last is not None and span > 0 and sent >= last[0] and received >= last[1]
            yield PeerTraffic(
                name=peer.name,
                sent=sent,
                received=received,
                sent_per_s=(sent - last[0]) / span if known and last else None,
                received_per_s=(received - last[1]) / span if known and last else None,
            )
        self._traffic = now, found

    def _worked(self, status: Status | StartingStatus | None) -> Iterator[WorkPoint]:
        """The losses of the present work, this one among them."""
        if isinstance(status, Status) and "loss" in status.worker.metrics:
            round_ = status.phase.round if status.phase is not None else 0
            point = WorkPoint(
                time_ms=round(self.wall() * 1_000),
                work=f"{status.doing.activity} round {round_}",
                done=status.doing.done,
                loss=status.worker.metrics["loss"],
            )
            last = self._points[-1] if self._points else None
            if last is None or (last.work, last.done) != (point.work, point.done):
                self._points.append(point)
        yield from self._points
