"""Messages of the bulk plane: a small canonical header frame, and a raw payload for two kinds."""

from collections.abc import Sequence
from dataclasses import dataclass

from dcfm_node.errors import PeerError
from dcfm_node.records.base import MAX_SNAPSHOT_BYTES
from dcfm_node.swarm.chunks import CHUNK_BYTES, chunk_count
from dcfm_node.wire.canonical import pack, unpack

MAX_CHUNKS = chunk_count(MAX_SNAPSHOT_BYTES)
MAX_HAVE_BYTES = -(-MAX_CHUNKS // 8)
MAX_HEADER_BYTES = MAX_HAVE_BYTES + 128

Buffer = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Ask:
    """Do you hold this snapshot, or a part of it? Answers: `Holds`, `Lacks`, or nothing yet."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class Holds:
    """Yes: `have` names the chunks (bit i of byte i // 8 is chunk i; empty means all), and `hashes`
    holds the hashes of all chunks, 32 bytes each."""

    digest: bytes
    have: bytes
    hashes: Buffer


@dataclass(frozen=True, slots=True)
class Has:
    """The chunks that the sender holds by now. It sent the hashes before."""

    digest: bytes
    have: bytes


@dataclass(frozen=True, slots=True)
class Lacks:
    """No, or no longer."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class Want:
    """Send me this chunk. Answers: `Chunk`, `Lacks`, or nothing."""

    digest: bytes
    index: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """The bytes of a chunk."""

    digest: bytes
    index: int
    data: Buffer


Frames = Ask | Holds | Has | Lacks | Want | Chunk


def encode(message: Frames) -> list[Buffer]:
    """The frames of a message. Payloads are not copied."""
    match message:
        case Ask(digest):
            return [pack(("ask", digest))]
        case Holds(digest, have, hashes):
            return [pack(("holds", digest, have)), hashes]
        case Has(digest, have):
            return [pack(("has", digest, have))]
        case Lacks(digest):
            return [pack(("lacks", digest))]
        case Want(digest, index):
            return [pack(("want", digest, index))]
        case Chunk(digest, index, data):
            return [pack(("chunk", digest, index)), data]


def decode(frames: Sequence[Buffer]) -> Frames:
    """The message in a peer's frames.

    Raises:
        PeerError: the frames are not exactly a form that `encode` makes.
    """
    if not 1 <= len(frames) <= 2 or len(frames[0]) > MAX_HEADER_BYTES:
        raise PeerError("a bulk message is not a short header and at most one payload")
    header = unpack(bytes(frames[0]))
    payload = frames[1] if len(frames) == 2 else None
    match header, payload:
        case ("ask", bytes(digest)), None if len(digest) == 32:
            return Ask(digest)
        case ("lacks", bytes(digest)), None if len(digest) == 32:
            return Lacks(digest)
        case ("want", bytes(digest), int(index)), None if _is_chunk(digest, index):
            return Want(digest, index)
        case ("has", bytes(digest), bytes(have)), None if _is_have(digest, have):
            return Has(digest, have)
        case ("holds", bytes(digest), bytes(have)), hashes if hashes is not None:
            if not _is_have(digest, have):
                raise PeerError(f"a set of chunks has {len(have)} bytes")
            if len(hashes) % 32 or not 0 < len(hashes) <= 32 * MAX_CHUNKS:
                raise PeerError(f"a hash list has {len(hashes)} bytes")
            return Holds(digest, have, hashes)
        case ("chunk", bytes(digest), int(index)), data if data is not None:
            if not _is_chunk(digest, index) or not 0 < len(data) <= CHUNK_BYTES:
                raise PeerError(f"a chunk has index {index} and {len(data)} bytes")
            return Chunk(digest, index, data)
    raise PeerError("a bulk message is of an unknown kind")


def _is_have(digest: bytes, have: bytes) -> bool:
    return len(digest) == 32 and len(have) <= MAX_HAVE_BYTES


def _is_chunk(digest: bytes, index: int) -> bool:
    return len(digest) == 32 and type(index) is int and 0 <= index < MAX_CHUNKS
