"""Judging a safetensors file before anything loads it."""

import contextlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from dcfm_node.errors import PeerError
from dcfm_node.store import tensors
from dcfm_node.store.tensors import check_snapshot, ensemble_schema

SCHEMA: dict[str, tuple[str, tuple[int, ...]]] = {
    "bias": ("F32", (3,)),
    "empty": ("F32", (0, 4)),
    "half": ("F16", (2,)),
    "scalar": ("I64", ()),
    "weight": ("F32", (2, 3)),
}
VALUES: dict[str, Any] = {
    "bias": np.arange(3, dtype=np.float32),
    "empty": np.zeros((0, 4), np.float32),
    "half": np.ones(2, np.float16),
    "scalar": np.array(7),
    "weight": np.full((2, 3), -1e6, np.float32),
}
HEADER: dict[str, Any] = {
    "bias": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]},
    "empty": {"dtype": "F32", "shape": [0, 4], "data_offsets": [12, 12]},
    "half": {"dtype": "F16", "shape": [2], "data_offsets": [12, 16]},
    "scalar": {"dtype": "I64", "shape": [], "data_offsets": [16, 24]},
    "weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [24, 48]},
}
BODY = bytes(48)


def test_an_ensemble_holds_every_expert_and_the_router(tmp_path: Path) -> None:
    schema = ensemble_schema({"w": ("F32", (2,))}, {"out": ("F32", (3,))}, ("a", "b-1"))
    whole = {
        "expert.a.w": np.zeros(2, np.float32),
        "expert.b-1.w": np.ones(2, np.float32),
        "router.out": np.zeros(3, np.float32),
    }
    save_file(whole, tmp_path / "whole")
    check_snapshot(tmp_path / "whole", schema)
    for name in whole:
        save_file({k: v for k, v in whole.items() if k != name}, tmp_path / "part")
        with pytest.raises(PeerError, match=f"tensor {name} is missing"):
            check_snapshot(tmp_path / "part", schema)
    save_file(whole | {"expert.c.w": np.zeros(2, np.float32)}, tmp_path / "more")
    with pytest.raises(PeerError, match="does not belong"):
        check_snapshot(tmp_path / "more", schema)


def file_bytes(header: object, body: bytes = BODY) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[bytes], str]:
    """Check these bytes and give the reason of the refusal."""

    def check(data: bytes) -> str:
        path = tmp_path / "file"
        path.write_bytes(data)
        with pytest.raises(PeerError) as refusal:
            check_snapshot(path, SCHEMA)
        assert len(str(refusal.value)) <= 500
        assert str(refusal.value).isprintable()
        return str(refusal.value)

    return check


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_what_the_library_writes_passes(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "file"
    save_file(VALUES, path, metadata)
    check_snapshot(path, SCHEMA)


def test_our_own_spelling_passes_and_loads(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(file_bytes(HEADER))
    check_snapshot(path, SCHEMA)
    assert load_file(path).keys() == SCHEMA.keys()


def changed(name: str, **fields: object) -> dict[str, Any]:
    return {**HEADER, name: {**HEADER[name], **fields}}


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({**HEADER, "more": HEADER["bias"]}, "tensor 'more' does not belong"),
        ({k: v for k, v in HEADER.items() if k != "half"}, "tensor half is missing"),
        (changed("bias", dtype="I32"), "tensor bias has dtype 'I32', expected F32"),
        (changed("bias", dtype=["F32"]), "dtype"),
        (changed("bias", shape=[3, 1]), "tensor bias has shape [3, 1], expected [3]"),
        (changed("bias", shape=[True]), "shape"),
        (changed("bias", shape="3"), "not described"),
        (changed("bias", shape=[10**400]), "shape"),
        (changed("bias", more=1), "not described"),
        (changed("bias", data_offsets=[0, 12, 12]), "not described"),
        (changed("bias", data_offsets=[False, 12]), "not described"),
        (changed("bias", data_offsets=[0, 16]), "do not fit its shape"),
        (changed("bias", data_offsets=[12, 0]), "do not fit its shape"),
        (changed("bias", data_offsets=[4, 16]), "does not start at"),
        (changed("half", data_offsets=[16, 20]), "does not start at"),
        (changed("bias", data_offsets=[2**64, 2**64 + 12]), "does not start at"),
        (changed("bias", data_offsets=[-12, 0]), "negative"),
        (changed("bias", shape=[3.0]), "not an integer"),
        (changed("bias", shape=[float("nan")]), "not an integer"),
        ({**HEADER, "bias": None}, "not described"),
        ({**HEADER, "__metadata__": {"a": "b", "c": "d"}}, "metadata"),
        ({**HEADER, "__metadata__": {"a": 1}}, "metadata"),
        ({**HEADER, "__metadata__": None}, "metadata"),
        ({**HEADER, "__metadata__": {"a": "\ud800"}}, "metadata"),
        ({**HEADER, "\ud800\n\x1b[31m" + "x" * 1_000: None}, "does not belong"),
        ([], "does not start with"),
        (b" " + json.dumps(HEADER).encode(), "does not start with"),
        (b"\xef\xbb\xbf{}", "strict JSON"),
        (json.dumps(HEADER).encode("utf-16"), "strict JSON"),
        (b"", "strict JSON"),
        (b"{}{}", "strict JSON"),
        (b'{"bias": 1, "bias": 2}', "a key occurs twice"),
        (b"[" * 100_000, "strict JSON"),
        (b'{"bias": ' + b"9" * 5_000 + b"}", "strict JSON"),
    ],
)
def test_a_header_that_is_not_ours_is_refused(
    refused: Callable[[bytes], str], header: object, reason: str
) -> None:
    assert reason in refused(file_bytes(header))


