"""What the kernel says of a connection."""

import os
import socket
import sys

import pytest

from dcfm_node.net.tcp import MOVED_BYTES, measured


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_a_connection_has_a_round_trip_time_and_once_enough_passed_a_rate() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as caller,
        server.accept()[0] as accepted,
    ):
        found = measured(caller.fileno())
        assert found is not None
        assert 0.0 < found.rtt_s < 10.0
        assert found.sent_bytes_s is None
        piece = bytes(1 << 16)
        for _ in range(2 * MOVED_BYTES // len(piece)):
            caller.sendall(piece)
            left = len(piece)
            while left:
                left -= len(accepted.recv(left))
        found = measured(caller.fileno())
        assert found is not None
        assert found.sent_bytes_s is not None
        assert found.sent_bytes_s > 0
        caller.sendall(b"open")
        assert accepted.recv(4) == b"open"


def test_what_is_no_connection_has_no_figures_and_stays_open() -> None:
    reader, writer = os.pipe()
    try:
        assert measured(reader) is None
        assert measured(None) is None
        os.write(writer, b"open")
        assert os.read(reader, 4) == b"open"
    finally:
        os.close(reader)
        os.close(writer)
    assert measured(reader) is None
