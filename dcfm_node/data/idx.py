"""IDX files (MNIST), plain or gzip."""

import gzip
import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from dcfm_node.data.raw import Raw, bounded, check_shapes, readable
from dcfm_node.data.spec import IdxData
from dcfm_node.errors import DataError

_GZIP = b"\x1f\x8b"
_UINT8 = 0x08
_BROKEN = (EOFError, zlib.error)
_FIX = "fetch it again: it is truncated or not an IDX file"


def read_idx(
    spec: IdxData, columns: Mapping[str, str], sample_shape: tuple[int, ...] | None = None
) -> Raw:
    """Read images (N, 1, H, W) and their labels.

    Both headers are checked against each other and the run before any data is unpacked.

    Args:
        columns: the attributes that are not constant; the labels file gives exactly one.
        sample_shape: of the run; None accepts any.

    Raises:
        DataError: a file is missing, truncated or not IDX of uint8, or the pair does not match.
    """
    if len(columns) != 1:
        raise DataError(
            f"the labels file gives one attribute, the run asks for {', '.join(columns) or 'none'}",
            where=str(spec.labels),
            fix='set constant = "…" under [data.attributes.NAME] for the others',
        )
    with _opened(spec.path, 3) as (shape, image_bytes), _opened(spec.labels, 1) as (many, labels):
        if shape[0] != many[0]:
            raise DataError(
                f"holds {many[0]} labels for {shape[0]} images",
                where=str(spec.labels),
                fix="take images and labels of the same set",
            )
        (attribute,) = columns
        x = (shape[0], 1, *shape[1:])
        check_shapes(x, {attribute: many}, sample_shape or x[1:], str(spec.path))
        images = _array(spec.path, shape, image_bytes)[:, None]
        named = {attribute: _array(spec.labels, many, labels)}
    row = f"{spec.labels}: label {{}}".format
    return Raw(images, named, row, str(spec.path))


def idx_shape(file: Path, ndim: int) -> tuple[int, ...]:
    """The shape in the header of an IDX file.

    Raises:
        DataError: the file is missing, or not IDX of uint8 in `ndim` dimensions.
    """
    with _opened(file, ndim) as (shape, _):
        return shape


@contextmanager
def _opened(file: Path, ndim: int) -> Iterator[tuple[tuple[int, ...], IO[bytes]]]:
    """The shape in a file's header, and the stream after the header."""
    with readable(file, *_BROKEN, fix=_FIX):
        with file.open("rb") as plain:
            packed = plain.read(2) == _GZIP
        with gzip.open(file) if packed else file.open("rb") as stream:
            head = stream.read(4 + 4 * ndim)
            if len(head) != 4 + 4 * ndim or head[:4] != bytes((0, 0, _UINT8, ndim)):
                raise OSError(f"not an IDX file of unsigned bytes in {ndim} dimensions")
            shape = struct.unpack(f">{ndim}I", head[4:])
            bounded(shape, 1, file)
            yield shape, cast(IO[bytes], stream)


def _array(file: Path, shape: tuple[int, ...], stream: IO[bytes]) -> NDArray[np.uint8]:
    size = math.prod(shape)
    with readable(file, *_BROKEN, fix=_FIX):
        data = stream.read(size + 1)
    if len(data) != size:
        raise DataError(
            f"holds {'more' if len(data) > size else 'less'} than the {size} bytes its header says",
            where=str(file),
            fix=_FIX,
        )
    return np.frombuffer(data, np.uint8).reshape(shape)
