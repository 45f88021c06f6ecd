"""Checks a peer's safetensors file before the node loads it (SPEC 5.1.3).

The header is read strictly: each name, dtype and shape is that of our own network, and the tensors
fill the file from the header to its end without gaps. Every value is finite, and of a magnitude
that training can reach. A file that passes holds weights and nothing else.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from dcfm_node.errors import PeerError
from dcfm_node.files import open_regular
from dcfm_node.records.base import MAX_SNAPSHOT_BYTES
from dcfm_node.records.ensemble import of_expert, of_router

MAX_HEADER_BYTES = 1 << 20
MAX_MAGNITUDE = 1e6
SLICE_BYTES = 4 << 20
"""Bytes that the check of values reads at a time, before widening."""

Schema = Mapping[str, tuple[str, tuple[int, ...]]]
"""Name of each tensor -> its safetensors dtype (a key of `_DTYPES`) and its shape."""

_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("u1"),
}
"""How the bytes of each dtype are read."""
_SHOWN = 80


def ensemble_schema(expert: Schema, beside: Schema, silos: Iterable[str]) -> Schema:
    """Tensors of an ensemble: every silo's expert, and what the method holds beside them."""
    members = {of_expert(silo, name): form for silo in silos for name, form in expert.items()}
    return members | {of_router(name): form for name, form in beside.items()}


def size_of(schema: Schema) -> int:
    """Bytes of the tensors, without the header."""
    return sum(math.prod(shape) * _DTYPES[dtype].itemsize for dtype, shape in schema.values())


def check_snapshot(path: Path, schema: Schema) -> None:
    """Refuse a file that does not hold exactly the tensors of `schema`.

    Args:
        schema: the tensors of our own network.

    Raises:
        PeerError: the file differs; the text fits the reason of a verdict.
        OSError: the file cannot be read.
    """
    with open_regular(path, MAX_SNAPSHOT_BYTES) as file:
        size = os.fstat(file.fileno()).st_size
        header = _read_header(file, size)
        _check_metadata(header.pop("__metadata__", {}))
        _check_names(header, schema)
        buffer = memoryview(bytearray(min(SLICE_BYTES, size)))
        for name in _in_file_order(header, schema, size - file.tell()):
            _check_values(file, buffer, name, *schema[name])


def _read_header(file: BufferedReader, size: int) -> dict[str, Any]:
    """Read the header of a file of `size` bytes, up to the start of the tensors."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(MAX_HEADER_BYTES, size - 8):
        raise PeerError("the header's length exceeds the file or 1 MiB")
    try:
        text = file.read(length).decode("utf-8")
        header: dict[str, Any] = json.loads(
            text,
            object_pairs_hook=_distinct,
            parse_int=_natural,
            parse_float=_refuse,
            parse_constant=_refuse,
        )
    except (ValueError, RecursionError) as error:
        raise PeerError(f"the header is not strict JSON: {_shown(str(error))}") from error
    if not text.startswith("{"):
        raise PeerError("the header does not start with '{'")
    return header


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _natural(text: str) -> int:
    if text.startswith("-"):
        raise ValueError("a negative number")
    return int(text)


def _refuse(text: str) -> NoReturn:
    raise ValueError("a number that is not an integer")


def _check_metadata(metadata: object) -> None:
    # ASCII, because Python's JSON accepts a lone surrogate and the loader's does not.
    match metadata:
        case dict() if len(metadata) <= 1 and all(
            type(text) is str and text.isascii() for pair in metadata.items() for text in pair
        ):
            return
    raise PeerError("the header's metadata is not at most one key and its text, in ASCII")


def _check_names(names: Mapping[str, Any], schema: Schema) -> None:
    for name in names:
        if name not in schema:
            raise PeerError(f"tensor {_shown(name)} does not belong to the run's network")
    for name in schema:
        if name not in names:
            raise PeerError(f"tensor {name} is missing")


def _in_file_order(header: dict[str, Any], schema: Schema, end: int) -> list[str]:
    """Check every tensor's dtype, shape and place; returns the names in file order."""
    spans = {name: _check_form(name, header[name], *schema[name]) for name in schema}
    cursor = 0
    order = sorted(spans, key=spans.__getitem__)
    for name in order:
        first, last = spans[name]
        if first != cursor:
            raise PeerError(f"tensor {name} does not start at the end of the one before it")
        cursor = last
    if cursor != end:
        raise PeerError(f"the tensors take {cursor} bytes of {end}")
    return order


def _check_form(name: str, info: Any, dtype: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """Check a tensor's description; returns its start and end offset in bytes."""
    match info:
        case {"dtype": kind, "shape": list(sizes), "data_offsets": [first, last]} if (
            len(info) == 3 and type(first) is type(last) is int
        ):
            pass
        case _:
            raise PeerError(f"tensor {name} is not described by dtype, shape and data_offsets")
    if kind != dtype:
        raise PeerError(f"tensor {name} has dtype {_shown(kind)}, expected {dtype}")
    if [type(size) for size in sizes] != [int] * len(shape) or tuple(sizes) != shape:
        raise PeerError(f"tensor {name} has shape {_shown(sizes)}, expected {list(shape)}")
    if last - first != math.prod(shape) * _DTYPES[dtype].itemsize:
        raise PeerError(f"tensor {name} has offsets that do not fit its shape")
    return first, last


def _check_values(
    file: BufferedReader, buffer: memoryview, name: str, dtype: str, shape: tuple[int, ...]
) -> None:
    """Read one tensor's bytes from the file's position, and check its values."""
    limit = 1.0 if dtype == "BOOL" else MAX_MAGNITUDE
    left = math.prod(shape) * _DTYPES[dtype].itemsize
    while left:
        data = buffer[: min(left, len(buffer))]
        if file.readinto(data) != len(data):
            raise PeerError(f"tensor {name} ends before its last value")
        left -= len(data)
        values = _values(data, dtype)
        with np.errstate(invalid="ignore"):
            least, most = float(values.min()), float(values.max())
        if not (least >= -limit and most <= limit):  # NaN fails both
            raise PeerError(f"tensor {name} has a value that is not finite or exceeds {limit:g}")


def _values(data: memoryview, dtype: str) -> NDArray[Any]:
    raw: NDArray[Any] = np.frombuffer(data, _DTYPES[dtype])
    if dtype == "BF16":  # the upper half of a float32
        widened: NDArray[Any] = (raw.astype(np.uint32) << 16).view(np.float32)
        return widened
    return raw


def _shown(value: object) -> str:
    """A peer's text, escaped and shortened for logs."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
