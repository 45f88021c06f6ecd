"""NumPy archives."""

import math
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from dcfm_node.data.labels import flat, plain
from dcfm_node.data.names import normal, twice
from dcfm_node.data.raw import MAX_DATA_BYTES, Raw, arranged, bounded, check_shapes, readable
from dcfm_node.data.spec import NpzData
from dcfm_node.errors import DataError
from dcfm_node.files import open_regular

_FIX = "write it with numpy.savez; save strings as numpy.asarray(values, dtype=str)"
_BROKEN = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError, TypeError)
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}

Shape = tuple[int, ...]
Header = tuple[Shape, np.dtype[Any]]


def read_npz(
    spec: NpzData, columns: Mapping[str, str], order: tuple[str, ...], sample_shape: Shape
) -> Raw:
    """Read `x` and the attributes' arrays; pickled objects are refused.

    All headers are checked against the file and the run before any array is read.

    Args:
        columns: attribute name -> array name, for attributes that are not constant.
        order: the run's attributes; column i of an array `c` holds the i-th.

    Raises:
        DataError: the file is missing or not an npz archive; an array is missing, doubled or too
            large, or its shape does not fit.
    """
    file = spec.path
    with readable(file, *_BROKEN, fix=_FIX), zipfile.ZipFile(file) as archive:
        entries = _entries(archive, file)
        # Column i of `c` is used where no other source is set.
        in_c = [n for n, source in columns.items() if n == source and normal(n) not in entries]
        in_c = in_c if "c" in entries else []
        wanted = {name: normal(s) for name, s in columns.items() if name not in in_c}
        for missing in sorted({"x", *wanted.values()} - set(entries)):
            raise DataError(
                f"has no array {missing!r}, only {', '.join(sorted(entries)) or 'none at all'}",
                where=str(file),
                fix="name the array as the run names the attribute, or set column under "
                "[data.attributes]",
            )
        needed = {"x", *wanted.values(), *(["c"] if in_c else [])}
        shapes = {name: _header(archive, name, entries[name])[0] for name in sorted(needed)}
        bounded([sum(entries[name].file_size for name in needed)], 1, file)
        if in_c and shapes["c"] != (*shapes["x"][:1], len(order)):
            raise DataError(
                f"c has shape {shapes['c']}",
                where=str(file),
                fix=f"give it one column per attribute: (N, {len(order)})",
            )
        check_shapes(shapes["x"], {}, sample_shape, str(file))
        for name, source in wanted.items():
            if shapes[source][:1] != shapes["x"][:1] or len(shapes[source]) > 2:
                check_shapes(shapes["x"], {name: shapes[source]}, sample_shape, str(file))

        def array(name: str) -> NDArray[Any]:
            with archive.open(entries[name]) as stream:
                values: NDArray[Any] = npy.read_array(stream, allow_pickle=False)
            return values

        read = {name: flat(array(source)) for name, source in wanted.items()}
        labels = {name: column.shape for name, column in read.items()}
        check_shapes(shapes["x"], labels, sample_shape, str(file))
        if in_c:
            c = array("c")
            read |= {name: c[:, order.index(name)] for name in in_c}
        return Raw(
            arranged(array("x"), sample_shape), read, lambda row: f"{file}: row {row}", str(file)
        )


def read_arrays(
    file: Path, names: Sequence[str], check: Callable[[Mapping[str, Header]], None], fix: str
) -> dict[str, NDArray[Any]]:
    """Whole arrays of an archive; pickled objects are refused, other arrays are not looked at.

    Args:
        check: gets the arrays' headers before any array is read.
        fix: what the operator should do if an array is missing.

    Raises:
        DataError: the file is missing or not an npz archive; an array is missing, doubled or too
            large.
    """
    with (
        readable(file, *_BROKEN, fix=_FIX),
        open_regular(file, MAX_DATA_BYTES) as whole,
        zipfile.ZipFile(whole) as archive,
    ):
        entries = _entries(archive, file)
        for missing in [name for name in names if name not in entries]:
            there = ", ".join(sorted(entries)) or "none at all"
            raise DataError(f"has no array {missing!r}, only {there}", where=str(file), fix=fix)
        check({name: _header(archive, name, entries[name]) for name in names})
        bounded([sum(entries[name].file_size for name in names)], 1, file)
        found = {}
        for name in names:
            with archive.open(entries[name]) as stream:
                found[name] = npy.read_array(stream, allow_pickle=False)
        return found


def npz_labels(spec: NpzData, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Arrays that may be labels, as integers or text (N,) where they are.

    Raises:
        DataError: the file is missing or not an npz archive; an array is too large.
    """
    found = {}
    with readable(spec.path, *_BROKEN, fix=_FIX), zipfile.ZipFile(spec.path) as archive:
        entries = _entries(archive, spec.path)
        for name in names:
            bounded([entries[name].file_size], 1, spec.path)
            with archive.open(entries[name]) as stream:
                found[name] = plain(flat(npy.read_array(stream, allow_pickle=False)))
    return found


def _entries(archive: zipfile.ZipFile, file: Path) -> dict[str, zipfile.ZipInfo]:
    """Array name -> its entry. Two entries of one name are refused as ambiguous."""
    entries = [(entry.filename.removesuffix(".npy"), entry) for entry in archive.infolist()]
    if (name := twice(name for name, _ in entries)) is not None:
        raise DataError(
            f"holds two arrays {name!r}", where=str(file), fix="write it anew with numpy.savez"
        )
    return {normal(name): entry for name, entry in entries}


def npz_headers(spec: NpzData) -> dict[str, Header]:
    """Array name -> its shape and dtype, of every array in the archive.

    Raises:
        DataError: the file is missing or not an npz archive; an array holds Python objects.
    """
    with readable(spec.path, *_BROKEN, fix=_FIX), zipfile.ZipFile(spec.path) as archive:
        entries = _entries(archive, spec.path)
        return {name: _header(archive, name, entry) for name, entry in entries.items()}


def _header(archive: zipfile.ZipFile, name: str, entry: zipfile.ZipInfo) -> Header:
    """The shape and dtype in an array's header, checked against the size of its data."""
    with archive.open(entry) as stream:
        version = npy.read_magic(stream)
        if version not in _HEADERS:
            raise ValueError(f"array {name!r} has an unknown header")
        shape, _, dtype = _HEADERS[version](stream)
        follows = entry.file_size - stream.tell()
    if dtype.hasobject:
        raise ValueError(f"array {name!r} holds Python objects; loading them would run code")
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or follows != size:
        raise ValueError(f"array {name!r} holds {follows} bytes, but its header says {size}")
    return shape, dtype
