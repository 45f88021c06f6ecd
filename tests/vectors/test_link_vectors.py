"""protocol/vectors/snapshots.json, messages.json and bulk.json against the code (SPEC 4 and 5)."""

import pytest

from dcfm_node.errors import PeerError
from dcfm_node.net import frames
from dcfm_node.swarm.transfer import chunk_count, chunk_hashes, chunk_root
from dcfm_node.wire.envelope import decode_message, encode_message
from tests.vectors.loading import cases, load, raw, sha256, spell, value_of

SNAPSHOTS = load("snapshots")
MESSAGES = load("messages")
BULK = load("bulk")


@cases(SNAPSHOTS["cases"])
def test_chunk_roots(case):
    """SPEC 5.1.1: the hash list of 1 MiB chunks, and its SHA-256."""
    unit, step = bytes.fromhex(case["repeat"]), 1 << 20
    data = (unit * (case["size"] // len(unit) + 1))[: case["size"]]
    assert sha256(data).hex() == case["digest"]
    hashes = [sha256(data[start : start + step]) for start in range(0, len(data), step)]
    assert b"".join(hashes).hex() == case["hashes"] == chunk_hashes(data).hex()
    assert sha256(*hashes).hex() == case["chunks"] == chunk_root(chunk_hashes(data)).hex()
    assert chunk_count(case["size"]) == len(hashes)


@cases(MESSAGES["accepted"])
def test_messages(case):
    """SPEC 4.2: a control message is the canonical encoding of its map."""
    assert spell(value_of(case["message"])) == raw(case)
    message = decode_message(raw(case))
    assert message.model_dump() == value_of(case["message"])
    assert encode_message(message) == raw(case)


@cases(MESSAGES["rejected"])
def test_malformed_messages_are_refused(case):
    """SPEC 1.2.2 and 4.2; of another version, whatever else it holds (SPEC 4.2.1)."""
    foreign = case["clause"] == "4.2.1"
    with pytest.raises(PeerError, match="speaks protocol" if foreign else "malformed message"):
        decode_message(raw(case))


@cases(BULK["accepted"])
def test_bulk_frames(case):
    """SPEC 5.3: a canonical header, and a payload for two of the kinds."""
    parts = [bytes.fromhex(part) for part in case["frames"]]
    message = frames.decode(parts)
    assert [bytes(part) for part in frames.encode(message)] == parts
    assert type(message).__name__.lower() == case["name"]


@cases(BULK["rejected"])
def test_malformed_bulk_frames_are_refused(case):
    """SPEC 5.3."""
    with pytest.raises(PeerError):
        frames.decode([bytes.fromhex(part) for part in case["frames"]])
