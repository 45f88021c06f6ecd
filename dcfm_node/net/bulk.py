"""The bulk plane: snapshots between peers, in a thread of its own.

It has its own sockets and context, so that a gigabyte on its way never delays a sign of life.
"""

import socket as sockets
import time
from collections.abc import Callable, Sequence
from math import ceil, inf
from queue import Empty, SimpleQueue
from random import Random
from threading import Thread

import zmq

from dcfm_node.net.carrier import (
    BadPeer,
    BulkEvent,
    Carrier,
    Crashed,
    Fetched,
    FetchFailed,
    Progressed,
    ServeFailed,
)
from dcfm_node.net.curve import Plane, RawSocket
from dcfm_node.net.mesh import TICK_S, Mesh
from dcfm_node.net.peers import Down, LinkPeer, Refused, Up
from dcfm_node.records.entries import Snapshot
from dcfm_node.swarm.chunks import CHUNK_BYTES, SnapshotFiles
from dcfm_node.swarm.transfer import WINDOW

__all__ = [
    "BadPeer",
    "Bulk",
    "BulkEvent",
    "Crashed",
    "FetchFailed",
    "Fetched",
    "Progressed",
    "ServeFailed",
]

QUEUE = 6 * WINDOW
"""Messages per peer and direction. A sender learns of what was taken only when it is half a queue;
the other half has room for the chunks that a peer wants, those wanted of it, and what is told
beside: an honest peer never fills it. What is lost by a full queue costs seconds of patience."""
SILENCE_S = 120.0
"""Longer than a chunk takes on the slowest link of use; the kernel finds dead hosts sooner."""
IO_THREADS = 2
CLOSE_S = 10.0


class Bulk:
    """Serves held snapshots to the allowed peers and fetches what it is told.

    Args:
        secret: our Curve25519 link key, Z85; `public` is its other half.
        listen: "tcp://host:port" to bind (port `*` for any), None to only dial out.
        peers: the allow list.
        files: touched by the bulk thread alone.
        upload: bytes of chunks that are sent in a second, at most.
        notify: called from the bulk thread.
    """

    def __init__(
        self,
        *,
        secret: str,
        public: str,
        listen: str | None,
        peers: Sequence[LinkPeer],
        files: SnapshotFiles,
        notify: Callable[[BulkEvent], None],
        upload: float = inf,
    ) -> None:
        self._notify = notify
        self._commands: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._reactor = ThreadReactor()
        self._closing = False
        self._thread: Thread | None = None
        self._mesh = Mesh(
            reactor=self._reactor,
            plane=Plane(public, secret, CHUNK_BYTES, QUEUE, SILENCE_S),
            listen=listen,
            peers=[(peer, peer.bulk) for peer in peers if peer.link_key != public],
            notify=self._on_link,
            deliver=self._deliver,
            io_threads=IO_THREADS,
        )
        self._carrier = Carrier(files, self._mesh.send, notify, Random(), upload)

    @property
    def address(self) -> str | None:
        """The bound endpoint, once started."""
        return self._mesh.address

    def start(self) -> None:
        """Bind, dial and run. Raises UserError when an address cannot be used."""
        self._mesh.open()
        self._thread = Thread(target=self._run, name="bulk", daemon=True)
        self._thread.start()

    def fetch(self, snapshot: Snapshot) -> None:
        """Download a snapshot unless it is held or under way; asks until `cancel`."""
        self._do(lambda: self._carrier.fetch(snapshot, time.monotonic()))

    def cancel(self, digest: bytes) -> None:
        """Forget a download and its partial file."""
        self._do(lambda: self._carrier.cancel(digest, time.monotonic()))

    def stats(self) -> dict[bytes, tuple[int, int]]:
        """Payload bytes (sent, received) by peer id."""
        return self._mesh.stats()

    def close(self) -> None:
        """Stop the thread and close the sockets; waits `CLOSE_S` at most."""
        if self._thread is not None:
            self._do(self._stop)
            self._thread.join(CLOSE_S)
            self._thread = None

    def _do(self, command: Callable[[], None]) -> None:
        self._commands.put(command)
        self._reactor.wake()

    def _stop(self) -> None:
        self._closing = True

    def _run(self) -> None:
        try:
            self._loop()
        except BaseException as error:
            self._notify(Crashed(f"{type(error).__name__}: {error}"))
            raise
        finally:
            self._mesh.close()
            self._reactor.close()

    def _loop(self) -> None:
        due = 0.0
        while not self._closing:
            now = time.monotonic()
            self._reactor.poll(max(0.0, min(due, self._carrier.due(now)) - now))
            self._obey()
            now = time.monotonic()
            if now >= due:
                due = now + TICK_S
                self._mesh.tick()
                self._carrier.tick(now)
            self._carrier.step(now)

    def _obey(self) -> None:
        try:
            while not self._closing:
                self._commands.get_nowait()()
        except Empty:
            return

    def _on_link(self, event: Up | Down | Refused) -> None:
        # Refusals are told by the control plane, whose keys and gate are the same.
        if not isinstance(event, Refused):
            self._carrier.linked(event.peer_id, isinstance(event, Up), time.monotonic())

    def _deliver(self, peer_id: bytes, frames: list[zmq.Frame]) -> None:
        # Copying a chunk would cost as much as hashing it: its frame is read where it lies.
        self._carrier.received(peer_id, [frame.buffer for frame in frames], time.monotonic())


class ThreadReactor:
    """Polls sockets in one thread; `wake` may be called from any."""

    def __init__(self) -> None:
        self._drains: dict[RawSocket, Callable[[], bool]] = {}
        self._poller = zmq.Poller()
        self._ear, self._mouth = sockets.socketpair()
        for end in (self._ear, self._mouth):
            end.setblocking(False)
        self._poller.register(self._ear, zmq.POLLIN)

    def watch(self, socket: RawSocket, drain: Callable[[], bool]) -> None:
        self._drains[socket] = drain
        self._poller.register(socket, zmq.POLLIN)

    def unwatch(self, socket: RawSocket) -> None:
        del self._drains[socket]
        self._poller.unregister(socket)

    def touched(self, socket: RawSocket) -> None:
        """Nothing to do: polling sees levels, not edges."""

    def wake(self) -> None:
        try:
            self._mouth.send(b"!")
        except OSError:
            return  # it has calls enough to wake it, or has ended

    def poll(self, timeout_s: float) -> None:
        """Wait for input at most so long and let every socket with some drain once."""
        for ready, _ in self._poller.poll(ceil(timeout_s * 1_000)):
            if ready is self._ear or ready == self._ear.fileno():
                self._ear.recv(4_096)
            elif ready in self._drains:
                self._drains[ready]()

    def close(self) -> None:
        self._ear.close()
        self._mouth.close()
