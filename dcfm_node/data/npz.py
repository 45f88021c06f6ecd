"""NumPy archives."""

import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

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
    from_matrix = "c" in names and [name for name, array in columns.items() if array not in names]
    needed = {"x"} | ({"c"} if from_matrix else set(columns.values()))
    for array in sorted(needed - names):
        raise DataError(
            f"has no array {array!r}, only {', '.join(sorted(names)) or 'none at all'}",
            where=str(file),
            fix="name the array as the run names the attribute, or set column under "
            "[data.attributes]",
        )
    with readable(file, *broken, fix=_FIX), np.load(file, allow_pickle=False) as arrays:
        read = {name: arrays[array] for name, array in columns.items() if array in names}
        if from_matrix:
            c = arrays["c"]
            if c.ndim != 2 or c.shape[1] != len(order):
                raise DataError(
                    f"c has shape {c.shape}",
                    where=str(file),
                    fix=f"give it one column per attribute: (N, {len(order)})",
                )
            read |= {name: c[:, order.index(name)] for name in from_matrix}
        return Raw(arrays["x"], read, lambda row: f"{file}: row {row}", str(file))
