"""CURVE sockets (ZMTP RFC 26) and the gate that says who may enter (ZAP, RFC 27)."""

import errno
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

import zmq
from zmq.utils import z85

from dcfm_node.errors import UserError
from dcfm_node.net.reach import CONNECT_S

ZAP_ENDPOINT = "inproc://zeromq.zap.01"
ZAP_DOMAIN = b"dcfm"
FRAME_SLACK = 64 << 10
"""Room for what CURVE and the header add to the largest payload."""

HANDSHAKE_S = 2.0
"""A connection on which no handshake came about in so long is given up."""

RawSocket = zmq.Socket[bytes]


class Reactor(Protocol):
    """Calls `drain` when a socket may have input. `drain` returns True when it left some."""

    def watch(self, socket: RawSocket, drain: Callable[[], bool]) -> None: ...

    def unwatch(self, socket: RawSocket) -> None: ...

    def touched(self, socket: RawSocket) -> None:
        """The socket was sent on, which can swallow the edge of its file descriptor."""
        ...

    def background(self, work: Callable[[], str], done: Callable[[str | OSError], None]) -> None:
        """Call `work` in another thread, then `done` with what it gave or raised in this one.

        Raises:
            RuntimeError: the system has no thread left.
        """
        ...


@dataclass(frozen=True, slots=True)
class Plane:
    """What the sockets of one plane share: our keys and their bounds."""

    public: str
    secret: str
    payload_bytes: int
    """Largest payload of a frame."""
    queue: int
    """High-water mark in messages, per peer and direction."""
    silence_s: float
    """A link on which nothing was heard for so long is dead."""


def listening_socket(context: "zmq.Context[RawSocket]", plane: Plane) -> RawSocket:
    """An unbound ROUTER that asks the gate about every client."""
    socket = context.socket(zmq.ROUTER)
    _common(socket, plane)
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
    # Without enforcement a missing handler would let every key in.
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.ROUTER_HANDOVER, 0)
    return socket


def dialling_socket(context: "zmq.Context[RawSocket]", plane: Plane, server_key: str) -> RawSocket:
    """An unconnected DEALER that talks to the holder of `server_key` only."""
    socket = context.socket(zmq.DEALER)
    _common(socket, plane)
    socket.setsockopt(zmq.CURVE_SERVERKEY, server_key.encode())
    # Queue nothing for a peer that is not there.
    socket.setsockopt(zmq.IMMEDIATE, 1)
    # Each dial has a socket of its own: libzmq dials on in silence, and never after a refusal.
    socket.setsockopt(zmq.RECONNECT_IVL, -1)
    socket.setsockopt(zmq.CONNECT_TIMEOUT, int(CONNECT_S * 1_000))
    return socket


def _common(socket: RawSocket, plane: Plane) -> None:
    options = {
        zmq.LINGER: 0,
        zmq.SNDHWM: plane.queue,
        zmq.RCVHWM: plane.queue,
        zmq.MAXMSGSIZE: plane.payload_bytes + FRAME_SLACK,
        zmq.HANDSHAKE_IVL: int(HANDSHAKE_S * 1_000),
        # HEARTBEAT_IVL can abort a connecting process in libzmq 4.3.5: the kernel watches instead.
        zmq.TCP_KEEPALIVE: 1,
        zmq.TCP_KEEPALIVE_IDLE: 10,
        zmq.TCP_KEEPALIVE_INTVL: 5,
        zmq.TCP_KEEPALIVE_CNT: 3,
        zmq.TCP_MAXRT: 30_000,
    }
    for option, value in options.items():
        socket.setsockopt(option, value)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, plane.public.encode())
    socket.setsockopt(zmq.CURVE_SECRETKEY, plane.secret.encode())


def bind(socket: RawSocket, address: str) -> str:
    """Bind and return the endpoint, with the port that the system chose for `*`.

    Raises:
        UserError: the address is malformed, taken or not ours.
    """
    socket.setsockopt(zmq.IPV6, int("[" in address))
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        taken = error.errno == errno.EADDRINUSE
        fix = "stop the other process or choose another port" if taken else "check the address"
        raise UserError(f"cannot listen on {address}: {error.strerror}", fix=fix) from error
    return str(socket.get_string(zmq.LAST_ENDPOINT)).rstrip("\0")


def connect(socket: RawSocket, address: str, name: str) -> None:
    """Start connecting.

    Raises:
        UserError: the address is malformed.
    """
    socket.setsockopt(zmq.IPV6, int("[" in address))
    try:
        socket.connect(address)
    except zmq.ZMQError as error:
        raise UserError(
            f"cannot dial {address}: {error.strerror}",
            where=f"peer {name}",
            fix='write its address as "tcp://host:port"',
        ) from error


class Gate:
    """Decides ZAP requests: a client enters when its long-term key is on the list.

    Args:
        allowed: link keys, Z85.
        admits: whether the holder of one of them may make another link now.
    """

    def __init__(
        self, allowed: Collection[str], admits: Callable[[str], bool] = lambda link_key: True
    ) -> None:
        self._allowed, self._admits = frozenset(allowed), admits

    def answer(self, request: list[bytes]) -> tuple[list[bytes], tuple[str, str] | None]:
        """The reply to a request, both without the delimiter. Total: any input has an answer.

        Returns:
            The reply, and the (link key, address) of a client turned away for its key, or put off.
        """
        match request:
            case [b"1.0", number, domain, address, _, b"CURVE", key] if len(key) == 32:
                link_key = z85.encode(key).decode()
                stranger = (link_key, address.decode("ascii", "replace"))
                if domain == ZAP_DOMAIN and link_key in self._allowed:
                    if not self._admits(link_key):
                        return [b"1.0", number, b"300", b"too many links", b"", b""], stranger
                    return [b"1.0", number, b"200", b"OK", link_key.encode(), b""], None
                return [b"1.0", number, b"400", b"unknown key", b"", b""], stranger
            case [_, number, *_]:
                return [b"1.0", number, b"400", b"not a CURVE request", b"", b""], None
            case _:
                return [b"1.0", b"1", b"500", b"malformed request", b"", b""], None


_PROTOCOL_FAILURES = {
    int(event): name.removeprefix("PROTOCOL_ERROR_").lower().replace("_", " ")
    for name, event in zmq.Event.__members__.items()
    if name.startswith("PROTOCOL_ERROR_")
}


def protocol_failure(value: int) -> str:
    """Words for the value of a HANDSHAKE_FAILED_PROTOCOL event."""
    return _PROTOCOL_FAILURES.get(value, f"code {value:#x}")
