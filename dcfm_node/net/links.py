"""The control plane: short messages between linked peers, on the daemon's asyncio loop."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextvars import copy_context

import zmq

from dcfm_node.net.curve import Plane, RawSocket
from dcfm_node.net.dialer import Target
from dcfm_node.net.mesh import TICK_S, Guests, Mesh, Sent
from dcfm_node.net.peers import (
    Crowd,
    Down,
    Faulted,
    Flooded,
    LinkEvent,
    LinkPeer,
    Misframed,
    Received,
    Refused,
    Twice,
    Up,
    Way,
)
from dcfm_node.net.rate_limits import LinkLimiter
from dcfm_node.net.reach import background
from dcfm_node.records.messages import MAX_MESSAGE_BYTES

__all__ = [
    "Down",
    "Flooded",
    "LinkEvent",
    "LinkPeer",
    "Links",
    "Misframed",
    "Received",
    "Refused",
    "Twice",
    "Up",
]

QUEUE = 64
SILENCE_S = 15.0
ROOM = 256


class Links:
    """Authenticated, encrypted links to the allowed peers.

    Args:
        secret: our Curve25519 link key, Z85; `public` is its other half.
        listen: "tcp://host:port" to bind (port `*` for any free one); None to only dial out.
        peers: the allow list.
        notify: called on the loop with every event.
        room: most connections of unknown callers.
        guests: receives the bulk messages that come in at this plane's port (SPEC 4.1.4).
        sent: as of a `Mesh`.
        ask: answers the guests of invites (SPEC 4.8).
    """

    def __init__(
        self,
        *,
        secret: str,
        public: str,
        listen: str | None,
        peers: Sequence[LinkPeer],
        notify: Callable[[LinkEvent], None],
        room: int = ROOM,
        guests: Guests | None = None,
        sent: Sent = lambda peer, frames, guest: None,
        ask: Callable[[str, bytes], bytes | None] = lambda link_key, data: None,
    ) -> None:
        self._notify, self._faults, self._public = notify, 0, public
        self._ticking: asyncio.TimerHandle | None = None
        self._mesh = Mesh(
            reactor=LoopReactor(self._faulted),
            plane=Plane(public, secret, MAX_MESSAGE_BYTES, QUEUE, SILENCE_S),
            listen=listen,
            peers=self._targets(peers),
            room=room,
            notify=notify,
            deliver=self._deliver,
            guests=guests,
            sent=sent,
            ask=ask,
        )
        now = self._mesh.now()
        self._limiters = {peer.id: LinkLimiter(now) for peer in peers}

    def _targets(self, peers: Sequence[LinkPeer]) -> list[tuple[LinkPeer, list[Target]]]:
        return [
            (peer, [Target(peer.control)] if peer.control is not None else [])
            for peer in peers
            if peer.link_key != self._public
        ]

    def admit(self, peers: Sequence[LinkPeer], invited: Collection[str] = ()) -> None:
        """Link with these peers from now on, and with no others.

        Args:
            invited: link keys of invites, whose holders may ask.

        Raises:
            UserError: an address is malformed.
        """
        now = self._mesh.now()
        for peer in peers:
            self._limiters.setdefault(peer.id, LinkLimiter(now))
        self._mesh.admit(self._targets(peers), invited)

    @property
    def address(self) -> str | None:
        """The bound endpoint, once started."""
        return self._mesh.address

    async def start(self) -> None:
        """Bind and dial. Raises UserError if an address cannot be used."""
        self._mesh.open()
        self._tick()

    def send(self, peer_id: bytes, data: bytes) -> bool:
        """Queue a message of 1 to MAX_MESSAGE_BYTES bytes; never blocks.

        Returns:
            False if no link to the peer is up, or its queue is full.
        """
        if not 0 < len(data) <= MAX_MESSAGE_BYTES:
            raise ValueError(f"a message has 1 to {MAX_MESSAGE_BYTES} bytes, not {len(data)}")
        return self._tried(self._mesh.send, peer_id, [data])

    def send_guest(self, peer_id: bytes, frames: list[bytes | memoryview]) -> None:
        """Queue a message of the bulk plane for a guest. It is lost if the queue is full."""
        self._tried(self._mesh.send_guest, peer_id, frames)

    def ways(self) -> dict[bytes, Way]:
        """How each peer is linked, by its id."""
        return self._mesh.ways()

    def crowd(self) -> Crowd:
        """Unknown connections at the listener."""
        return self._mesh.crowd()

    def stats(self) -> dict[bytes, tuple[int, int]]:
        """Payload bytes (sent, received) by peer id."""
        return self._mesh.stats()

    async def close(self) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
        self._mesh.close()

    def _deliver(self, peer_id: bytes, frames: list[zmq.Frame]) -> None:
        limiter = self._limiters[peer_id]
        if not limiter.take(sum(len(frame) for frame in frames), self._mesh.now()):
            if limiter.dropped & (limiter.dropped - 1) == 0:  # the 1st, 2nd, 4th, 8th ...
                self._notify(Flooded(peer_id, limiter.dropped))
            return
        size = sum(len(frame) for frame in frames)
        if len(frames) == 1 and size <= MAX_MESSAGE_BYTES:
            self._notify(Received(peer_id, frames[0].bytes))
        else:
            self._notify(Misframed(peer_id, len(frames), size))

    def _tick(self) -> None:
        self._ticking = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        try:
            self._mesh.tick()
        except Exception as error:
            self._faulted(error)

    def _tried(
        self,
        send: Callable[[bytes, list[bytes | memoryview]], bool],
        peer_id: bytes,
        frames: list[bytes | memoryview],
    ) -> bool:
        """Send. A message that the machine cannot send is lost, like one without a link."""
        try:
            return send(peer_id, frames)
        except Exception as error:
            self._faulted(error)
            return False

    def _faulted(self, error: Exception) -> None:
        self._faults += 1
        self._notify(Faulted(f"{type(error).__name__}: {error}", self._faults))


class LoopReactor:
    """Watches the edge-triggered descriptors of sockets on the running loop.

    Args:
        faulted: called with an exception of a handler; the reactor goes on.
    """

    def __init__(self, faulted: Callable[[Exception], None]) -> None:
        self._faulted = faulted
        self._drains: dict[RawSocket, Callable[[], bool]] = {}
        self._due: set[RawSocket] = set()

    def watch(self, socket: RawSocket, drain: Callable[[], bool]) -> None:
        self._drains[socket] = drain
        asyncio.get_running_loop().add_reader(socket.FD, self._run, socket)
        self.touched(socket)

    def unwatch(self, socket: RawSocket) -> None:
        del self._drains[socket]
        asyncio.get_running_loop().remove_reader(socket.FD)

    def touched(self, socket: RawSocket) -> None:
        if socket not in self._due:
            self._due.add(socket)
            asyncio.get_running_loop().call_soon(self._run, socket)

    def background(self, work: Callable[[], str], done: Callable[[str | OSError], None]) -> None:
        loop, context = asyncio.get_running_loop(), copy_context()

        def heard(found: str | OSError) -> None:
            try:
                done(found)
            except Exception as error:
                self._faulted(error)

        def hand_over(found: str | OSError) -> None:
            try:
                loop.call_soon_threadsafe(heard, found, context=context)
            except RuntimeError:
                return  # the loop has ended, and so has the caller

        background(work, hand_over)

    def _run(self, socket: RawSocket) -> None:
        self._due.discard(socket)
        drain = self._drains.get(socket)
        if drain is None:
            return
        more = True  # after an exception too, or the rest of the input would get no edge
        try:
            more = drain()
        except Exception as error:
            self._faulted(error)
        if more and socket in self._drains:
            self.touched(socket)
