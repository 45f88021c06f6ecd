"""The listener: a bound ROUTER socket behind a gate, and the routes back to its callers.

A route belongs to the authenticated `User-Id` of its messages. The routing id, which the other side
may choose, only identifies the route on the socket.
"""

import socket as sockets
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import zmq

from dcfm_node.net.curve import (
    ZAP_ENDPOINT,
    Gate,
    bind,
    listening_socket,
    protocol_failure,
)
from dcfm_node.net.dialer import SIGN_OF_LIFE_S, Wiring, receive, try_send
from dcfm_node.net.door import Door
from dcfm_node.net.monitor import Monitor, drain
from dcfm_node.net.peers import Crowd, Refused
from dcfm_node.records.pairing import MAX_PAIRING_BYTES

MAX_ROUTES = 4
"""Most links of one kind that one peer may have to us at once."""
MAX_REPORTED = 256
REPORT_AGAIN_S = 600.0
UNKNOWN_KEY = "its link key is not approved here"
WRONG_KEY = "zmtp cryptographic"
"""The failure of a client's HELLO to another key than ours."""
GUEST_SILENCE_S = 120.0
"""Seconds of silence on a guest's link. Chunks take longer than this plane's own messages."""
TWICE_S = 30.0
"""Seconds. A process ends a link before it makes the next. If two links of a key are older than
this and both are still heard, they belong to two processes."""


@dataclass(slots=True)
class _Route:
    descriptor: int
    host: str
    since: float
    heard: float
    sent: float = 0.0


Kind = tuple[str, bool]
"""A link key, and whether the routes are a guest's (bulk at the control port)."""


