"""The door: a bound ROUTER behind a gate, and the routes back to those who came in by it.

A route belongs to the authenticated `User-Id` of its messages; the routing id, which the other side
may choose, only says where on the socket it is.
"""

import socket as sockets
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
from dcfm_node.net.monitor import Monitor, drain
from dcfm_node.net.peers import Refused

MAX_ROUTES = 4
"""Links that one peer may hold open to us at once."""
MAX_REPORTED = 256
REPORT_AGAIN_S = 600.0
WRONG_KEY = "zmtp cryptographic"
"""How a client's HELLO to another key than ours fails."""


@dataclass(slots=True)
class _Route:
    heard: float
    sent: float


class Listener:
    """Accepts the holders of the keys in `allowed`. The context must serve no other listener."""

    def __init__(self, wiring: Wiring, allowed: list[str]) -> None:
        reactor, context = wiring.reactor, wiring.context
        self._reactor, self._plane, self._owner = reactor, wiring.plane, wiring.owner
        self._gate = Gate(allowed)
        self._routes: dict[str, dict[bytes, _Route]] = {key: {} for key in allowed}
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

    def open(self, address: str) -> str:
        """Bind; returns the endpoint. Raises UserError."""
        return bind(self._socket, address)

    def close(self) -> None:
        self._monitor.close()
        for socket in (self._socket, self._zap):
            self._reactor.unwatch(socket)
            socket.close(linger=0)

    def is_up(self, link_key: str) -> bool:
        return bool(self._routes[link_key])

    def send(self, link_key: str, frames: list[bytes | memoryview]) -> bool:
        """Send over the route that was heard last."""
        routes = self._routes[link_key]
        while routes:
            routing_id = max(routes, key=lambda key: routes[key].heard)
            sent = self._send(link_key, routing_id, frames)
            if sent or routing_id in routes:
                return sent
        return False

    def tick(self, now: float) -> None:
        """Drop dead and silent routes, show a sign of life on idle ones."""
        probe, self._probe = self._probe, False
        for link_key, routes in self._routes.items():
            for routing_id, route in list(routes.items()):
                if now - route.heard > self._plane.silence_s:
                    self._drop(link_key, routing_id)
                elif probe or now - route.sent >= SIGN_OF_LIFE_S:
                    self._send(link_key, routing_id, [b""])

    def _send(self, link_key: str, routing_id: bytes, frames: list[bytes | memoryview]) -> bool:
        try:
            sent = try_send(self._socket, [routing_id, *frames])
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._drop(link_key, routing_id)
            return False
        if sent:
            self._routes[link_key][routing_id].sent = self._owner.now()
            self._reactor.touched(self._socket)
        return sent

    def _receive(self) -> None:
        routing_id, *frames = receive(self._socket)
        link_key = str(routing_id.get("User-Id"))
        routes = self._routes.get(link_key)
        if routes is None or not frames:
            return
        now = self._owner.now()
        route = routes.setdefault(routing_id.bytes, _Route(now, 0.0))
        route.heard = now
        if len(routes) > MAX_ROUTES:
            del routes[min(routes, key=lambda key: routes[key].heard)]
        if len(routes) == 1:
            self._owner.changed(link_key)
        if len(frames) > 1 or len(frames[0]):
            self._owner.arrived(link_key, frames)

    def _drop(self, link_key: str, routing_id: bytes) -> None:
        self._routes[link_key].pop(routing_id, None)
        self._owner.changed(link_key)

    def _answer(self) -> None:
        reply, stranger = self._gate.answer(self._zap.recv_multipart(zmq.DONTWAIT))
        self._zap.send_multipart(reply)
        self._reactor.touched(self._zap)
        if stranger is not None:
            link_key, address = stranger
            self._report(
                link_key, Refused(None, link_key, address, "its link key is not approved here")
            )

    def _on_event(self, event: int, value: int) -> None:
        match event:
            case zmq.EVENT_ACCEPTED:
                self._callers[value] = _peer_name(value)
            case zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                self._failure = protocol_failure(value)
            case zmq.EVENT_DISCONNECTED:
                # Which peer it was, the event does not say: a message to each route will.
                self._probe = True
                caller, failure = self._callers.pop(value, ""), self._failure
                self._failure = ""
                if failure:
                    self._broken_off(caller, failure)

    def _broken_off(self, caller: str, failure: str) -> None:
        reason = f"its handshake failed: {failure}"
        if failure == WRONG_KEY:
            reason += "; the link key that it has for us is probably wrong"
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


def _peer_name(descriptor: int) -> str:
    """host:port of an accepted connection; empty when it is gone already."""
    try:
        connection = sockets.socket(fileno=descriptor)
    except OSError:
        return ""
    try:
        host, port, *_ = connection.getpeername()
    except (OSError, ValueError):
        return ""
    finally:
        connection.detach()  # the descriptor stays libzmq's
    return f"{host}:{port}"
