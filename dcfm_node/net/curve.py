"""CURVE sockets (ZeroMQ RFC 26), and the gate that admits clients by key (ZAP, RFC 27)."""

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
"""Bytes that CURVE and the header add to the largest payload, at most."""

HANDSHAKE_S = 2.0
"""Seconds for a handshake. A connection without one is closed."""

RawSocket = zmq.Socket[bytes]


class Reactor(Protocol):
    """Calls `drain` when a socket may have input. `drain` returns True if input may be left."""

    def watch(self, socket: RawSocket, drain: Callable[[], bool]) -> None: ...

    def unwatch(self, socket: RawSocket) -> None: ...

    def touched(self, socket: RawSocket) -> None:
        """Call after a send, because a send can hide the edge of the socket's file descriptor."""
        ...

    def background(self, work: Callable[[], str], done: Callable[[str | OSError], None]) -> None:
        """Call `work` in another thread, then `done` in this one with its result or its OSError.

        Raises:
            RuntimeError: the system cannot start another thread.
        """
        ...


@dataclass(frozen=True, slots=True)
class Plane:
    """Shared settings of the sockets of one plane: our keys (Z85) and bounds."""

    public: str
    secret: str
    payload_bytes: int
    """Largest payload of a frame, in bytes."""
    queue: int
    """High-water mark in messages, per peer and direction."""
    silence_s: float
    """A link counts as dead after this many seconds without input."""


def listening_socket(context: "zmq.Context[RawSocket]", plane: Plane) -> RawSocket:
    """An unbound ROUTER socket that asks the gate about every client."""
    socket = context.socket(zmq.ROUTER)
    _common(socket, plane)
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
    # Without enforcement, a missing handler would admit every key.
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.ROUTER_HANDOVER, 0)
    return socket


def dialling_socket(context: "zmq.Context[RawSocket]", plane: Plane, server_key: str) -> RawSocket:
    """An unconnected DEALER socket that talks only to the holder of `server_key`."""
    socket = context.socket(zmq.DEALER)
    _common(socket, plane)
    socket.setsockopt(zmq.CURVE_SERVERKEY, server_key.encode())
    # Queue nothing for an absent peer.
    socket.setsockopt(zmq.IMMEDIATE, 1)
    # Each dial has its own socket: libzmq would redial silently, and never after a refusal.
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
        # HEARTBEAT_IVL can abort a connecting process in libzmq 4.3.5, so the kernel watches.
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
    """Bind, and return the endpoint, with the port that the system chose for `*`.

    Raises:
        UserError: the address is malformed, in use, or not one of this machine.
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
    """Decides ZAP requests: it admits a client if its long-term key is on the list.

    Args:
        allowed: link keys, Z85.
        admits: whether the holder of an allowed key may make another link now.
    """

    def __init__(
        self, allowed: Collection[str], admits: Callable[[str], bool] = lambda link_key: True
    ) -> None:
        self._allowed, self._admits = frozenset(allowed), admits

    def allow(self, allowed: Collection[str]) -> None:
        """Use another list from now on. Connections that were admitted stay."""
        self._allowed = frozenset(allowed)

    def answer(self, request: list[bytes]) -> tuple[list[bytes], tuple[str, str] | None]:
        """The reply to a request, both without the delimiter. Every input has a reply.

        Returns:
            The reply, and the (link key, address) of a refused client; None if there is none.
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
    """Text for the value of a HANDSHAKE_FAILED_PROTOCOL event."""
    return _PROTOCOL_FAILURES.get(value, f"code {value:#x}")
