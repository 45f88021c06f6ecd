"""A socket's monitor: the events of its connections in libzmq (zmq_socket_monitor(3))."""

import struct
from collections.abc import Callable
from itertools import count

import zmq

from dcfm_node.net.curve import RawSocket, Reactor

WATCHED = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_ACCEPT_FAILED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_CONNECTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
BATCH = 64
"""Most messages to read from one socket before the others have their turn."""
_names = count()


def drain(socket: RawSocket, handle: Callable[[], None]) -> bool:
    """Call `handle`, which receives one message, until the socket is empty or closed, or at most
    `BATCH` times.

    Returns:
        True if input may be left.
    """
    for _ in range(BATCH):
        if socket.closed:
            return False
        try:
            handle()
        except zmq.Again:
            return False
    return True


class Monitor:
    """Calls `on_event(event, value)` for each event of a socket. Close it before the socket."""

    def __init__(
        self, reactor: Reactor, watched: RawSocket, on_event: Callable[[int, int], None]
    ) -> None:
        self._reactor, self._watched, self._on_event = reactor, watched, on_event
        # A closed monitor frees its name late, so each monitor gets a new name.
        address = f"inproc://monitor-{next(_names)}"
        self._socket = watched.context.socket(zmq.PAIR)
        try:
            watched.monitor(address, WATCHED)
        except zmq.ZMQError:  # no descriptors are left
            self._socket.close(linger=0)
            raise
        self._socket.setsockopt(zmq.LINGER, 0)
        # Once 1,000 events (its own bound) are unread, libzmq accepts no more connections.
        self._socket.setsockopt(zmq.RCVHWM, 1)
        self._socket.connect(address)
        reactor.watch(self._socket, lambda: drain(self._socket, self._receive))

    def close(self) -> None:
        # While its queue is full, libzmq waits for us: read the queue, so that we do not wait too.
        while self._socket.poll(0):
            self._socket.recv_multipart()
        self._watched.monitor(None, 0)
        self._reactor.unwatch(self._socket)
        self._socket.close(linger=0)

    def _receive(self) -> None:
        head = self._socket.recv_multipart(zmq.DONTWAIT)[0]
        event, value = struct.unpack("=HI", head)
        self._on_event(event, value)
