"""The bulk plane: snapshots between peers, in a separate thread.

It has its own sockets and context, so that a large transfer never delays a heartbeat.
"""

import socket as sockets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil, inf
from queue import SimpleQueue
from random import Random
from threading import Semaphore, Thread

import zmq

from dcfm_node.net.carrier import (
    BadPeer,
    BulkEvent,
    Carrier,
    Crashed,
    Fetched,
    FetchFailed,
    FetchProgressed,
    ServeFailed,
)
from dcfm_node.net.curve import Plane, RawSocket
from dcfm_node.net.dialer import Target
from dcfm_node.net.frames import Buffer
from dcfm_node.net.mesh import TICK_S, Mesh, Sent
from dcfm_node.net.peers import Crowd, Down, Faulted, LinkPeer, Refused, Twice, Up, Way
from dcfm_node.net.reach import background
from dcfm_node.records.entries import Snapshot
from dcfm_node.swarm.chunks import CHUNK_BYTES, SnapshotFiles
from dcfm_node.swarm.transfer import WINDOW

__all__ = [
    "BadPeer",
    "Bulk",
    "BulkEvent",
    "Crashed",
    "FetchFailed",
    "FetchProgressed",
    "Fetched",
    "ServeFailed",
]

QUEUE = 6 * WINDOW
"""Messages per peer and direction. A sender learns of free places only when half a queue is free.
The other half has room for the chunks in both directions and for other messages, so an honest peer
never fills it. A message lost to a full queue costs seconds, until a timeout."""
SILENCE_S = 120.0
"""Seconds; longer than a chunk takes on the slowest useful link. The kernel finds dead hosts
sooner."""
IO_THREADS = 2
CLOSE_S = 10.0
FAULT_PAUSE_S = 0.25
"""Seconds to wait after an exception, so that a repeated one does not fill the CPU."""
ROOM = 256


