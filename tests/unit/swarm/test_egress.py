"""What was sent, sorted by kind: every byte once."""

import pytest

from dcfm_node.net import frames
from dcfm_node.records.messages import Entries, Mismatch, Sync
from dcfm_node.swarm.egress import UNSORTED, Tally, What, sort
from dcfm_node.wire.canonical import pack
from dcfm_node.wire.envelope import encode_message
from tests.unit.swarm.builders import Run, expert

RUN = Run(3)
PEER = RUN.authors[2].key


def parts(data: bytes, size: int | None = None) -> list[tuple[What, int]]:
    return list(sort(PEER, "control", data, size or len(data), RUN.authors[0].key))


def test_records_are_counted_by_kind_and_their_message_by_what_is_left() -> None:
    authors = RUN.authors
    said = [authors[0].say(expert(0)), authors[1].say(expert(0))]
    message = Entries(run=RUN.id, entries=tuple(s.envelope for s in said), beats=(b"\x01\x02",))
    data = encode_message(message)
    found = parts(data)
    assert sum(size for _, size in found) == len(data)
    assert [what.kind for what, _ in found] == ["expert", "expert", "heartbeat", "entries"]
    own, other = found[0][0], found[1][0]
    assert (own.author, own.digest) == (authors[0].key, said[0].digest)
    assert (other.author, other.digest) == (authors[1].key, b"")
    assert found[0][1] == len(said[0].envelope)


def test_other_messages_are_one_part() -> None:
    sync = Sync(run=RUN.id, version="1", heads={}, beats={}, reply=True)
    mismatch = Mismatch(run=RUN.id, version="1", manifest=b"m", reason="other")
    for message in (sync, mismatch):
        data = encode_message(message)
        assert parts(data) == [(What(PEER, "control", message.kind), len(data))]


def test_chunks_are_listed_by_their_snapshot_and_questions_are_not() -> None:
    digest = b"d" * 32
    chunk = frames.encode(frames.Chunk(digest, 3, b"x" * 1_000))
    size = sum(map(len, chunk))
    what = What(PEER, "control", "chunk", b"", digest)
    assert parts(bytes(chunk[0]), size) == [(what, size)]
    lacks = bytes(frames.encode(frames.Lacks(digest))[0])
    assert parts(lacks) == [(What(PEER, "control", "lacks"), len(lacks))]


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xff", pack(7), pack({}), pack(()), pack({"kind": "entries", "entries": 3})]
)
def test_what_cannot_be_sorted_is_still_counted(data: bytes) -> None:
    assert parts(data, 77) == [(What(PEER, "control", UNSORTED), 77)]


def test_a_tally_is_bounded_and_forgets_no_byte() -> None:
    tally = Tally(most=10)
    for number in range(100):
        tally.add(What(PEER, "bulk", "chunk", b"", bytes([number]) * 32), number, 1, 5)
    assert len(tally.sums) <= 11
    assert (tally.items, tally.size) == (100, 500)
    other = Tally()
    other.merge(tally.sums.items())
    assert other.sums == tally.sums
