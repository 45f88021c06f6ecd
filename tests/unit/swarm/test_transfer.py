"""The download scheduler (SPEC 5.3), event by event."""

import hashlib
from itertools import pairwise
from random import Random

import pytest

from dcfm_node.records.entries import Snapshot
from dcfm_node.swarm.chunks import (
    CHUNK_BYTES,
    chunk_count,
    chunk_hash,
    chunk_hashes,
    chunk_length,
    snapshot_digest,
    snapshot_of,
)
from dcfm_node.swarm.transfer import (
    FIRST_WINDOW,
    LAST_ASK_S,
    PATIENCE_S,
    PROMPT_S,
    RELIEF_S,
    WINDOW,
    Ask,
    Blame,
    Check,
    Complete,
    Effect,
    Offer,
    Store,
    Transfers,
    Want,
)

A, B, C = (letter * 32 for letter in (b"A", b"B", b"C"))


def make(chunks: int, seed: int = 0, extra: int = 0) -> tuple[bytes, bytes, Snapshot]:
    """Data, its hash list, and its record."""
    data = b"".join(
        hashlib.sha256(bytes([seed, index])).digest() * (CHUNK_BYTES // 32)
        for index in range(chunks)
    ) + bytes(extra)
    return data, chunk_hashes(data), snapshot_of(data)


def piece(data: bytes, index: int) -> bytes:
    return data[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]


def started(
    snapshot: Snapshot, hashes: bytes, *holders: bytes, have: tuple[int, ...] = ()
) -> tuple[Transfers, list[Effect]]:
    """A download for which the holders gave their lists at time 0; its first wants."""
    transfers = Transfers(Random(0))
    for peer in holders:
        transfers.peer_up(peer, 0.0)
    transfers.fetch(snapshot, 0.0)
    for peer in holders:
        transfers.holds(peer, snapshot.digest, hashes, b"", 0.0)
    return transfers, transfers.resumed(snapshot.digest, have, 0.0)


def wanted(effects: list[Effect], peer: bytes) -> list[int]:
    return [effect.index for effect in effects if isinstance(effect, Want) and effect.peer == peer]


def test_chunks_cover_a_snapshot_and_the_root_names_their_hashes() -> None:
    data, hashes, snapshot = make(2, extra=5)
    assert chunk_count(snapshot.size) == 3
    assert [chunk_length(snapshot.size, i) for i in range(3)] == [CHUNK_BYTES, CHUNK_BYTES, 5]
    assert hashes[64:] == chunk_hash(data[-5:])
    assert snapshot_digest(snapshot.size, hashes) == snapshot.digest
    assert chunk_count(CHUNK_BYTES) == 1


def test_a_download_runs_from_the_first_ask_to_complete() -> None:
    data, hashes, snapshot = make(1, extra=7)
    digest, transfers = snapshot.digest, Transfers(Random(0))
    assert transfers.peer_up(A, 0.0) == []
    assert transfers.fetch(snapshot, 0.0) == [Ask(A, digest)]
    assert transfers.fetch(snapshot, 0.0) == []
    assert transfers.holds(A, digest, hashes, b"", 1.0) == [Check(snapshot, hashes)]
    assert sorted(wanted(transfers.resumed(digest, [], 1.0), A)) == [0, 1]
    assert transfers.chunk(A, digest, 1, piece(data, 1), 2.0) == [Store(digest, 1, piece(data, 1))]
    assert transfers.progress(digest) == (7, CHUNK_BYTES + 7)
    assert transfers.chunk(A, digest, 0, piece(data, 0), 2.0) == [
        Store(digest, 0, piece(data, 0)),
        Complete(digest, hashes),
    ]
    assert digest not in transfers


def test_what_is_on_disk_is_not_asked_for_again() -> None:
    _, hashes, snapshot = make(3)
    transfers, effects = started(snapshot, hashes, A, have=(0, 2))
    assert wanted(effects, A) == [1]
    assert transfers.progress(snapshot.digest) == (2 * CHUNK_BYTES, 3 * CHUNK_BYTES)
    assert started(snapshot, hashes, A, have=(0, 1, 2))[1] == [Complete(snapshot.digest, hashes)]


def test_the_window_grows_with_deliveries_to_its_bound() -> None:
    data, hashes, snapshot = make(40)
    transfers, effects = started(snapshot, hashes, A)
    owed = wanted(effects, A)
    assert len(owed) == FIRST_WINDOW
    widest = 0
    while owed:
        index = owed.pop(0)
        effects = transfers.chunk(A, snapshot.digest, index, piece(data, index), 0.1)
        owed += wanted(effects, A)
        widest = max(widest, len(owed))
    assert widest == WINDOW
    assert snapshot.digest not in transfers


def test_the_window_shrinks_while_chunks_come_late() -> None:
    data, hashes, snapshot = make(40)
    transfers, effects = started(snapshot, hashes, A)
    owed, now = wanted(effects, A), 0.0
    for _ in range(8):
        now += 2 * PROMPT_S
        index = owed.pop(0)
        effects = transfers.chunk(A, snapshot.digest, index, piece(data, index), now)
        owed += wanted(effects, A)
    assert len(owed) == 1


def test_holders_share_the_load() -> None:
    _, hashes, snapshot = make(2 * FIRST_WINDOW)
    _, effects = started(snapshot, hashes, A, B)
    assert len(wanted(effects, A)) == len(wanted(effects, B)) == FIRST_WINDOW


def test_the_rarest_snapshot_goes_first() -> None:
    data, common_hashes, common = make(4 * FIRST_WINDOW, seed=1)
    _, rare_hashes, rare = make(8, seed=2)
    transfers, effects = started(common, common_hashes, A, B)
    transfers.fetch(rare, 0.0)
    transfers.holds(A, rare.digest, rare_hashes, b"", 0.0)
    assert transfers.resumed(rare.digest, [], 0.0) == []  # A's window is full, B lacks it
    index = wanted(effects, A)[0]
    effects = transfers.chunk(A, common.digest, index, piece(data, index), 0.1)
    assert [effect.digest for effect in effects[1:]] == [rare.digest] * 2


def test_when_one_download_is_complete_the_others_fill_its_window() -> None:
    data, hashes, snapshot = make(1)
    _, more_hashes, more = make(40, seed=1)
    transfers, _ = started(snapshot, hashes, A)
    transfers.fetch(more, 0.0)
    transfers.holds(A, more.digest, more_hashes, b"", 0.0)
    first = wanted(transfers.resumed(more.digest, [], 0.0), A)
    assert len(first) == FIRST_WINDOW - 1
    effects = transfers.chunk(A, snapshot.digest, 0, data, 0.1)
    assert Complete(snapshot.digest, hashes) in effects
    assert len(wanted(effects, A)) == 2  # what was free, and one more since it was prompt


def test_a_false_list_names_its_sender_who_is_asked_no_more() -> None:
    _, hashes, snapshot = make(2)
    transfers = Transfers(Random(0))
    transfers.peer_up(A, 0.0)
    transfers.fetch(snapshot, 0.0)
    (blame,) = transfers.holds(A, snapshot.digest, hashes[::-1], b"", 0.0)
    assert blame == Blame(A, snapshot.digest, "its hash list is not the signed one")
    assert transfers.holds(A, snapshot.digest, hashes, b"", 0.0) == []
    assert transfers.tick(1_000.0) == []


def test_a_signed_list_of_another_size_is_refused() -> None:
    _, hashes, _ = make(2)
    transfers = Transfers(Random(0))
    transfers.peer_up(A, 0.0)
    size = 3 * CHUNK_BYTES
    wrong = Snapshot(digest=snapshot_digest(size, hashes), size=size)
    transfers.fetch(wrong, 0.0)
    (blame,) = transfers.holds(A, wrong.digest, hashes, b"", 0.0)
    assert isinstance(blame, Blame) and "signed" in blame.reason


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_of_several_sizes_that_records_name_the_list_tells_the_true_one(order) -> None:
    """Else a member who names an honest silo's snapshot with another size has every holder of it
    blamed, and nobody gets it."""
    data, hashes, snapshot = make(2)
    sizes = (snapshot.size - 1, snapshot.size, 9 * CHUNK_BYTES)
    transfers = Transfers(Random(0))
    transfers.peer_up(A, 0.0)
    for place in order:
        transfers.fetch(Snapshot(digest=snapshot.digest, size=sizes[place]), 0.0)
    assert transfers.has(A, snapshot.digest, b"\x03", 0.0) == []
    told = transfers.holds(A, snapshot.digest, hashes, b"", 0.0)
    assert told == [Check(snapshot, hashes)]
    assert transfers.progress(snapshot.digest) == (0, len(data))
    assert sorted(wanted(transfers.resumed(snapshot.digest, [], 0.0), A)) == [0, 1]
    late = Snapshot(digest=snapshot.digest, size=7)
    transfers.fetch(late, 1.0)
    assert transfers.progress(snapshot.digest) == (0, len(data))


def test_who_was_blamed_before_the_true_size_was_named_is_asked_again() -> None:
    _, hashes, snapshot = make(2)
    transfers = Transfers(Random(0))
    transfers.peer_up(A, 0.0)
    transfers.fetch(Snapshot(digest=snapshot.digest, size=5), 0.0)
    assert isinstance(transfers.holds(A, snapshot.digest, hashes, b"", 0.0)[0], Blame)
    transfers.fetch(snapshot, 1.0)
    assert Ask(A, snapshot.digest) in transfers.tick(60.0)
    assert transfers.holds(A, snapshot.digest, hashes, b"", 61.0) == [Check(snapshot, hashes)]


def test_a_false_chunk_names_its_sender_and_all_it_owes_goes_to_others() -> None:
    data, hashes, snapshot = make(3)
    transfers, effects = started(snapshot, hashes, A, B)
    lost = wanted(effects, A)
    effects = transfers.chunk(A, snapshot.digest, lost[0], b"\0" * CHUNK_BYTES, 1.0)
    assert isinstance(effects[0], Blame) and effects[0].peer == A
    assert sorted(wanted(effects, B)) == sorted(lost)
    assert transfers.chunk(A, snapshot.digest, lost[0], piece(data, lost[0]), 1.0) == []


def test_a_chunk_beyond_the_end_or_of_a_wrong_length_is_false() -> None:
    data, hashes, snapshot = make(1, extra=9)
    for index, payload in ((2, piece(data, 0)), (1, b"\0" * 8), (0, piece(data, 0) + b"\0")):
        transfers, _ = started(snapshot, hashes, A)
        (blame,) = transfers.chunk(A, snapshot.digest, index, payload, 1.0)
        assert isinstance(blame, Blame)


def test_a_late_peer_loses_its_chunks_to_another_and_may_still_deliver() -> None:
    data, hashes, snapshot = make(2)
    transfers, effects = started(snapshot, hashes, A)
    assert sorted(wanted(effects, A)) == [0, 1]
    transfers.peer_up(B, 1.0)
    # B holds it as well and has nothing to do, so relief comes early.
    assert transfers.holds(B, snapshot.digest, hashes, b"", 1.0) == []
    assert transfers.tick(RELIEF_S - 0.1) == []
    assert sorted(wanted(transfers.tick(RELIEF_S), B)) == [0, 1]
    assert Store(snapshot.digest, 0, piece(data, 0)) in transfers.chunk(
        A, snapshot.digest, 0, piece(data, 0), 6.0
    )
    effects = transfers.chunk(B, snapshot.digest, 0, piece(data, 0), 7.0)
    assert not any(isinstance(effect, Store) for effect in effects)


def test_the_only_holder_is_asked_again_and_given_more_time() -> None:
    _, hashes, snapshot = make(1)
    transfers, _ = started(snapshot, hashes, A)
    assert transfers.tick(PATIENCE_S - 0.1) == []
    assert wanted(transfers.tick(PATIENCE_S), A) == [0]
    assert transfers.tick(2.9 * PATIENCE_S) == []
    assert wanted(transfers.tick(3 * PATIENCE_S), A) == [0]


def test_a_slow_peer_is_not_late_while_it_delivers() -> None:
    data, hashes, snapshot = make(4)
    transfers, _ = started(snapshot, hashes, A)
    for index in range(3):
        now = (index + 1) * 0.9 * PATIENCE_S
        assert transfers.tick(now) == []
        transfers.chunk(A, snapshot.digest, index, piece(data, index), now)
    assert transfers.progress(snapshot.digest)[0] == 3 * CHUNK_BYTES


def test_what_a_lost_peer_owed_is_asked_of_others() -> None:
    _, hashes, snapshot = make(4)
    transfers, effects = started(snapshot, hashes, A, B)
    owed = wanted(effects, A)
    assert sorted(wanted(transfers.peer_down(A, 1.0), B)) == sorted(owed)
    assert transfers.peer_up(A, 2.0) == [Ask(A, snapshot.digest)]


def test_a_holder_that_no_longer_holds_is_asked_again_later() -> None:
    _, hashes, snapshot = make(1)
    transfers, _ = started(snapshot, hashes, A)
    assert transfers.lacks(A, snapshot.digest, 1.0) == []
    assert transfers.tick(2.0 * LAST_ASK_S) == [Ask(A, snapshot.digest)]
    assert wanted(transfers.holds(A, snapshot.digest, hashes, b"", 61.0), A) == [0]


def test_those_who_lack_it_are_asked_at_growing_intervals_for_ever() -> None:
    _, _, snapshot = make(1)
    transfers = Transfers(Random(0))
    transfers.peer_up(A, 0.0)
    transfers.fetch(snapshot, 0.0)
    asked = [now for now in range(1, 1_000) if transfers.tick(float(now))]
    gaps = [later - earlier for earlier, later in pairwise(asked)]
    assert gaps[0] < LAST_ASK_S / 2 and max(gaps) <= 1.25 * LAST_ASK_S + 1
    assert asked[-1] > 1_000 - 1.25 * LAST_ASK_S - 1


def test_a_cancelled_download_is_forgotten_and_frees_its_window() -> None:
    data, hashes, snapshot = make(8, seed=1)
    _, other_hashes, other = make(1, seed=2)
    transfers, _ = started(snapshot, hashes, A)
    transfers.fetch(other, 0.0)
    transfers.holds(A, other.digest, other_hashes, b"", 0.0)
    assert transfers.resumed(other.digest, [], 0.0) == []  # A's window is full
    assert transfers.cancel(snapshot.digest, 1.0) == [Want(A, other.digest, 0)]
    assert transfers.chunk(A, snapshot.digest, 0, piece(data, 0), 2.0) == []


def test_strangers_and_unknown_snapshots_change_nothing() -> None:
    data, hashes, snapshot = make(1)
    transfers, _ = started(snapshot, hashes, A)
    assert transfers.chunk(C, snapshot.digest, 0, piece(data, 0), 1.0) == []
    assert transfers.holds(C, snapshot.digest, hashes, b"", 1.0) == []
    assert transfers.holds(A, bytes(32), hashes, b"", 1.0) == []
    assert transfers.lacks(C, bytes(32), 1.0) == []
    assert transfers.resumed(bytes(32), [], 1.0) == []
    assert transfers.peer_down(C, 1.0) == []


def test_a_part_is_asked_only_for_what_it_has() -> None:
    """SPEC 5.3: a set of chunks; bit i of byte i // 8 is chunk i."""
    _, hashes, snapshot = make(10)
    transfers = Transfers(Random(0))
    transfers.peer_up(A, 0.0)
    transfers.fetch(snapshot, 0.0)
    assert transfers.holds(A, snapshot.digest, hashes, b"\x02\x02", 0.0) == [
        Check(snapshot, hashes)
    ]
    assert sorted(wanted(transfers.resumed(snapshot.digest, [], 0.0), A)) == [1, 9]
    assert wanted(transfers.has(A, snapshot.digest, b"\x12\x02", 1.0), A) == [4]


def test_who_gave_all_it_had_is_asked_again_now_and_then() -> None:
    """SPEC 4.1.3: its `has` may be lost, and nobody else be left who holds the rest."""
    data, hashes, snapshot = make(2)
    transfers = Transfers(Random(0))
    transfers.peer_up(A, 0.0)
    transfers.fetch(snapshot, 0.0)
    transfers.holds(A, snapshot.digest, hashes, b"\x01", 0.0)
    assert wanted(transfers.resumed(snapshot.digest, (), 0.0), A) == [0]
    assert not [e for e in transfers.tick(1.0) if isinstance(e, Ask)]
    transfers.chunk(A, snapshot.digest, 0, piece(data, 0), 1.0)
    asked = [now for now in range(2, 100) for e in transfers.tick(now) if isinstance(e, Ask)]
    assert len(asked) >= 3 and min(b - a for a, b in pairwise(asked)) >= LAST_ASK_S / 2
    assert wanted(transfers.holds(A, snapshot.digest, hashes, b"\x03", 99.0), A) == [1]


def test_chunks_that_do_not_exist_are_the_peers_fault() -> None:
    """SPEC 5.3.3."""
    _, hashes, snapshot = make(2)
    for have in (b"\x04", b"\x01\x00"):
        transfers, _ = started(snapshot, hashes, A)
        assert isinstance(transfers.has(A, snapshot.digest, have, 1.0)[0], Blame)


def test_the_chunk_that_fewest_have_goes_first() -> None:
    """SPEC 5.3.5."""
    _, hashes, snapshot = make(3 * FIRST_WINDOW)
    transfers = Transfers(Random(0))
    transfers.fetch(snapshot, 0.0)
    common = (1 << 2 * FIRST_WINDOW) - 1
    for peer, have in ((A, b""), (B, common.to_bytes(2, "little"))):
        transfers.peer_up(peer, 0.0)
        transfers.holds(peer, snapshot.digest, hashes, have, 0.0)
    effects = transfers.resumed(snapshot.digest, [], 0.0)
    assert sorted(wanted(effects, A)) == list(range(2 * FIRST_WINDOW, 3 * FIRST_WINDOW))
    assert all(index < 2 * FIRST_WINDOW for index in wanted(effects, B))


def test_who_asks_is_told_what_was_verified_as_it_grows() -> None:
    """SPEC 5.3.5."""
    data, hashes, snapshot = make(3)
    digest = snapshot.digest
    transfers, effects = started(snapshot, hashes, A)
    transfers.peer_up(B, 0.0)
    assert transfers.asked(B, digest) == []
    first, second, third = wanted(effects, A)
    assert not transfers.can_give(digest, first)
    transfers.chunk(A, digest, first, piece(data, first), 1.0)
    assert transfers.can_give(digest, first) and not transfers.can_give(digest, second)
    have = bytes([1 << first])
    assert transfers.tick(1.0) == [Offer(B, digest, hashes, have)]
    assert transfers.tick(1.5) == []
    transfers.chunk(A, digest, second, piece(data, second), 2.0)
    assert transfers.tick(2.0) == [Offer(B, digest, b"", bytes([1 << first | 1 << second]))]
    ended = transfers.chunk(A, digest, third, piece(data, third), 2.0)
    assert ended[1:] == [Complete(digest, hashes), Offer(B, digest, b"", b"")]
