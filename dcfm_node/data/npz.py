"""NumPy archives."""

import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dcfm_node.data.raw import Raw, bounded, readable
from dcfm_node.data.spec import NpzData
from dcfm_node.errors import DataError

_FIX = "write it with numpy.savez; save strings as numpy.asarray(values, dtype=str)"


def read_npz(spec: NpzData, columns: Mapping[str, str], order: tuple[str, ...]) -> Raw:
    """Read `x` and the attributes' arrays, pickled objects refused.

    Args:
        columns: attribute name -> array name, for attributes that are not constant.
        order: all the run's attributes; column i of an array `c` is the i-th.

    Raises:
        DataError: no such file, not an npz archive, an array missing or too large.
    """
    file = spec.path
    broken = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError)
    with readable(file, *broken, fix=_FIX), zipfile.ZipFile(file) as archive:
        bounded([sum(entry.file_size for entry in archive.infolist())], 1, file)
        names = {entry.filename.removesuffix(".npy") for entry in archive.infolist()}
    # Column i of `c` serves where nothing else was asked for.
    in_c = [name for name, source in columns.items() if name == source and name not in names]
    in_c = in_c if "c" in names else []
    for missing in sorted({"x", *(s for name, s in columns.items() if name not in in_c)} - names):
        raise DataError(
            f"has no array {missing!r}, only {', '.join(sorted(names)) or 'none at all'}",
            where=str(file),
            fix="name the array as the run names the attribute, or set column under "
            "[data.attributes]",
        )
    with readable(file, *broken, fix=_FIX), np.load(file, allow_pickle=False) as arrays:

        def array(name: str) -> NDArray[Any]:
            values = arrays[name]
            # NumPy hands out what has no header of its own as bytes.
            if not isinstance(values, np.ndarray):
                raise ValueError(f"{name!r} is no array")
            return values

        read = {name: array(source) for name, source in columns.items() if name not in in_c}
        if in_c:
            c = array("c")
            if c.ndim != 2 or c.shape[1] != len(order):
                raise DataError(
                    f"c has shape {c.shape}",
                    where=str(file),
                    fix=f"give it one column per attribute: (N, {len(order)})",
                )
            read |= {name: c[:, order.index(name)] for name in in_c}
        return Raw(array("x"), read, lambda row: f"{file}: row {row}", str(file))
