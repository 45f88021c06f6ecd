"""Canonical bytes: the one msgpack encoding of a value (SPEC 1).

Maps are sorted by key, text before bytes, integers and lengths take their shortest form, floats are
float64, and nothing else exists. Decoding refuses every other encoding of the same value, so that
a digest names a value and not one of its spellings.
"""

import hashlib
from typing import Any

import msgpack

from dcfm_node.errors import PeerError

MAX_DEPTH = 16
MAX_WEIGHT = 1 << 20
"""Of the values in one encoding: each weighs 1, and a list or map 4 more, as they cost to look at.
The heaviest that fits any bound of SPEC is a `join` of 65,536 combinations."""


def pack(value: Any) -> bytes:
    """Encode None, bool, int, float, str, bytes, sequences and maps.

    Raises:
        TypeError: for any other type, or nesting beyond MAX_DEPTH.
    """
    packed: bytes = msgpack.packb(_ordered(value, 0), use_bin_type=True)
    return packed


def unpack(data: bytes, most: int = MAX_WEIGHT) -> Any:
    """Decode canonical bytes; sequences come back as tuples.

    Args:
        most: what its values may weigh together.

    Raises:
        PeerError: not msgpack, not canonical, nested too deeply, or more values than that.
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
    """A seed, 0 to 2**31 - 1, for the work that these parts name: the same each time it is done."""
    return int.from_bytes(sha256(*parts)[:4], "big") >> 1


def sha256(*parts: bytes) -> bytes:
    """SHA-256 over the concatenation, 32 bytes."""
    state = hashlib.sha256()
    for part in parts:
        state.update(part)
    return state.digest()


def _outweighs(value: Any, most: int) -> bool:
    """Whether there is so much in a value that looking at all of it is no use. Cheap."""
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
