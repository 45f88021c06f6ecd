"""What every reader returns, and what they share."""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

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
    """Names a sample to the operator."""
    file: str
    """Names the whole to the operator."""
    notes: tuple[str, ...] = ()
    """What was skipped, and why; the node says it when it starts."""


def memory() -> int:
    """Bytes of memory that this machine has, or this process's control group where that is less."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        groups = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        group = next((line[3:] for line in groups if line.startswith("0::")), "/")
        granted = Path(f"/sys/fs/cgroup{group}/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return whole
    return min(whole, int(granted)) if granted.isdecimal() else whole


def bounded(shape: Sequence[int], item_bytes: int, file: Path) -> int:
    """Number of bytes of an array.

    Raises:
        DataError: more than MAX_DATA_BYTES, or than there is memory for.
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
    """Whether arrays of these shapes can be a silo's data; asked before they are read.

    Args:
        columns: the attributes', by name.

    Raises:
        DataError: too few samples, or of another shape than the run's, or too few or many labels.
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
    if x[1:] != sample_shape:
        raise DataError(
            f"samples have shape {list(x[1:])}, the run's have {list(sample_shape)}",
            where=file,
            fix="reshape the samples, or choose another sample_shape for the run",
        )


@contextmanager
def readable(file: Path, *broken: type[Exception], fix: str) -> Iterator[None]:
    """Turn what the reading of a file may raise into a DataError that names it.

    Args:
        broken: exceptions that say the file is not what it should be.
        fix: what the operator should do about a broken file.
    """
    failures: tuple[type[Exception], ...] = (OSError, MemoryError, *broken)
    try:
        if file.exists() and not (file.is_file() or file.is_dir()):
            # A pipe would be waited for, a device has no end.
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
