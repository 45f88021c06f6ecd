"""SPEC 3.2 and 4.2: what leaves the wire is typed, bounded and authentic."""

import tracemalloc
from collections.abc import Callable
from itertools import product

import pytest

from dcfm_node.errors import PeerError
from dcfm_node.records.messages import MAX_MESSAGE_BYTES, Head, Sync
from dcfm_node.wire.canonical import pack, unpack
from dcfm_node.wire.envelope import (
    ENTRY_DOMAIN,
    HEARTBEAT_DOMAIN,
    decode_manifest,
    decode_message,
    encode_message,
    manifest_bytes,
    open_entry,
    open_heartbeat,
    run_id,
)
from tests.unit.swarm.builders import Run, join

RUN = Run(3)
AUTHOR = RUN.authors[0]
SEALED = RUN.authors[0].say(join())
SYNC = Sync(run=RUN.id, version="1", heads={}, beats={}, reply=True)


def resealed(changes: dict[str, object], domain: bytes = ENTRY_DOMAIN) -> bytes:
    """The entry with fields changed, properly signed again."""
    body = pack({**SEALED.entry.model_dump(), **changes})
    return pack((body, AUTHOR.signer.sign(domain + body)))


def test_an_entry_comes_back_with_its_digest() -> None:
    assert open_entry(SEALED.envelope) == SEALED


def test_a_heartbeat_comes_back() -> None:
    heartbeat = AUTHOR.heartbeat(3)
    assert open_heartbeat(heartbeat.envelope) == heartbeat


def test_a_signature_serves_one_domain_only() -> None:
    with pytest.raises(PeerError, match="does not verify"):
        open_entry(resealed({}, HEARTBEAT_DOMAIN))


def test_a_heartbeat_never_passes_for_an_entry() -> None:
    with pytest.raises(PeerError):
        open_entry(AUTHOR.heartbeat(1).envelope)


def test_another_author_cannot_sign() -> None:
    with pytest.raises(PeerError, match="does not verify"):
        open_entry(resealed({"author": RUN.keys[1]}))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seq": True}, "seq"),
        ({"seq": -1}, "seq"),
        ({"epoch": 1.0}, "epoch"),
        ({"prev": b"short"}, "prev"),
        ({"surplus": 1}, "surplus"),
        ({"body": {"kind": "rumour"}}, "body"),
        ({"body": {"kind": "withdraw", "reason": "x" * 501}}, "reason"),
    ],
)
def test_a_field_out_of_bounds_is_named(changes: dict[str, object], named: str) -> None:
    with pytest.raises(PeerError, match=named):
        open_entry(resealed(changes))


@pytest.mark.parametrize("parts", [(), (b"body",), (b"body", b"short"), ("body", bytes(64))])
def test_an_envelope_is_a_pair_of_body_and_signature(parts: tuple[object, ...]) -> None:
    with pytest.raises(PeerError, match="pair of body and signature"):
        open_entry(pack(parts))


def test_messages_come_back() -> None:
    assert decode_message(encode_message(SYNC)) == SYNC


def test_an_oversize_message_is_refused_unread() -> None:
    with pytest.raises(PeerError, match="exceeds"):
        decode_message(bytes(MAX_MESSAGE_BYTES + 1))


def test_an_unknown_kind_of_message_is_refused() -> None:
    with pytest.raises(PeerError, match="malformed message"):
        decode_message(pack({**SYNC.model_dump(), "kind": "shout"}))


def test_what_is_sent_without_validation_is_the_same_bytes() -> None:
    """`Exchange.sync` builds its message unchecked; every peer checks it."""
    unchecked = Sync.model_construct(**dict(SYNC))
    assert encode_message(unchecked) == encode_message(SYNC)


def test_a_manifest_comes_back_under_the_same_run_id() -> None:
    again = decode_manifest(manifest_bytes(RUN.manifest))
    assert again == RUN.manifest
    assert run_id(again) == RUN.id


def test_a_manifest_that_contradicts_itself_is_refused() -> None:
    fields = unpack(manifest_bytes(RUN.manifest))
    with pytest.raises(PeerError, match="sorted by name"):
        decode_manifest(pack({**fields, "roster": fields["roster"][::-1]}))


KEYS = [number.to_bytes(32, "big") for number in range(1_000)]


def test_the_heaviest_sync_and_join_that_there_may_be_are_read() -> None:
    head = Head(epoch=2**53, seq=100_000, digest=RUN.id, forked=100_000)
    heads, heartbeats = dict.fromkeys(KEYS, head), dict.fromkeys(KEYS, (2**53, 2**53))
    sync = Sync(run=RUN.id, version="1", heads=heads, beats=heartbeats, reply=True)
    assert decode_message(encode_message(sync)) == sync
    wide = product(range(16), repeat=4)
    said = RUN.authors[0].anew().join(counts=tuple((label, 1) for label in wide))
    assert open_entry(said.envelope) == said


def resealed_body(**body: object) -> bytes:
    return resealed({"body": body})


MANY = 400_000
MESSAGE = {"kind": "entries", "protocol": 1, "run": RUN.id, "entries": (), "beats": ()}


@pytest.mark.parametrize(
    ("read", "data"),
    [
        (decode_message, pack([{}] * 1_000_000)),
        (decode_message, pack(MESSAGE | {"entries": [None] * 1_000_000})),
        (decode_message, pack(MESSAGE | {f"{n:05x}": None for n in range(100_000)})),
        (open_entry, resealed_body(kind="join", counts=[None] * MANY)),
        (open_entry, resealed_body(kind="join", counts=[{}] * MANY)),
        (open_entry, resealed_body(kind="audit", round=0, scores=[None] * MANY)),
        (open_entry, resealed_body(kind="lease", term=1, round=0, votes=[None] * MANY)),
        (open_entry, resealed_body(kind="endorse", **{f"{n:05x}": None for n in range(60_000)})),
    ],
    ids=["maps", "entries", "fields", "counts", "maps in counts", "scores", "votes", "more fields"],
)
def test_what_is_wrong_everywhere_costs_no_more_than_what_is_right(
    read: Callable[[bytes], object], data: bytes
) -> None:
    """Nobody looks for every flaw of a message: that took 550 bytes for each byte of it."""
    assert len(data) < MAX_MESSAGE_BYTES
    tracemalloc.start()
    with pytest.raises(PeerError):
        read(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 128 * len(data)
