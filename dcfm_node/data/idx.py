"""IDX files (MNIST), plain or gzip."""

import gzip
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dcfm_node.data.raw import Raw, bounded, readable
from dcfm_node.data.spec import IdxData
from dcfm_node.errors import DataError

_GZIP = b"\x1f\x8b"
_UINT8 = 0x08


def read_idx(spec: IdxData, columns: Mapping[str, str]) -> Raw:
    """Read images (N, 1, H, W) and their labels.

    Args:
        columns: the attributes that are not constant; the labels file gives exactly one.

    Raises:
        DataError: no such file, not IDX of uint8, truncated, or the pair does not match.
    """
    if len(columns) != 1:
        raise DataError(
            f"the labels file gives one attribute, the run asks for {', '.join(columns) or 'none'}",
            where=str(spec.labels),
            fix='set constant = "…" under [data.attributes.NAME] for the others',
        )
    images, labels = _array(spec.path, 3), _array(spec.labels, 1)
    if len(images) != len(labels):
        raise DataError(
            f"holds {len(labels)} labels for {len(images)} images",
            where=str(spec.labels),
            fix="take images and labels of the same set",
        )
    (attribute,) = columns
    row = f"{spec.labels}: label {{}}".format
    return Raw(images[:, None], {attribute: labels}, row, str(spec.path))


def _array(file: Path, ndim: int) -> NDArray[np.uint8]:
    broken = (EOFError, zlib.error)
    with readable(file, *broken, fix="fetch it again: it is truncated or not an IDX file"):
        with file.open("rb") as plain:
            packed = plain.read(2) == _GZIP
        with gzip.open(file, "rb") if packed else file.open("rb") as stream:
            head = stream.read(4 + 4 * ndim)
            if len(head) != 4 + 4 * ndim or head[:4] != bytes((0, 0, _UINT8, ndim)):
                raise OSError(f"not an IDX file of unsigned bytes in {ndim} dimensions")
            shape = struct.unpack(f">{ndim}I", head[4:])
            size = bounded(shape, 1, file)
            data = stream.read(size + 1)
    if len(data) != math.prod(shape):
        raise DataError(
            f"holds {'more' if len(data) > size else 'less'} than the {size} bytes its header says",
            where=str(file),
            fix="fetch it again: it is truncated or not an IDX file",
        )
    return np.frombuffer(data, np.uint8).reshape(shape)
