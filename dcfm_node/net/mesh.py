"""All links of one plane: at most one listener, and a dialer for each peer with an address.

Either side may use either link. The node prefers the link that it dialled, and otherwise uses the
peer's. This module has no threads or loops: a `Reactor` says when a socket has input.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import zmq

from dcfm_node.net.curve import Plane, RawSocket, Reactor
from dcfm_node.net.dialer import Dialer, Target, Wiring
from dcfm_node.net.listener import Listener
from dcfm_node.net.peers import Crowd, Down, LinkPeer, Refused, Twice, Up, Way
from dcfm_node.net.tcp import MOVED_BYTES, measured
from dcfm_node.records.manifest import MAX_SILOS

TICK_S = 0.5
"""Seconds between two calls of `tick` by the owner of a mesh."""
SOCKETS_PER_PEER = 8
"""A dialer, both ends of its monitor, and as many again that are still closing."""
MOST_SOCKETS = 64 + SOCKETS_PER_PEER * MAX_SILOS
"""A context must know its limit before its first socket, and peers may be added later."""


Frames = list[bytes | memoryview]
Sent = Callable[[bytes, Frames, bool], None]


@dataclass(slots=True)
class _Peer:
    peer: LinkPeer
    dialer: Dialer | None = None
    up: bool = False
    guest: bool = False
    """Whether the peer is a guest at our listener."""
    changed_at: float = 0.0
    hosts: tuple[str, ...] = ()
    """Hosts of the nodes that use its keys, if there are two."""
    sent: int = 0
    received: int = 0
    before: int = 0
    """`received` at the last tick."""
    fastest: float = 0.0
    """The most bytes a second that came between two ticks."""


@dataclass(slots=True)
class Mesh:
    """Owns the sockets of one plane, in a context of its own.

    Args:
        listen: the address to bind; None to only dial out.
        peers: the allowed peers, each with the targets to dial, in this order.
        room: most connections of unknown callers.
        notify: called with events of links and refusals.
        deliver: called with the authenticated sender and the frames of each message.
        guests: receives the messages of the other plane that come in here.
        sent: called with every message that a link took: the peer, the frames, and whether the
            peer is a guest.
    """

    reactor: Reactor
    plane: Plane
    listen: str | None
    peers: Sequence[tuple[LinkPeer, Sequence[Target]]]
    room: int
    notify: Callable[[Up | Down | Refused | Twice], None]
    deliver: Callable[[bytes, list[zmq.Frame]], None]
    guests: "Guests | None" = None
    sent: Sent = lambda peer, frames, guest: None
    ask: Callable[[str, bytes], bytes | None] = lambda link_key, data: None
    """Answers guests of invites."""
    io_threads: int = 1
    address: str | None = None
    """The bound endpoint."""
    _context: "zmq.Context[RawSocket] | None" = None
    _wiring: Wiring | None = None
    _listener: Listener | None = None
    _ticked_at: float = 0.0
    _by_key: dict[str, _Peer] = field(default_factory=dict)
    _by_id: dict[bytes, _Peer] = field(default_factory=dict)

    def open(self) -> None:
        """Bind and start dialling. Raises UserError if an address cannot be used."""
        self._context = zmq.Context(io_threads=self.io_threads)
        self._context.set(zmq.MAX_SOCKETS, MOST_SOCKETS)
        wiring = self._wiring = Wiring(self._context, self.reactor, self.plane, self)
        for peer, _ in self.peers:
            known = _Peer(peer, changed_at=self.now())
            self._by_key[peer.link_key] = self._by_id[peer.id] = known
        try:
            if self.listen is not None:
                self._listener = Listener(wiring, list(self._by_key), self.room)
                self.address = self._listener.open(self.listen)
            for peer, targets in self.peers:
                if targets:
                    self._by_id[peer.id].dialer = dialer = Dialer(wiring, peer, targets)
                    dialer.open()
        except BaseException:
            self.close()
            raise

    def admit(
        self, peers: Sequence[tuple[LinkPeer, Sequence[Target]]], invited: Collection[str] = ()
    ) -> None:
        """Link with these peers from now on, and with no others. Links that stand stay.

        Args:
            invited: link keys of invites, whose holders may ask.

        Raises:
            UserError: an address is malformed.
        """
        if self._wiring is None:
            raise AssertionError("the mesh is not open")
        kept = {peer for peer, _ in peers}
        for known in [known for known in self._by_id.values() if known.peer not in kept]:
            self._dismiss(known)
        fresh = [(peer, to) for peer, to in peers if peer.id not in self._by_id]
        added = {peer.id: _Peer(peer, changed_at=self.now()) for peer, _ in fresh}
        self.peers = peers
        self._by_id = {**self._by_id, **added}  # other threads may be reading the old ones
        self._by_key = {known.peer.link_key: known for known in self._by_id.values()}
        if self._listener is not None:
            self._listener.allow(list(self._by_key), invited)
        for peer, targets in fresh:
            if targets:
                added[peer.id].dialer = dialer = Dialer(self._wiring, peer, targets)
                dialer.open()

    def _dismiss(self, known: _Peer) -> None:
        """End all links of a peer, tell, and forget it."""
        if known.dialer is not None:
            known.dialer.close()
        rest = [key for key in self._by_key if key != known.peer.link_key]
        if self._listener is not None:
            self._listener.allow(rest, ())
        self._by_id = {key: other for key, other in self._by_id.items() if other is not known}
        self._by_key = {key: self._by_key[key] for key in rest}

    def close(self) -> None:
        """Close every socket. `notify` gets no more events."""
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

    def send(self, peer_id: bytes, frames: Frames) -> bool:
        """Queue a message; never blocks. False if the peer is unknown, has no link, or its queue
        is full."""
        known = self._by_id.get(peer_id)
        if known is None:
            return False
        dialer, listener, link_key = known.dialer, self._listener, known.peer.link_key
        if dialer is not None and dialer.up and not (dialer.guest and self.is_routed(link_key)):
            sent = dialer.send(frames)
        else:
            sent = listener is not None and listener.send(link_key, frames)
        return self._counted(known, frames, sent, guest=False)

    def send_guest(self, peer_id: bytes, frames: Frames) -> bool:
        """The same, to a peer that is a guest here."""
        known, listener = self._by_id.get(peer_id), self._listener
        if known is None or listener is None:
            return False
        sent = listener.send(known.peer.link_key, frames, guest=True)
        return self._counted(known, frames, sent, guest=True)

    def tick(self) -> None:
        """Redial, drop silent links, send signs of life. Call it every `TICK_S`."""
        now = self.now()
        elapsed, self._ticked_at = now - self._ticked_at, now
        if self._listener is not None:
            self._listener.tick(now)
        for known in self._by_id.values():
            known.fastest = max(known.fastest, (known.received - known.before) / (elapsed or 1.0))
            known.before = known.received
            if known.dialer is not None:
                known.dialer.tick(now)
            if self._listener is not None:
                before, known.hosts = known.hosts, self._listener.hosts(known.peer.link_key)
                if known.hosts and not before:
                    self.notify(Twice(known.peer.id, known.hosts))

    def stats(self) -> dict[bytes, tuple[int, int]]:
        """Payload bytes (sent, received) by peer id."""
        return {key: (known.sent, known.received) for key, known in self._by_id.items()}

    def crowd(self) -> Crowd:
        """Unknown connections at the listener."""
        return self._listener.crowd() if self._listener is not None else Crowd()

    def ways(self) -> dict[bytes, Way]:
        """How each peer is linked, by its id."""
        return {key: self._way(known) for key, known in self._by_id.items()}

    def arrived(self, link_key: str, frames: list[zmq.Frame], *, guest: bool = False) -> None:
        known = self._by_key[link_key]
        known.received += sum(len(frame) for frame in frames)
        if not guest:
            self.deliver(known.peer.id, frames)
        elif self.guests is not None:
            self.guests.deliver(known.peer.id, frames)

    def changed(self, link_key: str) -> None:
        known = self._by_key[link_key]
        up = self.is_routed(link_key) or (known.dialer is not None and known.dialer.up)
        if up != known.up:
            known.up, known.changed_at = up, self.now()
            self.notify(Up(known.peer.id) if up else Down(known.peer.id))
        guest = self._listener is not None and self._listener.is_up(link_key, guest=True)
        if guest != known.guest:
            known.guest = guest
            if self.guests is not None:
                self.guests.changed(known.peer.id, guest)

    def is_routed(self, link_key: str) -> bool:
        return self._listener is not None and self._listener.is_up(link_key)

    def asked(self, link_key: str, data: bytes) -> bytes | None:
        return self.ask(link_key, data)

    def refused(self, event: Refused) -> None:
        self.notify(event)

    def now(self) -> float:
        return time.monotonic()

    def _counted(self, known: _Peer, frames: Frames, sent: bool, *, guest: bool) -> bool:
        if sent:
            known.sent += sum(len(frame) for frame in frames)
            self.sent(known.peer.id, frames, guest)
        return sent

    def _way(self, known: _Peer) -> Way:
        dialer, link_key = known.dialer, known.peer.link_key
        own = self.is_routed(link_key) or (dialer is not None and dialer.up and not dialer.guest)
        failures = dialer.failures if dialer is not None else ()
        via = "own" if own else "control port" if known.up else ""
        found = measured(self._descriptor(known))
        return Way(
            via,
            round(self.now() - known.changed_at, 1),
            failures,
            known.hosts,
            dialled=dialer is not None and dialer.up,
            accepted=self.is_routed(link_key),
            rtt_s=found.rtt_s if found is not None else None,
            sent_bytes_s=found.sent_bytes_s if found is not None else None,
            received_bytes_s=round(known.fastest) if known.received >= MOVED_BYTES else None,
        )

    def _descriptor(self, known: _Peer) -> int | None:
        """The connection by which messages go to a peer."""
        if known.dialer is not None and known.dialer.up:
            return known.dialer.descriptor
        return self._listener.descriptor(known.peer.link_key) if self._listener else None


class Guests(Protocol):
    """Receives bulk messages that come in at the listener of another plane (SPEC 4.1.4)."""

    def deliver(self, peer_id: bytes, frames: list[zmq.Frame]) -> None:
        """A guest sent a message."""
        ...

    def changed(self, peer_id: bytes, here: bool) -> None:
        """A peer became a guest, or stopped being one."""
        ...
