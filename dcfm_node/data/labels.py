"""From what files call a value to its index in the run's attribute space."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dcfm_node.data.raw import Labels
from dcfm_node.data.spec import AttributeSource
from dcfm_node.errors import DataError
from dcfm_node.records.manifest import Attribute


def encode(
    attribute: Attribute,
    source: AttributeSource,
    column: NDArray[Any],
    row: Callable[[int], str],
) -> Labels:
    """Indices c_i (N,) of a column (N,) of integers (indices) or strings (values).

    Where `source.values` is given, or every value of the attribute is an integer in text, integers
    are looked up as text: 1 means "1", wherever that stands among the values.

    Raises:
        DataError: a value outside the attribute's vocabulary, or of another type.
    """
    _check_mapping(attribute, source)
    kind = column.dtype.kind
    if kind in "iu" and not source.values and not _all_integers(attribute.values):
        outside = np.flatnonzero((column < 0) | (column >= len(attribute.values)))
        if outside.size:
            value = int(column[outside[0]])
            where = row(int(outside[0]))
            raise _unknown(attribute, value, where, int(outside.size), source.column)
        return column.astype(np.int64)
    if kind not in "iuU":
        raise DataError(
            f"attribute {attribute.name!r} is stored as {column.dtype}",
            where=row(0),
            fix="store integers (indices into its values) or strings (the values themselves)",
        )
    found, first, inverse, counts = np.unique(
        column.astype(np.str_), return_index=True, return_inverse=True, return_counts=True
    )
    index = np.empty(len(found), np.int64)
    for position, value in enumerate(found.tolist()):
        name = source.values.get(value, value)
        if name not in attribute.values:
            where = row(int(first[position]))
            raise _unknown(attribute, value, where, int(counts[position]), source.column)
        index[position] = attribute.values.index(name)
    encoded: Labels = index[inverse]
    return encoded


def constant(attribute: Attribute, value: str, samples: int) -> Labels:
    """The index of one value, `samples` times.

    Raises:
        DataError: the value is not in the vocabulary.
    """
    if value not in attribute.values:
        raise _unknown(attribute, value, f"data.attributes.{attribute.name}.constant", samples)
    return np.full(samples, attribute.values.index(value), np.int64)


def _check_mapping(attribute: Attribute, source: AttributeSource) -> None:
    for said, meant in source.values.items():
        if meant not in attribute.values:
            where = f"data.attributes.{attribute.name}.values.{said}"
            raise DataError(
                f"{meant!r} is not a value of {attribute.name!r} in the run",
                where=where,
                fix=f"choose one of {_some(attribute.values)}",
            )


def _all_integers(values: tuple[str, ...]) -> bool:
    return all(re.fullmatch("-?[0-9]+", value) for value in values)


def _unknown(
    attribute: Attribute, value: object, where: str, samples: int, column: str | None = None
) -> DataError:
    read = f", read from {column!r}" if column is not None else ""
    many = f" ({samples} samples)" if samples > 1 else ""
    indices = f", or an index from 0 to {len(attribute.values) - 1}" if type(value) is int else ""
    return DataError(
        f"{value!r} is not a value of attribute {attribute.name!r}{read}{many}",
        where=where,
        fix=f"the run knows {_some(attribute.values)}{indices}; map others under "
        f"[data.attributes.{attribute.name}.values]",
    )


def _some(values: tuple[str, ...], most: int = 12) -> str:
    return ", ".join(values[:most]) + (f", … ({len(values)})" if len(values) > most else "")
