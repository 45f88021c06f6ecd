"""SPEC 1: one encoding of a value, and refusals that say why."""

import hashlib

import pytest

from dcfm_node.errors import PeerError
from dcfm_node.wire.canonical import MAX_DEPTH, pack, sha256, unpack


def nested(depth: int) -> object:
    value: object = None
    for _ in range(depth):
        value = [value]
    return value


def test_text_keys_come_before_byte_keys_each_sorted() -> None:
    assert pack({b"b": 1, "aa": 2, b"a": 3, "b": 4}) == (
        b"\x84\xa2aa\x02\xa1b\x04\xc4\x01a\x03\xc4\x01b\x01"
    )


def test_sequences_come_back_as_tuples() -> None:
    assert unpack(pack([1, [2, 3]])) == (1, (2, 3))


def test_floats_stay_floats() -> None:
    assert pack(1.0) == b"\xcb\x3f\xf0" + bytes(6)
    assert isinstance(unpack(pack(1.0)), float)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xcc\x01",
        b"\xd9\x01a",
        b"\xca\x3f\x80\x00\x00",
        b"\x82\xa1b\x01\xa1a\x02",
        b"\x82\xa1a\x01\xa1a\x02",
        b"\xa1\xff",
        b"\xc1",
        b"\x01\x01",
        b"\xd4\x00\x00",
        b"\x81\x01\x02",
        b"\xdd\xff\xff\xff\xff",
    ],
    ids=[
        "nothing",
        "long integer",
        "long text",
        "single float",
        "unsorted map",
        "repeated key",
        "not UTF-8",
        "unused code",
        "trailing byte",
        "ext type",
        "integer key",
        "array longer than the input",
    ],
)
def test_every_other_encoding_is_refused(data: bytes) -> None:
    with pytest.raises(PeerError, match="not canonical"):
        unpack(data)


def test_depth_is_bounded_both_ways() -> None:
    assert pack(nested(MAX_DEPTH))
    with pytest.raises(TypeError, match="nested deeper"):
        pack(nested(MAX_DEPTH + 1))
    with pytest.raises(PeerError, match="not canonical"):
        unpack(b"\x91" * (MAX_DEPTH + 1) + b"\xc0")
    with pytest.raises(PeerError, match="not canonical"):
        unpack(b"\x91" * 100_000 + b"\xc0")


def test_more_values_than_anything_honest_holds_are_refused_at_once() -> None:
    """Each costs far more than its byte, once it is looked at (SPEC 4.2.2)."""
    assert unpack(pack([None] * 96), 100) == (None,) * 96
    assert unpack(pack([[1], {"a": 2}]), 17) == ((1,), {"a": 2})
    for data in (pack([None] * 97), pack([{}] * 25), pack([[[]]] * 12)):
        with pytest.raises(PeerError, match="more values"):
            unpack(data, 100)


@pytest.mark.parametrize("value", [{1}, {1: 2}, object(), complex(1)])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        pack(value)


def test_sha256_covers_the_concatenation() -> None:
    assert sha256(b"a", b"", b"bc") == hashlib.sha256(b"abc").digest()
