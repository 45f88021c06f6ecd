"""SPEC 5.4: lossless deltas."""

import zlib
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcfm_node.errors import PeerError
from dcfm_node.store.delta import code, decode, encode, restore
from dcfm_node.swarm.chunks import CHUNK_BYTES


@given(base=st.binary(max_size=300), data=st.binary(min_size=1, max_size=300))
@pytest.mark.parametrize("width", [2, 4])
def test_any_bytes_come_back(base: bytes, data: bytes, width: int) -> None:
    """Bits, not numbers: NaN, infinities and both zeros too, whatever the base is."""
    assert restore(base, code(base, data, width), len(data), width) == data


@pytest.mark.parametrize("width", [2, 4])
def test_files_come_back(tmp_path: Path, width: int) -> None:
    base, target, coded, made = (tmp_path / name for name in ("base", "target", "coded", "made"))
    base.write_bytes(Random(0).randbytes(CHUNK_BYTES + 5))
    target.write_bytes(Random(1).randbytes(2 * CHUNK_BYTES + 12_345))
    encode(base, target, coded, width)
    decode(base, coded, made, target.stat().st_size, width)
    assert made.read_bytes() == target.read_bytes()


def test_weights_that_moved_a_little_take_little_room() -> None:
    rng = np.random.default_rng(0)
    old = rng.standard_normal(100_000, np.float32)
    new = old + 1e-3 * rng.standard_normal(100_000, np.float32)

    def bf16(values: "np.ndarray[tuple[int], np.dtype[np.float32]]") -> bytes:
        return (values.view(np.uint32) >> 16).astype("<u2").tobytes()

    assert len(code(bf16(old), bf16(new), 2)) < 0.25 * 4 * len(new)
    assert len(code(old.tobytes(), new.tobytes(), 4)) < 0.75 * 4 * len(new)


DATA = bytes(range(200))
BLOCK = code(DATA, DATA[::-1], 2)
PREFIX = len(BLOCK).to_bytes(4, "big")


@pytest.mark.parametrize(
    ("coded", "why"),
    [
        (b"", "ends before"),
        (PREFIX + BLOCK + PREFIX + BLOCK, "goes on"),
        (PREFIX + BLOCK[:-1], "within a block"),
        (PREFIX[:2], "a block of"),
        (bytes(4) + BLOCK, "a block of 0"),
        (b"\xff" * 4 + BLOCK, "a block of 4294967295"),
        (PREFIX + b"x" * len(BLOCK), "no zlib stream"),
        (len(zlib.compress(b"")).to_bytes(4, "big") + zlib.compress(b""), "does not make 200"),
        ((len(BLOCK) + 1).to_bytes(4, "big") + BLOCK + b"x", "does not make 200"),
    ],
)
def test_what_encode_does_not_make_is_refused(tmp_path: Path, coded: bytes, why: str) -> None:
    base, file = tmp_path / "base", tmp_path / "coded"
    base.write_bytes(DATA)
    file.write_bytes(coded)
    with pytest.raises(PeerError, match=why):
        decode(base, file, tmp_path / "made", len(DATA), 2)


def test_a_bomb_makes_no_more_than_was_signed(tmp_path: Path) -> None:
    """SPEC 1.3: an inflater's output is bounded."""
    base, file, made = (tmp_path / name for name in ("base", "coded", "made"))
    base.write_bytes(DATA)
    bomb = zlib.compress(bytes(200 << 20))
    file.write_bytes(len(bomb).to_bytes(4, "big") + bomb)
    with pytest.raises(PeerError, match="does not make 200"):
        decode(base, file, made, len(DATA), 2)
    assert made.stat().st_size == 0
