"""Canonical bytes: the one msgpack encoding of a value (SPEC 1).

Maps are sorted by key, text before bytes. Integers and lengths take their shortest form. Floats are
float64. There are no other types. Decoding refuses every other encoding of the same value, so that
a digest names a value and not one of its spellings.
"""

import hashlib
from typing import Any

import msgpack

from dcfm_node.errors import PeerError

MAX_DEPTH = 16
MAX_WEIGHT = 1 << 20
"""Most weight of the values in one encoding: each value weighs 1, and a list or map 4 more,
about what it costs to read them. The heaviest valid one is a `join` of 65,536 combinations."""


def pack(value: Any) -> bytes:
    """Encode None, bool, int, float, str, bytes, lists, tuples and dicts.

    Raises:
        TypeError: a value has another type, or is nested deeper than MAX_DEPTH.
    """
    packed: bytes = msgpack.packb(_ordered(value, 0), use_bin_type=True)
    return packed


def unpack(data: bytes, most: int = MAX_WEIGHT) -> Any:
    """Decode canonical bytes. Arrays become tuples.

    Args:
        most: most weight of the values together (`MAX_WEIGHT`).

    Raises:
        PeerError: the bytes are not msgpack, not canonical, nested too deeply, or too heavy.
    """
    try:
        value = msgpack.unpackb(data, use_list=False, raw=False, strict_map_key=False)
        if _outweighs(value, most):
            raise PeerError("not canonical msgpack: more values than any record or message has")
        canonical = pack(value)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException, RecursionError) as error:
        raise PeerError(f"not canonical msgpack: {error}") from error
    if canonical != data:
        raise PeerError("not canonical msgpack: another encoding of the same value")
    return value


def derived_seed(*parts: bytes) -> int:
    """A seed, 0 to 2**31 - 1, for the work that the parts name. Equal parts give equal seeds."""
    return int.from_bytes(sha256(*parts)[:4], "big") >> 1


def sha256(*parts: bytes) -> bytes:
    """SHA-256 over the concatenation, 32 bytes."""
    state = hashlib.sha256()
    for part in parts:
        state.update(part)
    return state.digest()


def _outweighs(value: Any, most: int) -> bool:
    """Whether the value weighs more than `most`. It stops as soon as it knows."""
    left, unseen = most, [value]
    while unseen and left >= 0:
        item = unseen.pop()
        inner = item.values() if type(item) is dict else item if type(item) is tuple else ()
        left -= 4 + len(inner) * (2 if type(item) is dict else 1)
        if left >= 0:
            unseen += [each for each in inner if type(each) in (dict, tuple)]
    return left < 0


def _ordered(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise TypeError(f"nested deeper than {MAX_DEPTH}")
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    if type(value) in (list, tuple):
        return [_ordered(item, depth + 1) for item in value]
    if type(value) is dict:
        if not all(type(key) in (str, bytes) for key in value):
            raise TypeError("a map key is neither text nor bytes")
        keys = sorted(value, key=lambda key: (type(key) is bytes, key))
        return {key: _ordered(value[key], depth + 1) for key in keys}
    raise TypeError(f"{type(value).__name__} has no canonical form")
