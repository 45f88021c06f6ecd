"""The guest's side of pairing: one question to a host over a link of its own (SPEC 4.8)."""

import time
from collections.abc import Callable

import zmq
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from dcfm_node.errors import Failed
from dcfm_node.net.curve import HANDSHAKE_S, Plane, RawSocket, connect, dialling_socket
from dcfm_node.net.reach import reach
from dcfm_node.records.pairing import MAX_PAIRING_BYTES
from dcfm_node.wire.pairing import Code, InviteKeys

ANSWER_S = 15.0
"""Seconds to wait for an answer."""
_EVENTS = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_DISCONNECTED
)


def ask(
    code: Code, keys: InviteKeys, request: bytes, sent: Callable[[], None] = lambda: None
) -> bytes:
    """Send a request to the host of an invite; blocks until it answers.

    Args:
        sent: called once the request is on its way.

    Raises:
        Failed: it cannot be reached, does not admit the code, has another key, or says nothing.
    """
    where = f"tcp://{code.address}"
    try:
        endpoint = reach(where)
    except OSError as error:
        raise Failed(
            f"the other site cannot be reached: {error}",
            where=where,
            fix="ask whether its node runs, or 'dcfm-node invite' still waits there, and whether a"
            " firewall blocks that port; or invite it from here instead",
        ) from error
    public, secret = (z85.encode(key).decode() for key in (keys.public, keys.secret))
    plane = Plane(public, secret, MAX_PAIRING_BYTES, 4, ANSWER_S)
    with zmq.Context(io_threads=1) as context:
        socket = dialling_socket(context, plane, z85.encode(code.link_key).decode())
        monitor = socket.get_monitor_socket(_EVENTS)
        monitor.setsockopt(zmq.LINGER, 0)
        try:
            connect(socket, endpoint, "of the code")
            return _conversation(socket, monitor, request, where, sent)
        finally:
            socket.disable_monitor()
            monitor.close(linger=0)
            socket.close(linger=0)


def _conversation(
    socket: RawSocket, monitor: RawSocket, request: bytes, where: str, told: Callable[[], None]
) -> bytes:
    began, sent = time.monotonic(), False
    poller = zmq.Poller()
    for watched in (socket, monitor):
        poller.register(watched, zmq.POLLIN)
    while (left := ANSWER_S - (time.monotonic() - began)) > 0:
        ready = dict(poller.poll(int(left * 1_000) + 1))
        if socket in ready:
            frames = socket.recv_multipart()
            if frames != [b""]:  # an empty frame is a sign of life
                return frames[0]
        if monitor in ready:
            event = parse_monitor_message(monitor.recv_multipart())["event"]
            if event != zmq.EVENT_HANDSHAKE_SUCCEEDED:
                raise _ended(event, sent, time.monotonic() - began, where)
            socket.send(request)
            sent = True
            told()
    raise Failed(
        f"the other site did not answer within {ANSWER_S:g} s",
        where=where,
        fix="ask its operator to look at the node's log, and try again",
    )


def _ended(event: int, sent: bool, after_s: float, where: str) -> Failed:
    if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return Failed(
            "the other site does not admit this code: it expired, was closed, or was rejected",
            where=where,
            fix="ask for a new code: 'dcfm-node invite' there",
        )
    if sent:
        return Failed(
            "the other site ended the connection without an answer",
            where=where,
            fix="wait a few seconds and try again; its log says more",
        )
    slow = after_s > HANDSHAKE_S / 2
    return Failed(
        "the program there sends nothing" if slow else "the program there has another key",
        where=where,
        fix="check with the other site that its node listens at this address, and that the code is"
        " of that node",
    )