@pytest.mark.parametrize(
    "data",
    [b"", b"1234567", bytes(8), b"\xff" * 8, (2**20 + 1).to_bytes(8, "little") + bytes(2**21)],
)
def test_a_length_that_cannot_be_is_refused(refused: Callable[[bytes], str], data: bytes) -> None:
    assert "header" in refused(data)


@pytest.mark.parametrize("size", [0, 47, 49])
def test_tensors_must_end_with_the_file(refused: Callable[[bytes], str], size: int) -> None:
    assert f"take 48 bytes of {size}" in refused(file_bytes(HEADER, bytes(size)))


@pytest.mark.parametrize(
    ("dtype", "value", "fits"),
    [
        ("F32", np.float32(1e6), True),
        ("F32", np.float32(-1e6), True),
        ("F32", np.float32(1.1e6), False),
        ("F32", np.float32(-1.1e6), False),
        ("F32", np.float32("nan"), False),
        ("F32", np.float32("-inf"), False),
        ("F64", np.float64(1e300), False),
        ("F64", np.float64(0.5), True),
        ("F16", np.float16(65_504), True),
        ("F16", np.float16("inf"), False),
        ("BF16", np.uint16(0x3F80), True),
        ("BF16", np.uint16(0x7F80), False),
        ("BF16", np.uint16(0xFFC0), False),
        ("BF16", np.uint16(0x4975), False),
        ("I64", np.int64(-(2**63)), False),
        ("I32", np.int32(-1_000_000), True),
        ("U8", np.uint8(255), True),
        ("BOOL", np.uint8(1), True),
        ("BOOL", np.uint8(2), False),
    ],
)
@pytest.mark.parametrize("place", [0, 4, 9])
def test_values_are_finite_and_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, value: Any, fits: bool, place: int
) -> None:
    monkeypatch.setattr(tensors, "SLICE_BYTES", 32)
    values = np.zeros(10, value.dtype)
    values[place] = value
    header = {"x": {"dtype": dtype, "shape": [10], "data_offsets": [0, values.nbytes]}}
    path = tmp_path / "file"
    path.write_bytes(file_bytes(header, values.tobytes()))
    with contextlib.nullcontext() if fits else pytest.raises(PeerError, match="tensor x has a"):
        check_snapshot(path, {"x": (dtype, (10,))})


TEXT = st.text('ab\\"{}[]:,\n\x00\u00e9\ud800', max_size=8)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "F16", "I64", "BF16"]) | JSON,
        "shape": st.lists(st.integers(-1, 4) | st.booleans(), max_size=3) | JSON,
        "data_offsets": st.lists(st.integers(-4, 52), min_size=2, max_size=2) | JSON,
        "more": JSON,
    },
)


@st.composite
def mutated_headers(draw: st.DrawFn) -> bytes:
    """A valid header with some entries changed, then some bytes."""
    header = {name: dict(info) for name, info in HEADER.items()}
    for name in draw(st.lists(st.sampled_from(sorted(HEADER)), max_size=2)):
        header[name].update(draw(FIELDS))
    if draw(st.booleans()):
        header[draw(TEXT | st.just("__metadata__"))] = draw(JSON)
    text = bytearray(
        json.dumps(header, ensure_ascii=draw(st.booleans())).encode("utf-8", "replace")
    )
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(text) - 1))
        text[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(text)


def passes(data: bytes) -> bool:
    """Whether the check passes, and then the library loads it; any error but PeerError escapes."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            check_snapshot(Path(file.name), SCHEMA)
        except PeerError:
            return False
        assert {n: v.shape for n, v in load_file(file.name).items()} == {
            name: shape for name, (_, shape) in SCHEMA.items()
        }
        return True


@given(mutated_headers())
def test_a_mutated_header_is_refused_or_loads(header: bytes) -> None:
    passes(file_bytes(header))


@given(JSON)
def test_any_json_is_refused(header: Any) -> None:
    assert not passes(file_bytes(json.dumps(header).encode()))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    assert not passes(data)


@given(st.integers(0, 400), st.integers(0, 7))
def test_a_truncated_file_is_refused(cut: int, bit: int) -> None:
    whole = file_bytes(HEADER)
    assert passes(whole)
    assert not passes(whole[: min(cut, len(whole) - 1)])
    flipped = bytearray(whole)
    flipped[cut % 8] ^= 1 << bit
    assert not passes(bytes(flipped))
