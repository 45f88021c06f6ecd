"""Our own connection to one peer: a DEALER, what its monitor says, and when to dial again."""

from dataclasses import dataclass
from typing import Protocol

import zmq

from dcfm_node.net.curve import (
    HANDSHAKE_S,
    Plane,
    RawSocket,
    Reactor,
    connect,
    dialling_socket,
    protocol_failure,
)
from dcfm_node.net.monitor import Monitor, drain
from dcfm_node.net.peers import LinkPeer, Refused

MAX_FRAMES = 2
SIGN_OF_LIFE_S = 2.0
"""An empty message goes out on a link that sent nothing for so long."""
FIRST_REDIAL_S, LAST_REDIAL_S = 0.5, 10.0
BREAKS_BEFORE_REPORT = 2


class Owner(Protocol):
    """Who owns the links and is told what happens on them."""

    def arrived(self, link_key: str, frames: list[zmq.Frame]) -> None:
        """A message, not a sign of life, of the holder of a key."""
        ...

    def changed(self, link_key: str) -> None:
        """A link of this peer came up or went down."""
        ...

    def refused(self, event: Refused) -> None: ...

    def now(self) -> float:
        """Seconds, monotonic."""
        ...


@dataclass(frozen=True, slots=True)
class Wiring:
    """What dialers and the door of one mesh share."""

    context: "zmq.Context[RawSocket]"
    reactor: Reactor
    plane: Plane
    owner: Owner


def receive(socket: RawSocket) -> list[zmq.Frame]:
    """One message without waiting, cut to `MAX_FRAMES` + 2 frames: more is never legal."""
    frames = [socket.recv(zmq.DONTWAIT, copy=False)]
    while frames[-1].more:
        frame = socket.recv(zmq.DONTWAIT, copy=False)
        if len(frames) < MAX_FRAMES + 2:
            frames.append(frame)
        else:
            frames[-1] = frame
    return frames


def try_send(socket: RawSocket, frames: list[bytes | memoryview]) -> bool:
    """Send without waiting; large buffers are not copied. False when the queue is full."""
    try:
        socket.send_multipart(frames, zmq.DONTWAIT, copy=False)
    except zmq.Again:
        return False
    return True


class Dialer:
    """Dials `peer` at `address` for as long as it lives. `up` while a handshake stands.

    libzmq reconnects a connection that broke. It never does so after a refusal, so any failed
    handshake is answered with a fresh socket, after a growing pause.
    """

    def __init__(self, wiring: Wiring, peer: LinkPeer, address: str) -> None:
        self._context, self._reactor = wiring.context, wiring.reactor
        self._plane, self._owner = wiring.plane, wiring.owner
        self._peer, self._address = peer, address
        self._socket: RawSocket | None = None
        self._monitor: Monitor | None = None
        self._redial_at, self._pause = 0.0, FIRST_REDIAL_S
        self._heard = self._sent = self._connected_at = 0.0
        self._breaks = 0
        self._reported = ""
        self.up = False

    def open(self) -> None:
        """Start dialling. Raises UserError when the address is malformed."""
        socket = dialling_socket(self._context, self._plane, self._peer.link_key)
        self._socket = socket
        self._monitor = Monitor(self._reactor, socket, self._on_event)
        self._reactor.watch(socket, lambda: drain(socket, self._receive))
        connect(socket, self._address, self._peer.name)

    def close(self) -> None:
        if self._socket is None or self._monitor is None:
            return
        self._monitor.close()
        self._reactor.unwatch(self._socket)
        self._socket.close(linger=0)
        self._socket = self._monitor = None
        self._set_up(False)

    def tick(self, now: float) -> None:
        """Redial when due, leave a silent link, show a sign of life on an idle one."""
        if self._socket is None:
            if now >= self._redial_at:
                self.open()
        elif self.up and now - self._heard > self._plane.silence_s:
            self._hang_up(now)
        elif self.up and now - self._sent >= SIGN_OF_LIFE_S:
            self.send([b""])

    def send(self, frames: list[bytes | memoryview]) -> bool:
        if not self.up or self._socket is None or not try_send(self._socket, frames):
            return False
        self._sent = self._owner.now()
        self._reactor.touched(self._socket)
        return True

    def _receive(self) -> None:
        assert self._socket is not None
        frames = receive(self._socket)
        self._heard = self._owner.now()
        if len(frames) > 1 or len(frames[0]):
            self._owner.arrived(self._peer.link_key, frames)

    def _on_event(self, event: int, value: int) -> None:
        match event:
            case zmq.EVENT_CONNECTED:
                self._connected_at = self._owner.now()
            case zmq.EVENT_HANDSHAKE_SUCCEEDED:
                if self._reported:
                    self._report("")
                self._pause, self._breaks = FIRST_REDIAL_S, 0
                self._heard = self._owner.now()
                self._set_up(True)
                # The peer learns of the route back to us by the first message on it.
                self.send([b""])
            case zmq.EVENT_DISCONNECTED:
                self._set_up(False)
            case zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self._fail(
                    f"it does not know our link key {self._plane.public}; it must approve it"
                )
            case zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                self._fail(f"the handshake failed: {protocol_failure(value)}")
            case zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
                self._breaks += 1
                self._fail(self._silence() if self._breaks >= BREAKS_BEFORE_REPORT else "")

    def _silence(self) -> str:
        """What a handshake that ended without a word may mean. libzmq tells alike of a peer that
        hung up and of one that never answered: a stopped process's kernel goes on accepting."""
        if self._owner.now() - self._connected_at < HANDSHAKE_S / 2:
            return (
                "it ended the handshake without a word: is the link key that we have for it right,"
                " and is it a dcfm-node of this version?"
            )
        return (
            f"it accepts connections and says nothing for {HANDSHAKE_S:g} s: its process is stopped"
            " or its machine too busy, or what listens there is no dcfm-node"
        )

    def _fail(self, reason: str) -> None:
        if reason and reason != self._reported:
            self._report(reason)
        self._hang_up(self._owner.now())

    def _report(self, reason: str) -> None:
        self._reported, peer = reason, self._peer
        self._owner.refused(Refused(peer.name, peer.link_key, self._address, reason))

    def _hang_up(self, now: float) -> None:
        self._redial_at = now + self._pause
        self._pause = min(2 * self._pause, LAST_REDIAL_S)
        self.close()

    def _set_up(self, up: bool) -> None:
        if self.up != up:
            self.up = up
            self._owner.changed(self._peer.link_key)
