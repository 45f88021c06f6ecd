"""Dials every peer as the stopped node would, with the node's own link key, and listens.

It binds nothing. A peer's node greets each new link with a `sync` (SPEC 4.3.1), which tells its
run, its version and its clock; of another run, it sends its manifest. Nothing of a peer is kept.
"""

import socket
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue

import zmq

from dcfm_node import __version__
from dcfm_node.config.keys import NodeKeys
from dcfm_node.config.peers import Peer
from dcfm_node.errors import OtherProtocolError, PeerError
from dcfm_node.net.bulk import ThreadReactor
from dcfm_node.net.curve import Plane
from dcfm_node.net.dialer import Target
from dcfm_node.net.mesh import TICK_S, Mesh
from dcfm_node.net.peers import LinkPeer, Way
from dcfm_node.net.reach import background, parts
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.messages import MAX_MESSAGE_BYTES, PROTOCOL, Mismatch, Sync
from dcfm_node.swarm.chunks import CHUNK_BYTES
from dcfm_node.swarm.strangers import unlike
from dcfm_node.wire.envelope import decode_message, encode_message, run_id

PROBE_S = 12.0
"""Most seconds for all dials together."""
GREETING_S = 3.0
"""Seconds that a linked peer may take to greet. A node that is starting does not greet."""
QUEUE, SILENCE_S = 64, 60.0
RESOLVE_S = 5.0
NOT_TRIED = Way("")


@dataclass
class Answer:
    """What dials to one peer found.

    Attributes:
        control, bulk: the links; None if the peer has no address of that plane.
        heard: whether its node said anything.
        version: of its software; empty if it did not say.
        trouble: why its run or protocol is another one; empty if it is the same, or unknown.
        clock_ahead_s: by how many seconds its clock is ahead of this machine's.
    """

    control: Way | None = None
    bulk: Way | None = None
    heard: bool = False
    version: str = ""
    trouble: str = ""
    clock_ahead_s: float | None = None
    up_at: float | None = None
    asked: bool = False


