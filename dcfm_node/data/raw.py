"""The result of every reader, and helpers that all readers use."""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dcfm_node.data.oddities import DataWarning
from dcfm_node.errors import DataError, UserError

MAX_DATA_BYTES = 256 * 2**30
"""A file whose header announces more than this is treated as broken."""


@dataclass(frozen=True, slots=True)
class Raw:
    """Samples and their labels as the files give them."""

    x: NDArray[Any]
    """(N, *sample_shape), floating or uint8."""
    columns: Mapping[str, NDArray[Any]]
    """By attribute name: (N,) integers or strings, for attributes that are not constant."""
    row: Callable[[int], str]
    """Index of a sample -> its name in messages to the operator."""
    file: str
    """Name of the data set in messages to the operator."""
    notes: tuple[str, ...] = ()
    """What the reader skipped, and why; the node shows it when it starts."""
    names: tuple[str, ...] = ()
    """Of the numbers of a sample, in order, if the files have names."""
    warnings: tuple[DataWarning, ...] = ()
    """What the reader finds odd."""
    together: NDArray[np.int64] | None = None
    """(N,): index of the first sample that must be on the same side of the hold-out, such as of the
    same patient. Default: the first equal sample."""


def memory() -> int:
    """Memory of this machine in bytes, or the limit of this process's control group if lower."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        groups = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        group = next((line[3:] for line in groups if line.startswith("0::")), "/")
        granted = Path(f"/sys/fs/cgroup{group}/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return whole
    return min(whole, int(granted)) if granted.isdecimal() else whole


def bounded(shape: Sequence[int], item_bytes: int, file: Path) -> int:
    """Size of an array in bytes.

    Raises:
        DataError: the size exceeds MAX_DATA_BYTES or the memory.
    """
    size, most = math.prod(shape) * item_bytes, min(MAX_DATA_BYTES, memory())
    if size > most:
        raise DataError(
            f"announces {size} bytes of data, more than {most}",
            where=str(file),
            fix="check that the file is whole, or give this silo a part of it",
        )
    return size


def check_shapes(
    x: tuple[int, ...],
    columns: Mapping[str, tuple[int, ...]],
    sample_shape: tuple[int, ...],
    file: str,
) -> None:
    """Check, before reading, that arrays of these shapes can be a silo's data.

    Args:
        columns: attribute name -> shape of its labels.

    Raises:
        DataError: there are too few samples, their shape is not the run's, or the number of
            labels is not the number of samples.
    """
    if len(x) < 1 or x[0] < 2:
        raise DataError(
            f"holds {x[0] if x else 0} samples",
            where=file,
            fix="a silo needs at least two: one to train on, one to hold out",
        )
    for name, shape in columns.items():
        if shape == x[:1]:
            continue
        fix = f"give it one value per sample: ({x[0]},)"
        if len(shape) == 2 and shape[0] == x[0]:
            one_hot = "labels.argmax(axis=1) if it is one-hot"
            fix += ", by labels[:, 0]" if shape[1] == 1 else f", by {one_hot}"
        raise DataError(
            f"attribute {name!r} has shape {shape} for {x[0]} samples", where=file, fix=fix
        )
    if not (
        x[1:] == sample_shape or _lacks_axes(x[1:], sample_shape) or _last(x[1:], sample_shape)
    ):
        raise DataError(
            f"samples have shape {list(x[1:])}, the run's have {list(sample_shape)}",
            where=file,
            fix="reshape the samples, or choose another sample_shape for the run",
        )


def arranged(x: NDArray[Any], sample_shape: tuple[int, ...]) -> NDArray[Any]:
    """Samples (N, …) that `check_shapes` lets pass, as (N, *sample_shape); often a view.

    Numbers in one row fill the shape row by row. A grey picture or a series of one channel may lack
    the axis of the channel, and channels may come last.
    """
    if x.shape[1:] != sample_shape and _last(x.shape[1:], sample_shape):
        return np.moveaxis(x, -1, 1)
    return x.reshape(len(x), *sample_shape)


def _lacks_axes(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return shape in ((math.prod(wanted),), wanted[1:]) and math.prod(shape) == math.prod(wanted)


def _last(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(wanted) > 1 and shape == (*wanted[1:], wanted[0])


@contextmanager
def readable(file: Path, *broken: type[Exception], fix: str) -> Iterator[None]:
    """Turn each exception from reading a file into a DataError that names the file.

    Args:
        broken: exceptions that mean a damaged or wrong file.
        fix: what the operator should do then.
    """
    failures: tuple[type[Exception], ...] = (OSError, MemoryError, *broken)
    try:
        if file.exists() and not (file.is_file() or file.is_dir()):
            # Reading a pipe would wait, and a device has no end.
            raise OSError("it is neither a file nor a folder")
        yield
    except UserError:
        raise
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
