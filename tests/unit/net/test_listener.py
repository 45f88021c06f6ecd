"""What the door says of those who knock."""

import os
import socket
from pathlib import Path

from dcfm_node.net.listener import _peer_name, _shut


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_connection_is_named_by_its_far_end_and_stays_open() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as caller,
        server.accept()[0] as accepted,
    ):
        host, port = caller.getsockname()
        assert _peer_name(accepted.fileno()) == f"{host}:{port}"
        accepted.sendall(b"open")
        assert caller.recv(4) == b"open"


def test_a_descriptor_that_became_something_else_is_left_alone() -> None:
    reader, writer = os.pipe()
    before = open_descriptors()
    try:
        assert _peer_name(reader) == ""
        assert open_descriptors() == before
        os.write(writer, b"open")
        assert os.read(reader, 4) == b"open"
    finally:
        os.close(reader)
        os.close(writer)
    assert _peer_name(reader) == ""


def test_a_connection_is_ended_only_if_it_is_still_the_one_that_was_meant() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as caller,
        server.accept()[0] as accepted,
    ):
        caller.settimeout(5.0)
        host, port = caller.getsockname()
        _shut(accepted.fileno(), f"{host}:{port + 1}")
        accepted.sendall(b"open")
        assert caller.recv(4) == b"open"
        _shut(accepted.fileno(), f"{host}:{port}")
        assert caller.recv(4) == b""
        reader, writer = os.pipe()
        _shut(reader, f"{host}:{port}")
        os.write(writer, b"open")
        assert os.read(reader, 4) == b"open"
        os.close(reader)
        os.close(writer)