class Bulk:
    """Serves held snapshots to the allowed peers, and fetches the requested ones.

    Args:
        secret: our Curve25519 link key, Z85; `public` is its other half.
        listen: "tcp://host:port" to bind (port `*` for any free one); None to only dial out.
        peers: the allow list.
        files: the snapshots; only the bulk thread uses this object.
        upload: most bytes of chunks sent per second; the default sets no limit.
        notify: called from the bulk thread with every event.
        room: most connections of unknown callers.
        relay: sends to a guest (SPEC 4.1.4) by the control plane; called from the bulk thread.
        sent: as of a `Mesh`; called from the bulk thread.
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
        room: int = ROOM,
        relay: Callable[[bytes, list[Buffer]], None] = lambda peer, frames: None,
        sent: Sent = lambda peer, frames, guest: None,
    ) -> None:
        self._notify, self._relay, self._public = notify, relay, public
        self._reactor = ThreadReactor()
        self._closing = False
        self._up: set[bytes] = set()
        self._guests: set[bytes] = set()
        self._taken = {peer.id: Semaphore(QUEUE) for peer in peers}
        """Free places for messages of guests between the two planes."""
        self._thread: Thread | None = None
        self._mesh = Mesh(
            reactor=self._reactor,
            plane=Plane(public, secret, CHUNK_BYTES, QUEUE, SILENCE_S),
            listen=listen,
            peers=[(peer, _targets(peer)) for peer in peers if peer.link_key != public],
            room=room,
            notify=self._on_link,
            deliver=self._deliver,
            sent=sent,
            io_threads=IO_THREADS,
        )
        self._carrier = Carrier(files, self._send, notify, Random(), upload)

    @property
    def address(self) -> str | None:
        """The bound endpoint, once started."""
        return self._mesh.address

    def start(self) -> None:
        """Bind, dial and run. Raises UserError if an address cannot be used."""
        self._mesh.open()
        self._thread = Thread(target=self._run, name="bulk", daemon=True)
        self._thread.start()

    def admit(self, peers: Sequence[LinkPeer]) -> None:
        """Link with these peers from now on, and with no others. Addresses must be well-formed."""
        for peer in peers:
            self._taken.setdefault(peer.id, Semaphore(QUEUE))
        targets = [(peer, _targets(peer)) for peer in peers if peer.link_key != self._public]
        self._reactor.call(lambda: self._mesh.admit(targets))

    def set_upload(self, upload: float) -> None:
        """Send at most this many bytes of chunks per second; `inf` for no limit."""
        self._reactor.call(lambda: self._carrier.set_upload(upload))

    def fetch(self, snapshot: Snapshot) -> None:
        """Download a snapshot, unless it is held or downloading. It asks peers until `cancel`."""
        self._reactor.call(lambda: self._carrier.fetch(snapshot, time.monotonic()))

    def cancel(self, digest: bytes) -> None:
        """Stop a download, and delete its partial file."""
        self._reactor.call(lambda: self._carrier.cancel(digest, time.monotonic()))

    def deliver(self, peer_id: bytes, frames: list[zmq.Frame]) -> None:
        """Accept a guest's message from the control port. It is lost if too many of them wait,
        as with a full queue."""
        if self._taken[peer_id].acquire(blocking=False):
            self._reactor.call(lambda: self._take(peer_id, frames))

    def changed(self, peer_id: bytes, here: bool) -> None:
        """A peer became a guest at the control port, or stopped being one."""
        self._reactor.call(lambda: self._set_linked(self._guests, peer_id, here))

    def ways(self) -> dict[bytes, Way]:
        """How each peer is linked, by its id; called from any thread."""
        return {
            peer: replace(way, via=way.via or ("control port" if peer in self._guests else ""))
            for peer, way in self._mesh.ways().items()
        }

    def crowd(self) -> Crowd:
        """Unknown connections at the listener; called from any thread."""
        return self._mesh.crowd()

    def stats(self) -> dict[bytes, tuple[int, int]]:
        """Payload bytes (sent, received) by peer id."""
        return self._mesh.stats()

    def close(self) -> None:
        """Stop the thread and close the sockets; waits at most `CLOSE_S` seconds."""
        if self._thread is not None:
            self._reactor.call(self._stop)
            self._thread.join(CLOSE_S)
            self._thread = None

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
        due, faults = 0.0, 0
        while not self._closing:
            try:
                due = self._turn(due)
            except Exception as error:
                faults += 1
                self._notify(Faulted(f"{type(error).__name__}: {error}", faults))
                time.sleep(FAULT_PAUSE_S)

    def _turn(self, due: float) -> float:
        """Do the work at hand; returns the time of the next tick."""
        now = time.monotonic()
        self._reactor.poll(max(0.0, min(due, self._carrier.due(now)) - now))
        now = time.monotonic()
        if now >= due:
            due = now + TICK_S
            self._mesh.tick()
            self._carrier.tick(now)
        self._carrier.step(now)
        return due

    def _send(self, peer_id: bytes, frames: list[Buffer]) -> bool:
        if self._mesh.send(peer_id, frames):
            return True
        if peer_id in self._guests:
            self._relay(peer_id, frames)
        return peer_id in self._guests

    def _on_link(self, event: Up | Down | Refused | Twice) -> None:
        match event:
            case Up(peer_id) | Down(peer_id):
                self._set_linked(self._up, peer_id, isinstance(event, Up))
            case Refused():
                self._notify(event)
            case Twice():  # the control plane reports it
                return

    def _set_linked(self, kind: set[bytes], peer_id: bytes, up: bool) -> None:
        """Note whether a peer is linked here, or as a guest at the control port."""
        before = peer_id in self._up or peer_id in self._guests
        (kind.add if up else kind.discard)(peer_id)
        now = peer_id in self._up or peer_id in self._guests
        if now != before:
            self._carrier.linked(peer_id, now, time.monotonic())

    def _take(self, peer_id: bytes, frames: list[zmq.Frame]) -> None:
        self._taken[peer_id].release()
        self._deliver(peer_id, frames)

    def _deliver(self, peer_id: bytes, frames: list[zmq.Frame]) -> None:
        # Copying a chunk would cost as much as hashing it, so its frame is read in place.
        self._carrier.received(peer_id, [frame.buffer for frame in frames], time.monotonic())


def _targets(peer: LinkPeer) -> list[Target]:
    """The bulk port; if it cannot be reached, the control port."""
    bulk = [Target(peer.bulk)] if peer.bulk is not None else []
    return bulk + ([Target(peer.control, guest=True)] if peer.control is not None else [])


class ThreadReactor:
    """Polls sockets in one thread. Any thread may use `call`."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
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

    def call(self, function: Callable[[], None]) -> None:
        """Call a function in the polling thread."""
        self._calls.put(function)
        try:
            self._mouth.send(b"!")
        except OSError:
            return  # enough calls wait to wake the thread, or it has ended

    def background(self, work: Callable[[], str], done: Callable[[str | OSError], None]) -> None:
        background(work, lambda found: self.call(lambda: done(found)))

    def poll(self, timeout_s: float) -> None:
        """Wait for input for at most `timeout_s`, drain every socket with input once, and make the
        calls that were requested before."""
        for ready, _ in self._poller.poll(ceil(timeout_s * 1_000)):
            if ready is self._ear or ready == self._ear.fileno():
                self._ear.recv(4_096)
            elif ready in self._drains:
                self._drains[ready]()
        for _ in range(self._calls.qsize()):  # later calls wake the thread again
            self._calls.get_nowait()()

    def close(self) -> None:
        self._ear.close()
        self._mouth.close()
