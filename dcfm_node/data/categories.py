"""Reads a CSV table of categories as tokens."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dcfm_node.data.names import normal
from dcfm_node.data.raw import Raw, bounded, check_shapes
from dcfm_node.data.sheet import plain_label
from dcfm_node.data.spec import TableData
from dcfm_node.data.table import table_rows
from dcfm_node.errors import DataError

MOST_TOLD = 8
"""Values that an error lists."""


def read_categories(
    spec: TableData,
    columns: Mapping[str, str],
    shape: tuple[int, ...],
    values: Mapping[str, Sequence[str]],
) -> Raw:
    """Read every row: x float32 (N, *shape), the place of each cell among its column's values, and
    labels as text. Other columns of the table are not read.

    Args:
        columns: attribute name -> its column, for attributes that are not constant.
        values: by column, what its cells may hold.

    Raises:
        DataError: the file is not a table, lacks a column, or a cell holds no value of the run.
    """
    file = str(spec.path)
    known = {
        normal(name): {normal(value): token for token, value in enumerate(of)}
        for name, of in values.items()
    }
    rows: list[NDArray[np.uint16]] = []  # a list of numbers takes four times the memory
    lines: list[int] = []
    labels: dict[str, list[str]] = {name: [] for name in columns}
    for line, row in table_rows(spec.path, lambda cell: False):
        where = f"{file}:{line}"
        lines.append(line)
        tokens = [_token(row, name, of, where) for name, of in known.items()]
        rows.append(np.asarray(tokens, np.uint16))
        for name, column in columns.items():
            labels[name].append(plain_label(_cell(row, normal(column), where)))
    check_shapes((len(rows), len(known)), {}, shape, file)
    bounded((len(rows), len(known)), 4, spec.path)
    named = {name: np.asarray(column, np.str_) for name, column in labels.items()}
    x = np.array(rows, np.float32).reshape(-1, *shape)
    return Raw(x, named, lambda row: f"{file}:{lines[row]}", file)


def _token(row: Mapping[str, str], name: str, values: Mapping[str, int], where: str) -> int:
    found = normal(_cell(row, name, where))
    token = values.get(found, values.get(plain_label(found)))
    if token is None:
        known = ", ".join(list(values)[:MOST_TOLD]) + ", …" * (len(values) > MOST_TOLD)
        raise DataError(
            f"column {name!r} holds {found[:64]!r}, which is not a value of the run",
            where=where,
            fix=f"write one of {known}; or add it to domain.column of run.toml at every site",
        )
    return token


def _cell(row: Mapping[str, str], name: str, where: str) -> str:
    if not (found := row.get(name, "")):
        what = f"column {name!r} is empty" if name in row else f"the table has no column {name!r}"
        raise DataError(what, where=where, fix="fill it in, or name the columns as run.toml does")
    return found