class Listener:
    """Accepts the holders of the keys in `allowed`. The context must have no other listener.

    Args:
        room: most connections of unknown callers.
    """

    def __init__(self, wiring: Wiring, allowed: list[str], room: int) -> None:
        reactor, context = wiring.reactor, wiring.context
        self._reactor, self._plane, self._owner = reactor, wiring.plane, wiring.owner
        self._door = Door(room)
        self._gate = Gate(allowed, lambda key: self._door.admits(key, self._owner.now()))
        self._routes: dict[Kind, dict[bytes, _Route]] = {
            (key, guest): {} for key in allowed for guest in (False, True)
        }
        self._invited: frozenset[str] = frozenset()
        self._probe = False
        self._callers: dict[int, str] = {}
        self._failure = ""
        self._reported: dict[str, float] = {}
        self._zap = context.socket(zmq.REP)
        self._zap.setsockopt(zmq.LINGER, 0)
        self._zap.bind(ZAP_ENDPOINT)
        reactor.watch(self._zap, lambda: drain(self._zap, self._answer))
        self._socket = listening_socket(context, wiring.plane)
        self._monitor = Monitor(reactor, self._socket, self._on_event)
        reactor.watch(self._socket, lambda: drain(self._socket, self._receive))

    def allow(self, allowed: Collection[str], invited: Collection[str]) -> None:
        """Admit these keys from now on, and end the links of others.

        Args:
            invited: keys of invites. Their holders may ask, and have no routes.
        """
        self._invited = frozenset(invited) - frozenset(allowed)
        self._gate.allow({*allowed, *self._invited})
        for key in allowed:
            for guest in (False, True):
                self._routes.setdefault((key, guest), {})
        for key in {key for key, _ in self._routes} - set(allowed):
            for guest in (False, True):
                routes, self._routes[key, guest] = self._routes[key, guest], {}
                self._hang_up(route.descriptor for route in routes.values())
            self._owner.changed(key)
            for guest in (False, True):
                del self._routes[key, guest]

    def open(self, address: str) -> str:
        """Bind, and return the endpoint. Raises UserError if the address cannot be used."""
        return bind(self._socket, address)

    def close(self) -> None:
        self._monitor.close()
        for socket in (self._socket, self._zap):
            self._reactor.unwatch(socket)
            socket.close(linger=0)

    def is_up(self, link_key: str, *, guest: bool = False) -> bool:
        return bool(self._routes.get((link_key, guest)))

    def descriptor(self, link_key: str) -> int | None:
        """Descriptor of the connection that `send` uses; None without a route."""
        routes = list(self._routes[link_key, False].values())  # asked from other threads too
        return max(routes, key=lambda route: route.heard).descriptor if routes else None

    def crowd(self) -> Crowd:
        """Unknown connections at the listener."""
        return self._door.crowd(self._owner.now())

    def hosts(self, link_key: str) -> tuple[str, ...]:
        """Hosts of the processes that use one key at the same time; empty if there is only one."""
        now = self._owner.now()
        speaking = [
            route.host
            for route in self._routes[link_key, False].values()
            if now - route.since > TWICE_S > now - route.heard
        ]
        return tuple(speaking) if len(speaking) > 1 else ()

    def send(self, link_key: str, frames: list[bytes | memoryview], *, guest: bool = False) -> bool:
        """Send over the route with the latest input. False if none is up or its queue is full."""
        routes = self._routes[link_key, guest]
        while routes:
            routing_id = max(routes, key=lambda key: routes[key].heard)
            sent = self._send((link_key, guest), routing_id, frames)
            if sent or routing_id in routes:
                return sent
        return False

    def tick(self, now: float) -> None:
        """Drop dead and silent routes, and send a sign of life on idle ones."""
        self._hang_up(self._door.overdue(now))
        probe, self._probe = self._probe, False
        for kind, routes in self._routes.items():
            silence_s = GUEST_SILENCE_S if kind[1] else self._plane.silence_s
            for routing_id, route in list(routes.items()):
                if now - route.heard > silence_s:
                    self._drop(kind, routing_id)
                elif probe or now - route.sent >= SIGN_OF_LIFE_S:
                    self._send(kind, routing_id, [b""])

    def _send(self, kind: Kind, routing_id: bytes, frames: list[bytes | memoryview]) -> bool:
        marked = [b"", *frames] if kind[1] else frames
        try:
            sent = try_send(self._socket, [routing_id, *marked])
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._drop(kind, routing_id)
            return False
        if sent:
            self._routes[kind][routing_id].sent = self._owner.now()
            self._reactor.touched(self._socket)
        return sent

    def _receive(self) -> None:
        routing_id, *frames = receive(self._socket)
        link_key, descriptor = str(routing_id.get("User-Id")), int(routing_id.get("__fd"))
        if link_key in self._invited and len(frames) == 1:
            self._answer_guest(routing_id, link_key, frames[0], descriptor)
            return
        if (link_key, False) not in self._routes or not frames:
            return
        self._door.heard(descriptor)
        if not _made_up(routing_id.bytes):
            self._refuse_id(link_key, descriptor)
            return
        if guest := len(frames) > 1 and not len(frames[0]):
            del frames[0]
        kind, now = (link_key, guest), self._owner.now()
        routes = self._routes[kind]
        host = str(routing_id.get("Peer-Address"))
        route = routes.setdefault(routing_id.bytes, _Route(descriptor, host, now, now))
        route.heard = now
        if len(routes) > MAX_ROUTES:
            oldest = routes.pop(min(routes, key=lambda key: routes[key].heard))
            self._hang_up([oldest.descriptor])
        if len(routes) == 1:
            self._owner.changed(link_key)
        if len(frames) > 1 or len(frames[0]):
            self._owner.arrived(link_key, frames, guest=guest)

    def _answer_guest(
        self, routing_id: zmq.Frame, link_key: str, message: zmq.Frame, descriptor: int
    ) -> None:
        """Hand a message to the pairing desk. The connection stays one of an unknown caller, so the
        door closes it when its time is over (SPEC 4.8.2)."""
        if not _made_up(routing_id.bytes):
            self._refuse_id(link_key, descriptor)
            return
        fits = 0 < len(message) <= MAX_PAIRING_BYTES
        answer = self._owner.asked(link_key, message.bytes) if fits else None
        if answer is None:
            self._hang_up([descriptor])
        else:
            try_send(self._socket, [routing_id.bytes, answer])
            self._reactor.touched(self._socket)

    def _refuse_id(self, link_key: str, descriptor: int) -> None:
        caller = self._callers.get(descriptor, "")
        reason = "it chose a routing id, which no dcfm-node does"
        self._report(f"{link_key} chose", Refused(None, link_key, caller, reason))
        self._hang_up([descriptor])

    def _drop(self, kind: Kind, routing_id: bytes) -> None:
        self._routes[kind].pop(routing_id, None)
        self._owner.changed(kind[0])

    def _hang_up(self, descriptors: Iterable[int]) -> None:
        """Close connections. A descriptor that has another connection by now is left alone."""
        for descriptor in descriptors:
            caller = self._callers.get(descriptor)
            if caller:
                _shut(descriptor, caller)

    def _answer(self) -> None:
        reply, stranger = self._gate.answer(self._zap.recv_multipart(zmq.DONTWAIT))
        self._zap.send_multipart(reply)
        self._reactor.touched(self._zap)
        if stranger is not None:
            link_key, address = stranger
            known = (link_key, False) in self._routes
            reason = "it makes more links than it may" if known else UNKNOWN_KEY
            self._report(link_key, Refused(None, link_key, address, reason))

    def _on_event(self, event: int, value: int) -> None:
        now = self._owner.now()
        match event:
            case zmq.EVENT_ACCEPTED:
                self._callers[value] = caller = _peer_name(value)
                host = caller.rpartition(":")[0]
                self._turn_away(self._door.accepted(value, host, now), host)
            case zmq.EVENT_ACCEPT_FAILED:
                self._turn_away(self._door.starved(now), "")
            case zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                self._failure = protocol_failure(value)
            case zmq.EVENT_DISCONNECTED:
                # The event does not name the peer. A message on each route finds the broken one.
                self._probe = True
                self._door.gone(value)
                caller, failure = self._callers.pop(value, ""), self._failure
                self._failure = ""
                if failure:
                    self._broken_off(caller, failure)

    def _turn_away(self, descriptors: list[int], host: str) -> None:
        if descriptors:
            reason = "too many connections of unknown callers; the excess is closed"
            self._report("crowd", Refused(None, None, host, reason))
            self._hang_up(descriptors)

    def _broken_off(self, caller: str, failure: str) -> None:
        reason = f"its handshake failed: {failure}"
        if failure == WRONG_KEY:
            reason += "; the caller probably has a wrong link key for this node"
        host = caller.rpartition(":")[0]
        self._report(f"{host} {failure}", Refused(None, None, caller, reason))

    def _report(self, about: str, event: Refused) -> None:
        now = self._owner.now()
        if now - self._reported.get(about, -REPORT_AGAIN_S) < REPORT_AGAIN_S:
            return
        self._reported.pop(about, None)
        self._reported[about] = now
        if len(self._reported) > MAX_REPORTED:
            del self._reported[next(iter(self._reported))]
        self._owner.refused(event)


def _made_up(routing_id: bytes) -> bool:
    """Whether libzmq made up the routing id, because the other side chose none."""
    return len(routing_id) == 5 and not routing_id[0]


def _peer_name(descriptor: int) -> str:
    """host:port of an accepted connection; empty if it is already gone."""
    try:
        connection = sockets.socket(fileno=descriptor)
    except OSError:
        return ""
    try:
        return _far_end(connection)
    finally:
        connection.detach()  # the descriptor stays libzmq's


def _far_end(connection: sockets.socket) -> str:
    try:
        host, port, *_ = connection.getpeername()
    except (OSError, ValueError):
        return ""
    return f"{host}:{port}"


def _shut(descriptor: int, caller: str) -> None:
    """Shut a connection down, if the descriptor still belongs to `caller`. libzmq then closes it
    as if the other side had ended it."""
    try:
        connection = sockets.socket(fileno=descriptor)
    except OSError:
        return
    try:
        if _far_end(connection) == caller:
            connection.shutdown(sockets.SHUT_RDWR)
    except OSError:
        return
    finally:
        connection.detach()
