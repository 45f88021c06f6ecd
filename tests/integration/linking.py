"""Nodes of the control plane over real sockets on the loopback, and a caller that breaks rules."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import zmq

from dcfm_node.net.curve import RawSocket
from dcfm_node.net.links import LinkEvent, LinkPeer, Links, Refused

WAIT_S = 60.0


def new_keys() -> tuple[str, str]:
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


@dataclass
class Node:
    """A node under test: its keys, its links, and every event that they told."""

    name: str
    keys: tuple[str, str] = field(default_factory=new_keys)
    links: Links | None = None
    events: list[LinkEvent] = field(default_factory=list)
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def id(self) -> bytes:
        return self.name.encode().ljust(32, b".")

    def peer(self, control: str | None = None) -> LinkPeer:
        return LinkPeer(self.id, self.name, self.keys[0], control, None)

    async def start(
        self,
        *peers: LinkPeer,
        listen: str | None = "tcp://127.0.0.1:*",
        ask: Callable[[str, bytes], bytes | None] = lambda link_key, data: None,
    ) -> str:
        public, secret = self.keys
        self.links = Links(
            secret=secret, public=public, listen=listen, peers=peers, notify=self.notify, ask=ask
        )
        await self.links.start()
        return self.links.address or ""

    def notify(self, event: LinkEvent) -> None:
        self.events.append(event)
        self.woken.set()

    async def until(self, *wanted: LinkEvent) -> None:
        await self.until_true(lambda: all(event in self.events for event in wanted))

    async def until_true(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self.woken.clear()
                await self.woken.wait()

    async def refusal(self) -> Refused:
        await self.until_true(lambda: any(isinstance(event, Refused) for event in self.events))
        return next(event for event in self.events if isinstance(event, Refused))


@asynccontextmanager
async def closing(*nodes: Node) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for node in nodes:
            if node.links is not None:
                await node.links.close()


def dial(address: str, server: Node, caller: Node, routing_id: bytes = b"") -> RawSocket:
    """A bare socket with an allowed key, to do what no node of ours does; it dials once."""
    socket: RawSocket = zmq.Context.instance().socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RECONNECT_IVL, -1)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, caller.keys[0].encode())
    socket.setsockopt(zmq.CURVE_SECRETKEY, caller.keys[1].encode())
    socket.setsockopt(zmq.CURVE_SERVERKEY, server.keys[0].encode())
    if routing_id:
        socket.setsockopt(zmq.ROUTING_ID, routing_id)
    socket.connect(address)
    return socket
