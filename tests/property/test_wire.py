"""Canonical bytes are one spelling; hostile bytes raise PeerError, nothing else (SPEC 1, 3.2)."""

import msgpack
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dcfm_node.errors import PeerError
from dcfm_node.records.base import MAX_METRIC
from dcfm_node.records.messages import MAX_ENTRIES_BYTES, Entries, Head, Sync
from dcfm_node.wire.canonical import pack, unpack
from dcfm_node.wire.envelope import (
    decode_manifest,
    decode_message,
    encode_message,
    manifest_bytes,
    open_entry,
    open_heartbeat,
)
from tests.property.strategies import maps, mutated, values
from tests.unit.swarm.builders import Run, expert, join

RUN = Run(3)
ENTRY = RUN.authors[0].say(join()).envelope
HEARTBEAT = RUN.authors[0].heartbeat(1).envelope
HEAD = Head(epoch=0, seq=0, digest=bytes(32))
HEARTBEATS = {RUN.keys[1]: (5, 2)}
SYNC = Sync(run=RUN.id, version="1", heads={RUN.keys[0]: HEAD}, beats=HEARTBEATS, reply=True)
ENTRIES = Entries(run=RUN.id, entries=(ENTRY,), beats=(HEARTBEAT,))
MESSAGES = [encode_message(SYNC), encode_message(ENTRIES)]


@given(values)
def test_every_value_has_one_spelling_that_decodes_to_it(value) -> None:
    packed = pack(value)
    assert unpack(packed) == value
    assert pack(unpack(packed)) == packed


@given(maps(values), st.randoms(use_true_random=False))
def test_the_order_of_a_map_is_not_part_of_its_value(value, rng) -> None:
    items = list(value.items())
    rng.shuffle(items)
    assert pack(dict(items)) == pack(value)


@given(values)
def test_any_other_spelling_is_refused(value) -> None:
    loose = msgpack.packb(value, use_bin_type=True, use_single_float=True)
    if loose == pack(value):
        assert unpack(loose) == value
    else:
        with pytest.raises(PeerError):
            unpack(loose)


@given(values, st.binary(min_size=1, max_size=5))
def test_trailing_bytes_are_refused(value, rest) -> None:
    with pytest.raises(PeerError):
        unpack(pack(value) + rest)


READERS = [open_entry, open_heartbeat, decode_message, decode_manifest, unpack]
SAMPLES = [ENTRY, HEARTBEAT, *MESSAGES, manifest_bytes(RUN.manifest)]


@given(st.sampled_from(READERS), st.binary(max_size=400) | values.map(pack))
def test_arbitrary_bytes_raise_nothing_but_peer_error(reader, data) -> None:
    try:
        reader(data)
    except PeerError as error:
        assert str(error)


@given(st.data())
def test_mutated_bytes_raise_nothing_but_peer_error(data) -> None:
    original = data.draw(st.sampled_from(SAMPLES))
    changed = mutated(data.draw, original)
    for reader in READERS:
        try:
            reader(changed)
        except PeerError as error:
            assert str(error)


@given(st.data())
def test_no_mutated_envelope_passes(data) -> None:
    original = data.draw(st.sampled_from([ENTRY, HEARTBEAT]))
    changed = mutated(data.draw, original)
    assume(changed != original)
    for reader in (open_entry, open_heartbeat):
        with pytest.raises(PeerError):
            reader(changed)


@given(st.sampled_from([open_entry, open_heartbeat]), st.integers(1, 9))
def test_oversize_envelopes_are_refused_unread(reader, excess) -> None:
    with pytest.raises(PeerError, match="exceeds"):
        reader(bytes(MAX_ENTRIES_BYTES + excess))


@given(st.integers(0, 5), st.floats(-MAX_METRIC, MAX_METRIC))
def test_entries_come_back_as_they_were_said(round_, gap) -> None:
    sealed = Run(1).authors[0].say(expert(round_, ci_gap=gap))
    assert open_entry(sealed.envelope) == sealed
