"""Converts the values in files to indices in the run's attribute space."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dcfm_node.data.names import integers, normal
from dcfm_node.data.spec import AttributeSource
from dcfm_node.errors import DataError
from dcfm_node.records.manifest import Attribute
from dcfm_node.samples import Labels

_MOST = 12
"""Largest number of values that a message lists."""


def encode(
    attribute: Attribute,
    source: AttributeSource,
    column: NDArray[Any],
    row: Callable[[int], str],
) -> Labels:
    """Indices c_i (N,) of a column (N,) of integers (indices) or strings (values).

    Whole floats and truth values are integers, where these are looked up as text; bytes are text.
    Integers are looked up as text if `source.values` is given or every value of the attribute is an
    integer written as text: 1 means the value "1", not an index. Text is looked up unchanged first,
    then in NFC without blanks around it.

    Raises:
        DataError: a value is outside the attribute's vocabulary, or has another type.
    """
    known = _Lookup({value: i for i, value in enumerate(attribute.values)})
    mapping = _Lookup(_mapped(attribute, source, known))
    if column.dtype.kind == "S" or source.values or integers(attribute.values):
        column = plain(column)
    kind = column.dtype.kind
    if _positions(attribute, source, column):
        outside = np.flatnonzero((column < 0) | (column >= len(attribute.values)))
        if outside.size:
            value, where = int(column[outside[0]]), row(int(outside[0]))
            ones = int(column.min()) >= 1 and int(column.max()) == len(attribute.values)
            raise _unknown(
                attribute, value, where, int(outside.size), column=source.column, ones=ones
            )
        return column.astype(np.int64)
    if kind not in "iuU":
        raise DataError(
            f"attribute {attribute.name!r} is stored as {column.dtype}",
            where=row(0),
            fix="store integers (indices into its values) or strings (the values themselves), by"
            " labels.astype(int) or labels.astype(str)",
        )
    found, first, inverse, counts = np.unique(
        column.astype(np.str_), return_index=True, return_inverse=True, return_counts=True
    )
    index = np.empty(len(found), np.int64)
    for position, value in enumerate(found.tolist()):
        meant = mapping.get(value, known.get(value))
        if meant is None:
            where = row(int(first[position]))
            raise _unknown(attribute, value, where, int(counts[position]), column=source.column)
        index[position] = meant
    encoded: Labels = index[inverse]
    return encoded


def flat(column: NDArray[Any]) -> NDArray[Any]:
    """Labels (N, 1), or one-hot labels (N, K), as (N,); any others as they are."""
    if column.ndim != 2 or column.dtype.kind not in "biufUS":
        return column
    if column.shape[1] == 1:
        return column[:, 0]
    numbers = column.dtype.kind in "biuf"
    hot = numbers and ((column == 0) | (column == 1)).all() and (column.sum(axis=1) == 1).all()
    return column.argmax(axis=1) if hot else column


def plain(column: NDArray[Any]) -> NDArray[Any]:
    """Labels (N,) as integers or text: truth values, whole floats and bytes are converted."""
    if column.dtype.kind == "b" or (column.dtype.kind == "f" and (column % 1 == 0).all()):
        return column.astype(np.int64)
    return np.char.decode(column, "utf-8") if column.dtype.kind == "S" else column


class _Lookup:
    """Name -> index, unchanged or else in normal form, if the normal form is unambiguous."""

    def __init__(self, indices: dict[str, int]) -> None:
        self._exact = indices
        normals = Counter(map(normal, indices))
        self._normal = {
            normal(name): index for name, index in indices.items() if normals[normal(name)] == 1
        }

    def get(self, name: str, default: int | None = None) -> int | None:
        return self._exact.get(name, self._normal.get(normal(name), default))


def from_one(attribute: Attribute, source: AttributeSource, column: NDArray[Any]) -> str:
    """A warning if labels are read as positions from 0 but none is 0; else empty.

    Such a silo may lack the attribute's first value, or its labels may count from 1.
    """
    if not _positions(attribute, source, column) or not column.size or column.min() == 0:
        return ""
    found = np.unique(column).tolist()
    read = ", ".join(f"{i} as {attribute.values[i]!r}" for i in found[:_MOST])
    counted = ", ".join(f"{i} for {attribute.values[i - 1]!r}" for i in found[:_MOST])
    return (
        f"no label of attribute {attribute.name!r} is 0, the position of {attribute.values[0]!r}."
        f" They are read from 0: {read}. If they count from 1 ({counted}), that is wrong. Say which"
        f" under [data.attributes.{attribute.name}.values], or store the values themselves"
    )


def _positions(attribute: Attribute, source: AttributeSource, column: NDArray[Any]) -> bool:
    named = source.values or integers(attribute.values)
    return column.dtype.kind in "iu" and not named


def constant(attribute: Attribute, value: str, samples: int) -> Labels:
    """The index of one value, repeated: (samples,).

    Raises:
        DataError: the value is not in the vocabulary.
    """
    index = _Lookup({value: i for i, value in enumerate(attribute.values)}).get(value)
    if index is None:
        raise _unknown(attribute, value, f"data.attributes.{attribute.name}.constant", samples)
    return np.full(samples, index, np.int64)


def binned(
    attribute: Attribute,
    edges: Sequence[float],
    column: NDArray[Any],
) -> Labels:
    """Indices (N,) of numbers (N,): how many edges are at or below each.

    Args:
        edges: rising; one less than the attribute has values.

    Raises:
        DataError: there are too many edges, or too few.
    """
    if len(edges) + 1 != (many := len(attribute.values)):
        raise DataError(
            f"has {len(edges)} edges for the {many} values of {attribute.name!r}",
            where=f"data.attributes.{attribute.name}.edges",
            fix=f"write {many - 1}, between {_some(attribute.values)}",
        )
    return np.asarray(np.digitize(column, edges), np.int64)


def _mapped(attribute: Attribute, source: AttributeSource, known: _Lookup) -> dict[str, int]:
    """Value in the files -> the index that the settings give it."""
    mapped = {}
    for said, meant in source.values.items():
        index = known.get(meant)
        if index is None:
            where = f"data.attributes.{attribute.name}.values.{said}"
            raise DataError(
                f"{meant!r} is not a value of {attribute.name!r} in the run",
                where=where,
                fix=f"choose one of {_some(attribute.values)}",
            )
        mapped[said] = index
    return mapped


def _unknown(
    attribute: Attribute,
    value: object,
    where: str,
    samples: int,
    *,
    column: str | None = None,
    ones: bool = False,
) -> DataError:
    read = f", read from {column!r}" if column is not None else ""
    many = f" ({samples} samples)" if samples > 1 else ""
    indices = f", or an index from 0 to {len(attribute.values) - 1}" if type(value) is int else ""
    return DataError(
        f"{value!r} is not a value of attribute {attribute.name!r}{read}{many}",
        where=where,
        fix=f"the run knows {_some(attribute.values)}{indices}; map others under "
        f"[data.attributes.{attribute.name}.values]"
        + ("; subtract 1, if the labels count from 1" if ones else ""),
    )


def _some(values: tuple[str, ...], most: int = _MOST) -> str:
    return ", ".join(values[:most]) + (f", … ({len(values)})" if len(values) > most else "")
