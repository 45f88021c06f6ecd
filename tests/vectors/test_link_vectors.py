"""protocol/vectors/snapshots.json, messages.json and bulk.json against the code (SPEC 4 and 5)."""

import zlib

import pytest
from blake3 import blake3

from dcfm_node.errors import PeerError
from dcfm_node.net import frames
from dcfm_node.store.delta import code, decode, restore
from dcfm_node.swarm.chunks import chunk_count, chunk_hashes, snapshot_digest
from dcfm_node.swarm.download import bits_of, bytes_of
from dcfm_node.wire.envelope import decode_message, encode_message
from tests.vectors.loading import cases, load, raw, sha256, spell, value_of

SNAPSHOTS = load("snapshots")
MESSAGES = load("messages")
BULK = load("bulk")
DELTAS = load("deltas")


@cases(SNAPSHOTS["cases"])
def test_snapshot_digests(case):
    """SPEC 5.1: the hash list of 1 MiB chunks, and what it and the size make."""
    unit, step = bytes.fromhex(case["repeat"]), 1 << 20
    data = (unit * (case["size"] // len(unit) + 1))[: case["size"]]
    hashes = [blake3(data[start : start + step]).digest() for start in range(0, len(data), step)]
    assert b"".join(hashes).hex() == case["hashes"] == chunk_hashes(data).hex()
    digest = sha256(b"dcfm-node/snapshot/1\0", case["size"].to_bytes(8, "big"), *hashes)
    assert digest.hex() == case["digest"] == snapshot_digest(case["size"], b"".join(hashes)).hex()
    assert chunk_count(case["size"]) == len(hashes)


@cases(DELTAS["accepted"])
def test_deltas(case):
    """SPEC 5.4.2: what a block inflates to; how zlib packs it is left open."""
    base, chunk, block = (bytes.fromhex(case[name]) for name in ("base", "chunk", "block"))
    assert zlib.decompress(block).hex() == case["inflated"]
    assert zlib.decompress(code(base, chunk, case["width"])).hex() == case["inflated"]
    assert restore(base, block, len(chunk), case["width"]) == chunk


@cases(DELTAS["rejected"])
def test_malformed_deltas_are_refused(case):
    """SPEC 5.4.2."""
    with pytest.raises(PeerError):
        restore(b"", bytes.fromhex(case["block"]), case["length"], case["width"])


@cases(DELTAS["files"])
def test_files_of_deltas(case, tmp_path):
    """SPEC 5.4.2: blocks, each after its length, and no more than the snapshot has chunks."""
    base, coded, target = (tmp_path / name for name in ("base", "coded", "target"))
    base.write_bytes(b"")
    coded.write_bytes(bytes.fromhex(case["coded"]))
    if case["made"] is None:
        with pytest.raises(PeerError):
            decode(base, coded, target, 8, 2)
        return
    decode(base, coded, target, 8, 2)
    assert target.read_bytes().hex() == case["made"]


@pytest.mark.parametrize(
    ("data", "fits"), [(bytes(1 << 20), True), (bytes((1 << 20) + 1), False), (b"", False)]
)
def test_chunks_have_one_to_2_to_the_20_bytes(data, fits):
    """SPEC 5.3."""
    parts = [spell(("chunk", bytes(32), 0)), data]
    assert _reads(parts) is fits


@pytest.mark.parametrize(
    ("size", "fits"), [(32, True), (262_144, True), (262_176, False), (33, False), (0, False)]
)
def test_hash_lists_have_a_hash_for_each_chunk_there_may_be(size, fits):
    """SPEC 5.3."""
    assert _reads([spell(("holds", bytes(32), b"")), bytes(size)]) is fits


def _reads(parts):
    try:
        frames.decode(parts)
    except PeerError:
        return False
    return True


@cases(BULK["sets"])
def test_sets_of_chunks(case):
    """SPEC 5.3.0."""
    bits = bits_of(bytes.fromhex(case["set"]), case["count"])
    found = None if bits is None else [i for i in range(case["count"]) if bits >> i & 1]
    assert found == case["chunks"]
    if bits is not None and case["set"]:
        assert bytes_of(bits, case["count"]).hex() == case["set"]


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
