"""The messages of the bulk plane (SPEC 5.3)."""

import pytest

from dcfm_node.errors import PeerError
from dcfm_node.net.frames import (
    MAX_CHUNKS,
    MAX_HAVE_BYTES,
    MAX_HEADER_BYTES,
    Ask,
    Chunk,
    Frames,
    Has,
    Holds,
    Lacks,
    Want,
    decode,
    encode,
)
from dcfm_node.swarm.chunks import CHUNK_BYTES
from dcfm_node.wire.canonical import pack

DIGEST = bytes(range(32))


@pytest.mark.parametrize(
    "message",
    [
        Ask(DIGEST),
        Lacks(DIGEST),
        Want(DIGEST, MAX_CHUNKS - 1),
        Holds(DIGEST, bytes(MAX_HAVE_BYTES), bytes(32 * MAX_CHUNKS)),
        Has(DIGEST, b"\xff"),
        Chunk(DIGEST, 0, b"x" * CHUNK_BYTES),
    ],
)
def test_every_message_survives_the_wire(message: Frames) -> None:
    assert decode(encode(message)) == message


def test_a_payload_is_passed_on_and_not_copied() -> None:
    data = memoryview(bytes(64))
    assert encode(Chunk(DIGEST, 0, data))[1] is data


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b""],
        [b"\xc1"],
        [pack(("ask", DIGEST)), b"payload"],
        [pack(("ask", DIGEST)), b"", b""],
        [pack(("ask", DIGEST[:31]))],
        [pack(("ask", DIGEST, 1))],
        [pack(("ask", "text of thirty-two characters ok"))],
        [pack(("want", DIGEST))],
        [pack(("want", DIGEST, -1))],
        [pack(("want", DIGEST, MAX_CHUNKS))],
        [pack(("want", DIGEST, True))],
        [pack(("want", DIGEST, 1.0))],
        [pack(("has", DIGEST))],
        [pack(("has", DIGEST, 1))],
        [pack(("has", DIGEST, bytes(MAX_HAVE_BYTES + 1)))],
        [pack(("has", DIGEST, b"")), b"payload"],
        [pack(("holds", DIGEST, b""))],
        [pack(("holds", DIGEST)), bytes(32)],
        [pack(("holds", DIGEST, b"")), b""],
        [pack(("holds", DIGEST, b"")), bytes(33)],
        [pack(("holds", DIGEST, b"")), bytes(32 * MAX_CHUNKS + 32)],
        [pack(("chunk", DIGEST, 0))],
        [pack(("chunk", DIGEST, 0)), b""],
        [pack(("chunk", DIGEST, 0)), bytes(CHUNK_BYTES + 1)],
        [pack(("chunk", DIGEST, MAX_CHUNKS)), b"x"],
        [pack(("shout", DIGEST))],
        [pack("ask")],
        [pack({"ask": DIGEST})],
        [pack(("ask", DIGEST)) + b"\0"],
        [pack(("ask", bytes(MAX_HEADER_BYTES)))],
    ],
)
def test_anything_else_is_the_peers_fault(frames: list[bytes]) -> None:
    with pytest.raises(PeerError):
        decode(frames)
