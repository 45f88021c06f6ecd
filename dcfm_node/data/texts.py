"""Reads texts as tokens: a CSV table, or a plain text file with a text in every line."""

import io
import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from dcfm_node.data.names import normal
from dcfm_node.data.raw import Raw, bounded, check_shapes
from dcfm_node.data.spec import TextData
from dcfm_node.data.table import file_text, read_table
from dcfm_node.errors import DataError

Encode = Callable[[str], list[int]]
"""A text to tokens above 0. Raises ValueError with what is wrong."""


def read_texts(
    spec: TextData, columns: Mapping[str, str], shape: tuple[int, ...], encode: Encode
) -> Raw:
    """Read every text: x float32 (N, *shape), token 0 after the end, and labels as text.

    Args:
        columns: attribute name -> its column, for attributes that are not constant.

    Raises:
        DataError: the file is not text in UTF-8; a column is missing; a text has a word that the
            run does not know, or is longer than a sample and may not be cut.
    """
    places, file = math.prod(shape), str(spec.path)
    rows: list[NDArray[np.uint16]] = []  # a list of numbers takes four times the memory
    lines: list[int] = []
    labels: dict[str, list[str]] = {name: [] for name in columns}
    for line, text, own in _texts(spec, columns):
        where = f"{file}:{line}"
        try:
            tokens = encode(text)
        except ValueError as error:
            fix = "change the text, or the run's [domain]"
            raise DataError(str(error), where=where, fix=fix) from None
        if len(tokens) > places and not spec.cut:
            raise DataError(
                f"the text has {len(tokens)} tokens, and a sample has {places}",
                where=where,
                fix="shorten it, set data.cut = true, or give the run a larger sample_shape",
            )
        for start in range(0, len(tokens), places):
            rows.append(np.asarray(tokens[start : start + places], np.uint16))
            lines.append(line)
            for name, label in own.items():
                labels[name].append(label)
    check_shapes((len(rows), places), {}, shape, file)
    bounded((len(rows), places), 4, spec.path)
    x = np.zeros((len(rows), places), np.float32)
    for row, part in zip(x, rows, strict=True):
        row[: len(part)] = part
    named = {name: np.asarray(column, np.str_) for name, column in labels.items()}
    return Raw(x.reshape(-1, *shape), named, lambda row: f"{file}:{lines[row]}", file)


def _texts(spec: TextData, columns: Mapping[str, str]) -> Iterator[tuple[int, str, dict[str, str]]]:
    """(line, text, labels) of every text that is not empty."""
    if spec.path.suffix.lower() == ".csv":
        # A text may have lines that look like rows.
        for line, row in read_table(spec.path, normal(spec.column), lambda cell: False):
            yield line, row[normal(spec.column)], _labels(spec, columns, row, line)
        return
    if columns:
        name = min(columns)
        raise DataError(
            f"a plain text file gives no values of attribute {name!r}",
            where=str(spec.path),
            fix=f"set data.attributes.{name}.constant, or give a .csv table with that column",
        )
    for line, text in enumerate(io.StringIO(file_text(spec.path)), start=1):
        if text.strip():
            yield line, text.strip("\r\n"), {}


def _labels(
    spec: TextData, columns: Mapping[str, str], row: Mapping[str, str], line: int
) -> dict[str, str]:
    found = {name: row.get(normal(column)) for name, column in columns.items()}
    for name, label in found.items():
        if not label:
            raise DataError(
                f"names no value of attribute {name!r}",
                where=f"{spec.path}:{line}",
                fix=f"fill in the column {columns[name]!r}, or name another one under"
                f" [data.attributes.{name}]",
            )
    return {name: label for name, label in found.items() if label}
