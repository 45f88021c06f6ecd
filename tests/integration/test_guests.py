"""Bulk where its own port cannot be reached: it comes in at the control port (SPEC 4.1.4)."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from dcfm_node.net.bulk import Bulk
from dcfm_node.net.links import LinkEvent, LinkPeer, Links, Received
from dcfm_node.net.peers import Way
from dcfm_node.net.reach import reach
from dcfm_node.records.entries import Snapshot
from dcfm_node.swarm.chunks import CHUNK_BYTES
from tests.integration.bulking import MemoryFiles, make
from tests.integration.linking import WAIT_S, new_keys

ANY = "tcp://127.0.0.1:*"


@dataclass
class Site:
    """Both planes of one node, wired as the daemon wires them."""

    name: str
    files: MemoryFiles = field(default_factory=MemoryFiles)
    keys: tuple[str, str] = field(default_factory=new_keys)
    events: list[LinkEvent] = field(default_factory=list)

    @property
    def id(self) -> bytes:
        return self.name.encode().ljust(32, b".")

    def peer(self, control: str | None = None, bulk: str | None = None) -> LinkPeer:
        return LinkPeer(self.id, self.name, self.keys[0], control, bulk)

    @asynccontextmanager
    async def running(self, *peers: LinkPeer, listen: str | None = ANY) -> AsyncIterator[None]:
        public, secret = self.keys
        loop = asyncio.get_running_loop()
        common: dict[str, Any] = {
            "secret": secret,
            "public": public,
            "listen": listen,
            "peers": peers,
        }
        self.bulk = Bulk(
            **common,
            files=self.files,
            notify=lambda event: None,
            relay=lambda peer, frames: loop.call_soon_threadsafe(
                self.links.send_guest, peer, frames
            ),
        )
        self.links = Links(**common, notify=self.events.append, guests=self.bulk)
        await self.links.start()
        self.bulk.start()
        try:
            yield
        finally:
            await asyncio.to_thread(self.bulk.close)
            await self.links.close()

    def way(self, other: "Site") -> Way:
        return self.bulk.ways()[other.id]

    async def fetched(self, snapshot: Snapshot) -> None:
        self.bulk.fetch(snapshot)
        await until(lambda: snapshot.digest in self.files.held)


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not what():
            await asyncio.sleep(0.02)


@contextmanager
def refusing() -> Iterator[str]:
    """A port on which nothing listens, and nobody else will."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"tcp://127.0.0.1:{taken.getsockname()[1]}"


@contextmanager
def dropping() -> Iterator[str]:
    """A port that answers nothing, as a firewall makes it: its queue is full for good."""
    with closing(socket.socket()) as full, closing(socket.socket()) as first:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        first.connect(full.getsockname())
        yield f"tcp://127.0.0.1:{full.getsockname()[1]}"


@pytest.mark.parametrize(("blocked", "why"), [(refusing, "refused"), (dropping, "did not answer")])
def test_a_silo_fetches_and_serves_where_the_bulk_port_is_blocked(
    blocked: Callable[[], Any], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcfm_node.net.reach.CONNECT_S", 1.0)
    ours, our_snapshot = make(20 * CHUNK_BYTES + 17, seed=1)
    theirs, their_snapshot = make(20 * CHUNK_BYTES - 1, seed=2)
    server, silo = Site("server", MemoryFiles(theirs)), Site("silo", MemoryFiles(ours))

    async def scenario() -> None:
        with blocked() as bulk:
            async with server.running(silo.peer()):
                at = server.peer(server.links.address, bulk)
                async with silo.running(at, listen=None):
                    both = asyncio.gather(
                        silo.fetched(their_snapshot), server.fetched(our_snapshot)
                    )
                    said = 0
                    while not both.done():
                        said += silo.links.send(server.id, b"beat")
                        await asyncio.sleep(0.02)
                    await both
                    # Control messages passed all the while, and bulk was none of them.
                    await until(lambda: len(server.events) > said)
                    assert [e for e in server.events if isinstance(e, Received)] == [
                        Received(silo.id, b"beat")
                    ] * said
                    assert (silo.way(server).via, server.way(silo).via) == ("control port",) * 2
                    (failure,) = silo.way(server).failures
                    assert failure.address == bulk and why in failure.reason

    asyncio.run(scenario())
    assert server.files.held[our_snapshot.digest] == ours
    assert silo.files.held[their_snapshot.digest] == theirs


def test_a_guest_goes_home_when_the_bulk_port_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcfm_node.net.dialer.FIRST_AGAIN_S", 0.5)
    data, snapshot = make(2 * CHUNK_BYTES)
    server, silo = Site("server", MemoryFiles(data)), Site("silo")
    closed: list[str] = []

    def firewalled(address: str) -> str:
        if address in closed:
            raise OSError("closed")
        return reach(address)

    monkeypatch.setattr("dcfm_node.net.dialer.reach", firewalled)

    async def scenario() -> None:
        async with server.running(silo.peer()):
            bulk = server.bulk.address or ""
            closed.append(bulk)
            async with silo.running(server.peer(server.links.address, bulk), listen=None):
                await until(lambda: silo.way(server).via == "control port")
                await until(lambda: server.way(silo).via == "control port")
                closed.clear()
                await until(lambda: silo.way(server).via == "own")
                await until(lambda: server.way(silo).via == "own")
                assert silo.way(server).failures == ()
                await silo.fetched(snapshot)

    asyncio.run(scenario())


def test_who_does_not_listen_for_bulk_is_linked_by_the_control_port_alone() -> None:
    data, snapshot = make(2 * CHUNK_BYTES)
    server, silo = Site("server", MemoryFiles(data)), Site("silo")

    async def scenario() -> None:
        async with (
            server.running(silo.peer()),
            silo.running(server.peer(server.links.address), listen=None),
        ):
            await silo.fetched(snapshot)
            assert silo.way(server).failures == ()

    asyncio.run(scenario())


def test_a_guest_cannot_have_more_on_its_way_than_a_queue_holds() -> None:
    server, silo = Site("server"), Site("silo")
    bulk = Bulk(
        secret=server.keys[1],
        public=server.keys[0],
        listen=None,
        peers=[silo.peer()],
        files=server.files,
        notify=lambda event: None,
    )
    for _ in range(1_000):
        bulk.deliver(silo.id, [])
    assert bulk._reactor._calls.qsize() < 200
