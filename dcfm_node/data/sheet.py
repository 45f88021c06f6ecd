"""CSV tables of samples, a row each: numbers, attributes, and columns that are neither."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from dcfm_node.data.layout import in_order
from dcfm_node.data.names import normal, unlike
from dcfm_node.data.raw import Raw, arranged, bounded, check_shapes
from dcfm_node.data.spec import TableData
from dcfm_node.data.table import Row, table_rows
from dcfm_node.errors import DataError

MISSING = ("", "-", "?", "na", "n/a", "nan", "none", "null")
"""Cells, in lower case, that people write where a number is missing."""
_WHOLE = re.compile(r"(-?\d+)\.0*")
_TRUE = ("1", "true")


def read_sheet(spec: TableData, columns: Mapping[str, str], shape: tuple[int, ...]) -> Raw:
    """Read every row: x float32 (N, *shape), and labels as text.

    Args:
        columns: attribute name -> its column, or its columns as in `shape_*`.
        shape: the run's sample_shape; its numbers fill it in the order of the columns' names.

    Raises:
        DataError: the file is not a table; a column is missing; a cell holds no number; a row has
            no value of an attribute, or two; the numbers do not fill the run's samples.
    """
    file = spec.path
    rows = sheet_rows(file)
    line, first = next(rows, (0, {}))
    if not first:
        check_shapes((0,), {}, (), str(file))
    sources, numbers = _parted(spec, columns, first)
    _check_names(spec, numbers)
    lines: list[int] = []
    x: list[np.ndarray[tuple[int], np.dtype[np.float32]]] = []
    labels: dict[str, list[str]] = {name: [] for name in columns}
    while first:
        lines.append(line)
        where = f"{file}:{line}"
        x.append(np.array([_number(first[name], name, where) for name in numbers], np.float32))
        for name, source in sources.items():
            labels[name].append(_label(first, name, source, where))
        line, first = next(rows, (0, {}))
    bounded((len(x), len(numbers)), 4, file)
    _check_many(file, numbers, shape)
    check_shapes((len(x), len(numbers)), {}, shape, str(file))
    named = {name: np.asarray(column, np.str_) for name, column in labels.items()}
    return Raw(
        arranged(np.stack(x), shape),
        named,
        lambda row: f"{file}:{lines[row]}",
        str(file),
        names=numbers,
    )


def sheet_features(
    spec: TableData, columns: Mapping[str, str], shape: tuple[int, ...]
) -> tuple[str, ...]:
    """Names of the numbers of a sample, in the order in which `read_sheet` reads them.

    The arguments are those of `read_sheet`. Of the samples, the first row alone is looked at.

    Raises:
        DataError: the file is not a table; a column is missing; the columns of numbers are not
            those that `spec` names, or do not fill the run's samples.
    """
    _, first = next(sheet_rows(spec.path), (0, {}))
    names = _parted(spec, columns, first)[1]
    _check_names(spec, names)
    _check_many(spec.path, names, shape)
    return names


def sheet_rows(file: Path) -> Iterator[tuple[int, Row]]:
    """(line, column -> cell) of every row.

    Raises:
        DataError: the file is not a table with names in its first line.
    """
    return table_rows(file, number_or_missing)


def number_or_missing(cell: str) -> bool:
    """Whether a cell holds a number, or a word for a missing one."""
    return cell.lower() in MISSING or number(cell) is not None


def number(cell: str) -> float | None:
    """The number in a cell; None if it holds none."""
    try:
        found = float(cell)
    except ValueError:
        return None
    return found if math.isfinite(found) and "_" not in cell else None


def plain_label(cell: str) -> str:
    """A label as all sites write it: 3 for 3.0, which spreadsheets make of it."""
    whole = _WHOLE.fullmatch(cell)
    return whole[1] if whole else cell


def _parted(
    spec: TableData, columns: Mapping[str, str], row: Row
) -> tuple[dict[str, Mapping[str, str]], tuple[str, ...]]:
    """Each attribute's columns, as `_source`, and the columns of numbers, in order."""
    sources = {name: _source(spec.path, row, normal(column)) for name, column in columns.items()}
    taken = {*map(normal, spec.ignore), *(c for source in sources.values() for c in source)}
    return sources, in_order(name for name in row if name not in taken)


def _check_names(spec: TableData, numbers: tuple[str, ...]) -> None:
    if spec.features and (wanted := tuple(map(normal, spec.features))) != numbers:
        here, there = unlike(numbers, wanted)
        raise DataError(
            f"has the columns of numbers {here}; the run has the features {there}",
            where=str(spec.path),
            fix="rename the columns as these features, and list columns that the run does not have"
            " under ignore in [data]; if run.toml is wrong, correct its features at every site",
        )


def _check_many(file: Path, numbers: Sequence[str], shape: tuple[int, ...]) -> None:
    if (many := math.prod(shape)) != len(numbers):
        raise DataError(
            f"has {len(numbers)} columns of numbers ({_some(numbers)}), the run's samples have"
            f" {many} numbers",
            where=str(file),
            fix="list other columns under ignore in [data], or change sample_shape in run.toml",
        )


def _source(file: Path, row: Row, column: str) -> Mapping[str, str]:
    """Columns of an attribute -> the value that each stands for; "" if cells hold the value."""
    if column in row:
        return {column: ""}
    before, star, after = column.partition("*")
    found = {
        name: name[len(before) : len(name) - len(after)]
        for name in row
        if star and name.startswith(before) and name.endswith(after) and len(name) >= len(column)
    }
    if not found:
        raise DataError(
            f"has no column {column!r}, only {_some(tuple(row)) or 'nothing'}",
            where=str(file),
            fix="name the column as the run names the attribute, or set column or constant under"
            " [data.attributes]",
        )
    return found


def _number(cell: str, name: str, where: str) -> float:
    found = number(cell)
    if found is None:
        raise DataError(
            f"has {cell!r} as {name!r}, which is not a number" if cell else f"has no {name!r}",
            where=where,
            fix="correct it or remove the row; or list the column under ignore in [data]",
        )
    return found


def _label(row: Row, name: str, source: Mapping[str, str], where: str) -> str:
    if len(source) == 1 and (column := next(iter(source))) and not source[column]:
        if row[column]:
            return plain_label(row[column])
        raise DataError(f"has no {column!r}", where=where, fix="fill it in, or remove the row")
    values = [value for column, value in source.items() if row[column].lower() in _TRUE]
    if len(values) != 1:
        raise DataError(
            f"has {len(values)} values of {name!r}",
            where=where,
            fix=f"write 1 in one of {', '.join(source)}, and 0 in the others",
        )
    return values[0]


def _some(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f", … ({len(names)})" if len(names) > most else "")
