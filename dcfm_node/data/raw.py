"""What every reader returns, and what they share."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dcfm_node.errors import DataError

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
Stored = Floats | NDArray[np.uint8]
"""Samples as they are kept: float32, or pixels that `unit` makes floats of, a batch at a time."""

MAX_DATA_BYTES = 256 * 2**30
"""A header that announces more than this is taken for a broken file."""


@dataclass(frozen=True, slots=True)
class Raw:
    """Samples and their labels as the files give them."""

    x: NDArray[Any]
    """(N, *sample_shape), floating or uint8."""
    columns: Mapping[str, NDArray[Any]]
    """By attribute name: (N,) integers or strings, for attributes that are not constant."""
    row: Callable[[int], str]
    """Names a sample to the operator."""
    file: str
    """Names the whole to the operator."""


def unit(x: NDArray[Any]) -> Floats:
    """Samples as networks see them: pixels in bytes, 0 … 255, as float32 in [-1, 1]; all others as
    they are."""
    if x.dtype != np.uint8:
        return x
    return x.astype(np.float32) * np.float32(2.0 / 255.0) - np.float32(1.0)


def bounded(shape: Sequence[int], item_bytes: int, file: Path) -> int:
    """Number of bytes of an array.

    Raises:
        DataError: more than MAX_DATA_BYTES.
    """
    size = math.prod(shape) * item_bytes
    if size > MAX_DATA_BYTES:
        raise DataError(
            f"announces {size} bytes of data, more than {MAX_DATA_BYTES}",
            where=str(file),
            fix="check that the file is whole, or give this silo a part of it",
        )
    return size


@contextmanager
def readable(file: Path, *broken: type[Exception], fix: str) -> Iterator[None]:
    """Turn what the reading of a file may raise into a DataError that names it.

    Args:
        broken: exceptions that say the file is not what it should be.
        fix: what the operator should do about a broken file.
    """
    failures: tuple[type[Exception], ...] = (OSError, MemoryError, *broken)
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(
            "there is no such file",
            where=str(file),
            fix="check the paths under [data] in the node's settings",
        ) from error
    except PermissionError as error:
        raise DataError(
            "the file may not be read", where=str(file), fix="let the node's user read it"
        ) from error
    except failures as error:
        raise DataError(f"cannot be read: {error}", where=str(file), fix=fix) from error
