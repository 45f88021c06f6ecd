"""Reads protocol/vectors without any help of the package that they test."""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "protocol" / "vectors"


def load(name: str) -> Any:
    """A whole vector file."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="ascii"))


def cases(found: list[dict[str, Any]]) -> Any:
    """Parametrise a test over cases, named as they are."""
    assert found
    return pytest.mark.parametrize("case", found, ids=[case["name"] for case in found])


def value_of(plain: Any) -> Any:
    """The value that tagged JSON stands for; arrays as tuples."""
    match plain:
        case {"$bytes": text}:
            return bytes.fromhex(text)
        case {"$float": text}:
            return float(text)
        case {"$map": pairs}:
            return {value_of(key): value_of(item) for key, item in pairs}
        case dict():
            return {key: value_of(item) for key, item in plain.items()}
        case list():
            return tuple(value_of(item) for item in plain)
    return plain


def raw(case: dict[str, Any], base: bytes = b"") -> bytes:
    """The bytes of a case: whole, in pieces, or in the place of some bytes of the file's `base`."""
    if "splice" in case:
        start, end = case["splice"]
        rest = {name: value for name, value in case.items() if name != "splice"}
        return base[:start] + raw(rest) + base[end:]
    if "pieces" in case:
        return b"".join(_piece(*piece) for piece in case["pieces"])
    return bytes.fromhex(case["envelope"] if "envelope" in case else case["hex"])


def _piece(head: str, *rest: Any) -> bytes:
    """[hex, times], or [hex, hex, first, times] around two bytes of a number that rises."""
    if len(rest) == 1:
        return bytes.fromhex(head) * int(rest[0])
    tail, first, times = rest
    numbers = (number.to_bytes(2, "big") for number in range(first, first + times))
    return b"".join(bytes.fromhex(head) + number + bytes.fromhex(tail) for number in numbers)


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def spell(value: Any) -> bytes:
    """SPEC 1.1, written out once more from its text."""
    match value:
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int():
            return _integer(value)
        case float():
            return b"\xcb" + struct.pack(">d", value)
        case str():
            data = value.encode()
            return _sized(len(data), 0xA0, 31, (0xD9, 0xDA, 0xDB)) + data
        case bytes():
            return _sized(len(value), 0, -1, (0xC4, 0xC5, 0xC6)) + value
        case tuple():
            head = _sized(len(value), 0x90, 15, (None, 0xDC, 0xDD))
            return head + b"".join(map(spell, value))
        case dict():
            texts = sorted((key.encode(), key) for key in value if isinstance(key, str))
            keys = [key for _, key in texts]
            keys += sorted(key for key in value if isinstance(key, bytes))
            head = _sized(len(value), 0x80, 15, (None, 0xDE, 0xDF))
            return head + b"".join(spell(key) + spell(value[key]) for key in keys)
    raise TypeError(type(value))


def _integer(value: int) -> bytes:
    if -32 <= value <= 127:
        return struct.pack(">b", value)
    signed = value < 0
    for code, form in enumerate("bhiq" if signed else "BHIQ"):
        try:
            return bytes([(0xD0 if signed else 0xCC) + code]) + struct.pack(f">{form}", value)
        except struct.error:
            continue
    raise ValueError(value)


def _sized(size: int, short: int, most: int, codes: tuple[int | None, int, int]) -> bytes:
    if size <= most:
        return bytes([short + size])
    if codes[0] is not None and size < 2**8:
        return bytes([codes[0], size])
    if size < 2**16:
        return bytes([codes[1]]) + struct.pack(">H", size)
    return bytes([codes[2]]) + struct.pack(">I", size)
