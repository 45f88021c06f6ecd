"""Our own connection to one peer: a DEALER socket, its monitor, and the time of the next dial."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import zmq

from dcfm_node.errors import UserError
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
from dcfm_node.net.peers import Failure, LinkPeer, Refused
from dcfm_node.net.reach import CONNECT_S, parts, reach

MAX_FRAMES = 3
SIGN_OF_LIFE_S = 2.0
"""Seconds without a message on a link until an empty one is sent."""
FIRST_REDIAL_S, LAST_REDIAL_S = 0.5, 10.0
STEADY_S = 10.0
"""A link that was up for this many seconds is redialled soon after it breaks. Other links wait
longer, because the peer's listener limits handshakes (SPEC 4.1.5)."""
FIRST_AGAIN_S, LAST_AGAIN_S = 60.0, 3_600.0
"""First and longest pause in seconds until a guest tries the plane's own port again."""
BREAKS_BEFORE_REPORT = 2
DIAL_S = CONNECT_S + 2 * HANDSHAKE_S
"""Seconds until a dial without a result is given up."""


class Owner(Protocol):
    """The owner of the links, which receives their events."""

    def arrived(self, link_key: str, frames: list[zmq.Frame], *, guest: bool = False) -> None:
        """The holder of a key sent a message (not an empty sign of life)."""
        ...

    def changed(self, link_key: str) -> None:
        """A link of this peer came up or went down."""
        ...

    def is_routed(self, link_key: str) -> bool:
        """Whether a link that this peer dialled is up."""
        ...

    def refused(self, event: Refused) -> None: ...

    def asked(self, link_key: str, data: bytes) -> bytes | None:
        """The guest of an invite sent a message (SPEC 4.8). Returns the answer, if any."""
        ...

    def now(self) -> float:
        """The monotonic clock, in seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Wiring:
    """The parts that the dialers and the listener of one mesh share."""

    context: "zmq.Context[RawSocket]"
    reactor: Reactor
    plane: Plane
    owner: Owner


def receive(socket: RawSocket) -> list[zmq.Frame]:
    """Receive one message without waiting, with at most `MAX_FRAMES` + 2 frames; no valid message
    has more."""
    frames = [socket.recv(zmq.DONTWAIT, copy=False)]
    while frames[-1].more:
        frame = socket.recv(zmq.DONTWAIT, copy=False)
        if len(frames) < MAX_FRAMES + 2:
            frames.append(frame)
        else:
            frames[-1] = frame
    return frames


def try_send(socket: RawSocket, frames: list[bytes | memoryview]) -> bool:
    """Send without waiting; large buffers are not copied. False if the queue is full."""
    try:
        socket.send_multipart(frames, zmq.DONTWAIT, copy=False)
    except zmq.Again:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Target:
    """An address that a plane's dialer may dial.

    Attributes:
        guest: whether it is the peer's control port and the plane is bulk (SPEC 4.1.4).
    """

    address: str
    guest: bool = False


class Dialer:
    """Dials a peer until it is closed, at its targets in turn. `up` says whether a link is up.

    Each dial first finds out whether the address accepts connections, and uses a new socket. The
    pause between dials grows.
    """

    def __init__(self, wiring: Wiring, peer: LinkPeer, targets: Sequence[Target]) -> None:
        self._context, self._reactor = wiring.context, wiring.reactor
        self._plane, self._owner = wiring.plane, wiring.owner
        self._peer, self._targets, self._turn = peer, targets, 0
        self._socket: RawSocket | None = None
        self._monitor: Monitor | None = None
        self._asking = 0
        """Number of the pending question; negative once it was answered."""
        self._redial_at, self._pause = 0.0, FIRST_REDIAL_S
        self._heard = self._sent = self._dialled_at = self._connected_at = self._up_at = 0.0
        self._again_at, self._again = 0.0, FIRST_AGAIN_S
        self._breaks = 0
        self._descriptor: int | None = None
        self._failures: dict[str, Failure] = {}
        self.up = False

    @property
    def guest(self) -> bool:
        """Whether the present link is a guest's, at the control port."""
        return self._targets[self._turn].guest

    @property
    def descriptor(self) -> int | None:
        """Descriptor of the link's connection, for what the kernel measured; None without one."""
        return self._descriptor if self.up else None

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The failing dials, one per address."""
        return tuple(self._failures.values())

    def open(self) -> None:
        """Start dialling. Raises UserError if an address is malformed."""
        for target in self._targets:
            try:
                parts(target.address)
            except ValueError as error:
                raise UserError(
                    f"cannot dial {target.address}: it is not an address",
                    where=f"peer {self._peer.name}",
                    fix='write its address as "tcp://host:port"',
                ) from error
        self._ask(self._targets[0])

    def close(self) -> None:
        """Close the link, and ignore a pending answer."""
        self._asking = -abs(self._asking)
        if self._socket is None:
            return
        if self._monitor is not None:
            self._monitor.close()
            self._reactor.unwatch(self._socket)
        self._socket.close(linger=0)
        self._socket = self._monitor = None
        self._set_up(False)

    def tick(self, now: float) -> None:
        """Redial if it is time, close a silent link, send a sign of life on an idle one."""
        if self._socket is None:
            if self._asking <= 0 and now >= self._redial_at:
                if self._owner.is_routed(self._peer.link_key):
                    # With a link of this plane, no guest's link is needed or dialled.
                    self._turn = 0
                    for target in self._targets[1:]:
                        self._failures.pop(target.address, None)
                self._ask(self._targets[self._turn])
        elif not self.up and now - self._dialled_at > DIAL_S:
            self._fail(f"the handshake took more than {DIAL_S:g} s")  # libzmq may not say why
        elif self.up and now - self._heard > self._plane.silence_s:
            self._lost(f"the link was silent for {self._plane.silence_s:g} s")
        elif self.up and now - self._sent >= SIGN_OF_LIFE_S:
            self.send([b""])
        if self.up and self.guest and self._asking <= 0 and now >= self._again_at:
            self._again_at = now + self._again
            self._again = min(2 * self._again, LAST_AGAIN_S)
            self._ask(self._targets[0])

    def send(self, frames: list[bytes | memoryview]) -> bool:
        """Send. False if no link is up, or its queue is full."""
        frames = [b"", *frames] if self.guest else frames
        if not self.up or self._socket is None or not try_send(self._socket, frames):
            return False
        self._sent = self._owner.now()
        self._reactor.touched(self._socket)
        return True

    def _ask(self, target: Target) -> None:
        """Find out in the background whether the address accepts connections."""
        self._asking = number = abs(self._asking) + 1
        try:
            self._reactor.background(
                partial(reach, target.address), partial(self._answered, number, target)
            )
        except RuntimeError as error:
            self._answered(number, target, OSError(str(error)))

    def _answered(self, number: int, target: Target, found: str | OSError) -> None:
        if number != self._asking:
            return
        self._asking = -number
        if self._socket is None and isinstance(found, str):
            self._connect(found)
        elif self._socket is None:
            self._fail(str(found))
        elif isinstance(found, str):  # the own port answers, so the guest's link can go
            self.close()
            self._turn = 0
            self._connect(found)
        else:
            self._note(target, str(found))

    def _connect(self, endpoint: str) -> None:
        """Dial a numeric address. The monitor reports failures."""
        self._dialled_at = self._owner.now()
        try:
            socket = self._socket = dialling_socket(self._context, self._plane, self._peer.link_key)
            self._monitor = Monitor(self._reactor, socket, self._on_event)
            self._reactor.watch(socket, lambda: drain(socket, self._receive))
            connect(socket, endpoint, self._peer.name)
        except (zmq.ZMQError, UserError) as error:
            self._fail(str(error).lower())

    def _receive(self) -> None:
        assert self._socket is not None
        frames = receive(self._socket)
        self._heard = self._owner.now()
        if self.guest and len(frames) > 1 and not len(frames[0]):
            del frames[0]
        if len(frames) > 1 or len(frames[0]):
            self._owner.arrived(self._peer.link_key, frames)

    def _on_event(self, event: int, value: int) -> None:
        match event:
            case zmq.EVENT_CONNECTED:
                self._connected_at, self._descriptor = self._owner.now(), value
            case zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._succeeded()
            case zmq.EVENT_CLOSED:
                self._fail("it refused the connection, or did not answer")
            case zmq.EVENT_DISCONNECTED if self.up:
                self._lost("")
            case zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self._fail(
                    f"it does not know our link key {self._plane.public}; it must approve it"
                )
            case zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                self._fail(f"the handshake failed: {protocol_failure(value)}")
            case zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_DISCONNECTED:
                self._breaks += 1
                self._fail(self._silence() if self._breaks >= BREAKS_BEFORE_REPORT else "")

    def _succeeded(self) -> None:
        target, now = self._targets[self._turn], self._owner.now()
        # With a link at the plane's own port, the failures at the control port are history too.
        over = [target.address] if target.guest else list(self._failures)
        for address in over:
            if self._failures.pop(address, None) is not None:
                self._tell(Failure(address, 0, ""))
        self._breaks = 0
        self._heard = self._up_at = now
        self._again_at = now + self._again
        self._set_up(True)
        # The first message tells the peer about the route back to us.
        self.send([b""])

    def _silence(self) -> str:
        """The likely cause of a handshake that ended without a reason. libzmq does not tell a peer
        that hung up from one that never answered: a kernel accepts for a stopped process."""
        if self._owner.now() - self._connected_at < HANDSHAKE_S / 2:
            return (
                "it ended the handshake without a reason: check that its link key here is right,"
                " that it is a dcfm-node of this version, and that no proxy answers for it"
            )
        return (
            f"it accepts connections and sends nothing for {HANDSHAKE_S:g} s: its process is"
            " stopped, its machine is too busy, or the program there is not dcfm-node"
        )

    def _lost(self, reason: str) -> None:
        """A link went down: dial again, from the first target."""
        if self._owner.now() - self._up_at > STEADY_S:
            self._pause = FIRST_REDIAL_S
        self._fail(reason)
        self._turn = 0

    def _fail(self, reason: str) -> None:
        """Close the link, and dial the next target after a pause."""
        if reason:
            self._note(self._targets[self._turn], reason)
        self._redial_at = self._owner.now() + self._pause
        self._pause = min(2 * self._pause, LAST_REDIAL_S)
        self.close()
        self._turn = (self._turn + 1) % len(self._targets)

    def _note(self, target: Target, reason: str) -> None:
        """Report a failure if it is new, and then at its 2nd, 4th, 8th ... repetition."""
        before = self._failures.get(target.address)
        times = before.times + 1 if before is not None else 1
        self._failures[target.address] = failure = Failure(target.address, times, reason)
        if before is None or reason != before.reason or times & (times - 1) == 0:
            self._tell(failure)

    def _tell(self, failure: Failure) -> None:
        peer, at = self._peer, failure.address
        self._owner.refused(Refused(peer.name, peer.link_key, at, failure.reason, failure.times))

    def _set_up(self, up: bool) -> None:
        if self.up != up:
            self.up = up
            self._owner.changed(self._peer.link_key)
