"""All links of one plane: at most one door, and a dialer per peer that has an address.

Either side may use either link. Ours is preferred while it stands; else the route that the peer
opened to us. Knows nothing of threads or loops: a `Reactor` says when a socket has input.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import zmq

from dcfm_node.net.curve import Plane, RawSocket, Reactor
from dcfm_node.net.dialer import Dialer, Wiring
from dcfm_node.net.listener import Listener
from dcfm_node.net.peers import Down, LinkPeer, Refused, Up

TICK_S = 0.5
"""How often the owner of a mesh calls `tick`."""
SOCKETS_PER_PEER = 8
"""A dialler, both ends of its monitor, and as many again that are still closing."""


@dataclass(slots=True)
class _Peer:
    peer: LinkPeer
    dialer: Dialer | None = None
    up: bool = False
    sent: int = 0
    received: int = 0


@dataclass(slots=True)
class Mesh:
    """Owns the sockets of one plane, in a context of its own.

    Args:
        listen: where to bind, None to only dial out.
        peers: everyone allowed, each with the address to dial, or None.
        notify: told of links and refusals.
        deliver: given the authenticated sender and the frames of each message.
    """

    reactor: Reactor
    plane: Plane
    listen: str | None
    peers: Sequence[tuple[LinkPeer, str | None]]
    notify: Callable[[Up | Down | Refused], None]
    deliver: Callable[[bytes, list[zmq.Frame]], None]
    io_threads: int = 1
    address: str | None = None
    """The bound endpoint."""
    _context: "zmq.Context[RawSocket] | None" = None
    _listener: Listener | None = None
    _by_key: dict[str, _Peer] = field(default_factory=dict)
    _by_id: dict[bytes, _Peer] = field(default_factory=dict)

    def open(self) -> None:
        """Bind and start dialling. Raises UserError when an address cannot be used."""
        self._context = zmq.Context(io_threads=self.io_threads)
        self._context.set(zmq.MAX_SOCKETS, 64 + SOCKETS_PER_PEER * len(self.peers))
        wiring = Wiring(self._context, self.reactor, self.plane, self)
        for peer, _ in self.peers:
            self._by_key[peer.link_key] = self._by_id[peer.id] = _Peer(peer)
        try:
            if self.listen is not None:
                self._listener = Listener(wiring, list(self._by_key))
                self.address = self._listener.open(self.listen)
            for peer, address in self.peers:
                if address is not None:
                    self._by_id[peer.id].dialer = dialer = Dialer(wiring, peer, address)
                    dialer.open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close every socket; nothing is notified any more."""
        self.notify = lambda event: None
        for known in self._by_id.values():
            if known.dialer is not None:
                known.dialer.close()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._context is not None:
            self._context.term()
            self._context = None

    def send(self, peer_id: bytes, frames: list[bytes | memoryview]) -> bool:
        """Never blocks. False when the peer is unknown, has no link, or its queue is full."""
        known = self._by_id.get(peer_id)
        if known is None:
            return False
        if known.dialer is not None and known.dialer.up:
            sent = known.dialer.send(frames)
        else:
            sent = self._listener is not None and self._listener.send(known.peer.link_key, frames)
        if sent:
            known.sent += sum(len(frame) for frame in frames)
        return sent

    def tick(self) -> None:
        """Redial, drop silent links, show signs of life. Due every `TICK_S`."""
        now = self.now()
        if self._listener is not None:
            self._listener.tick(now)
        for known in self._by_id.values():
            if known.dialer is not None:
                known.dialer.tick(now)

    def stats(self) -> dict[bytes, tuple[int, int]]:
        """Payload bytes (sent, received) by peer id."""
        return {key: (known.sent, known.received) for key, known in self._by_id.items()}

    def arrived(self, link_key: str, frames: list[zmq.Frame]) -> None:
        known = self._by_key[link_key]
        known.received += sum(len(frame) for frame in frames)
        self.deliver(known.peer.id, frames)

    def changed(self, link_key: str) -> None:
        known = self._by_key[link_key]
        routed = self._listener is not None and self._listener.is_up(link_key)
        up = routed or (known.dialer is not None and known.dialer.up)
        if up != known.up:
            known.up = up
            self.notify(Up(known.peer.id) if up else Down(known.peer.id))

    def refused(self, event: Refused) -> None:
        self.notify(event)

    def now(self) -> float:
        return time.monotonic()