class Prober:
    """Dials peers on both planes for a while.

    Args:
        manifest: this node's run; None if it is unknown.
        peers: without this node.
    """

    def __init__(self, keys: NodeKeys, peers: Sequence[Peer], manifest: Manifest | None) -> None:
        self._manifest, self._reactor = manifest, ThreadReactor()
        self._names = {peer.sign_key: peer.name for peer in peers}
        self.answers = {peer.name: Answer() for peer in peers}
        self._control = self._mesh(keys, peers, "control")
        self._bulk = self._mesh(keys, peers, "bulk")

    def _mesh(self, keys: NodeKeys, peers: Sequence[Peer], plane: str) -> Mesh:
        dialled = []
        for peer in peers:
            address = peer.control if plane == "control" else peer.bulk
            if address is not None:
                linked = LinkPeer(peer.sign_key, peer.name, peer.link_key, peer.control, peer.bulk)
                dialled.append((linked, [Target(address)]))
                setattr(self.answers[peer.name], plane, NOT_TRIED)
        most = MAX_MESSAGE_BYTES if plane == "control" else CHUNK_BYTES
        return Mesh(
            reactor=self._reactor,
            plane=Plane(keys.link_public, keys.link_secret, most, QUEUE, SILENCE_S),
            listen=None,
            peers=dialled,
            room=0,
            notify=lambda event: None,
            deliver=self._heard if plane == "control" else lambda peer, frames: None,
        )

    def run(self, seconds: float = PROBE_S) -> dict[str, Answer]:
        """Dial, until every dial succeeded or failed, at most for `seconds`."""
        deadline, due = time.monotonic() + seconds, 0.0
        with closing(self._reactor):
            try:
                for mesh in (self._control, self._bulk):
                    mesh.open()
                while (now := time.monotonic()) < deadline and not self._settled(now):
                    self._reactor.poll(0.05)
                    if now >= due:
                        due = now + TICK_S
                        self._control.tick()
                        self._bulk.tick()
                    self._look()
            finally:
                for mesh in (self._control, self._bulk):
                    mesh.close()
        return self.answers

    def _look(self) -> None:
        for plane, mesh in (("control", self._control), ("bulk", self._bulk)):
            for peer, way in mesh.ways().items():
                answer = self.answers[self._names[peer]]
                setattr(answer, plane, way)
                if plane == "control" and way.via and answer.up_at is None:
                    answer.up_at = time.monotonic()

    def _settled(self, now: float) -> bool:
        return all(self._is_settled(answer, now) for answer in self.answers.values())

    def _is_settled(self, answer: Answer, now: float) -> bool:
        ways = [way for way in (answer.control, answer.bulk) if way is not None]
        if not all(way.via or way.failures for way in ways):
            return False
        if answer.control is None or not answer.control.via or answer.up_at is None:
            return True
        waits = not answer.heard or (answer.asked and not answer.trouble)
        return not waits or now - answer.up_at > GREETING_S

    def _heard(self, peer: bytes, frames: list[zmq.Frame]) -> None:
        """A message of an authenticated peer. Only a greeting and a manifest are looked at."""
        answer = self.answers[self._names[peer]]
        if len(frames) != 1 or len(frames[0]) > MAX_MESSAGE_BYTES:
            return
        try:
            message = decode_message(frames[0].bytes)
        except OtherProtocolError as error:
            answer.heard, answer.version = True, error.software
            answer.trouble = f"speaks protocol {error.protocol}, this node {PROTOCOL}"
            return
        except PeerError as error:
            answer.heard, answer.trouble = True, f"sent what is no message: {error}"
            return
        if isinstance(message, Sync):
            self._greeted(peer, answer, message)
        elif isinstance(message, Mismatch) and self._manifest is not None and not answer.trouble:
            answer.heard, answer.version = True, message.version
            answer.trouble = unlike(self._manifest, message)

    def _greeted(self, peer: bytes, answer: Answer, sync: Sync) -> None:
        if sync.time_ms:
            ahead = (sync.time_ms - time.time_ns() // 1_000_000) / 1_000
            before = answer.clock_ahead_s
            answer.clock_ahead_s = ahead if before is None else max(before, ahead)
        answer.heard, answer.version = True, sync.version
        if self._manifest is None or sync.run == run_id(self._manifest) or answer.asked:
            return
        # Its node answers a message of another run by its manifest (SPEC 2.6).
        answer.asked = True
        ours = Sync(
            run=run_id(self._manifest), version=__version__, heads={}, beats={}, reply=False
        )
        self._control.send(peer, [encode_message(ours)])


def unresolved(addresses: Iterable[str], bound_s: float = RESOLVE_S) -> dict[str, str]:
    """Why names of hosts cannot be resolved, by address; "" where they can.

    Args:
        bound_s: seconds for all together.
    """
    found: dict[str, str] = {}
    told: SimpleQueue[tuple[str, str]] = SimpleQueue()
    wanted = list(dict.fromkeys(addresses))
    for address in wanted:
        background(partial(_resolve, address), partial(_tell, told, address))
    deadline = time.monotonic() + bound_s
    while len(found) < len(wanted):
        try:
            address, why = told.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            break
        found[address] = why
    late = f"no answer within {bound_s:g} s"
    return {address: found.get(address, late) for address in wanted}


def _tell(told: SimpleQueue[tuple[str, str]], address: str, found: str | OSError) -> None:
    told.put((address, "" if isinstance(found, str) else found.strerror or str(found)))


def _resolve(address: str) -> str:
    host, port = parts(address)
    try:
        return str(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0])
    except UnicodeError as error:
        raise OSError(str(error)) from error


def port_taken(address: str) -> str:
    """Why this machine cannot listen at an address; empty if it can. Only for a stopped node."""
    host, port = parts(address.replace("*:", "0.0.0.0:", 1) if "://*:" in address else address)
    try:
        family, kind, number, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, number) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(where)
            tried.listen(1)
    except (OSError, UnicodeError) as error:
        return (getattr(error, "strerror", None) or str(error)).lower()
    return ""
