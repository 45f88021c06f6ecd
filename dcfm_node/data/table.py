"""Reads a CSV file and detects an open quote that would swallow rows."""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from dcfm_node.data.names import normal, twice
from dcfm_node.data.raw import bounded, readable
from dcfm_node.errors import DataError

MAX_UNPACKED_BYTES, COPIES = 256 * 2**20, 6
"""Most text of a gzip file; bytes of memory for each byte of text, which is cut into lines."""
SHOWN = 40
"""Most columns that a message names."""
_FIX = "save it as CSV in UTF-8, with commas between the columns"
_QUOTE = 'close the quote where the cell ends; a quote within a cell is written ""'
_OTHERS = {";": "semicolons", "\t": "tabs", "|": "bars"}

Row = dict[str, str]


def read_table(index: Path, key: str, is_key: Callable[[str], bool]) -> Iterator[tuple[int, Row]]:
    """Every row that is not blank as (line number, column -> cell without outer blanks). Rows are
    not kept: a dict takes many times the memory of its cells.

    Args:
        key: the column that every row must fill.
        is_key: whether a cell looks like a key; this detects rows inside an open quote.

    Raises:
        DataError: the file is not CSV in UTF-8; the column `key` is missing; two columns have one
            name; a row lacks its key or has too few or many cells; a quoted cell swallows rows.
    """
    for line, row in table_rows(index, is_key, key):
        if not row[key]:
            where = f"{index}:{line}"
            raise DataError(f"names no {key}", where=where, fix=f"fill in the column {key!r}")
        yield line, row


def table_rows(
    index: Path, is_key: Callable[[str], bool], key: str | None = None
) -> Iterator[tuple[int, Row]]:
    """Every row that is not blank, as `read_table` gives it, without columns that have no name."""
    lines = list(io.StringIO(file_text(index), newline=""))
    records = (found for found in _records(index, lines) if any(map(str.strip, found[2])))
    first, last, head = next(records, (1, 1, []))
    if last > first:
        raise _running_on(index, first, last)
    columns = [normal(name) for name in head]
    _check_columns(index, columns, key)
    for first, last, cells in records:
        row = dict(zip(columns, map(str.strip, cells), strict=False))
        _check_row(row, columns, cells, f"{index}:{first}")
        spanned = lines[first - 1 : last] if last > first else []
        swallowed = [_is_row(line, len(columns), is_key) for line in spanned]
        if any(swallowed[1:-1]) or sum(swallowed) > 1:
            raise _running_on(index, first, last)
        row.pop("", None)
        yield first, row


def _running_on(index: Path, first: int, last: int) -> DataError:
    return DataError(
        f"a quoted cell extends to line {last}, over lines that look like rows",
        where=f"{index}:{first}",
        fix=_QUOTE,
    )


def file_text(index: Path) -> str:
    """The text of a file in UTF-8.

    Raises:
        DataError: it cannot be read, or is something else; with the line.
    """
    with readable(index, zlib.error, EOFError, fix=_FIX):
        bounded([index.stat().st_size], COPIES, index)
        data = _unpacked(index) if index.suffix == ".gz" else index.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError("is text in UTF-16", where=str(index), fix=_FIX)
    bad, what = data.find(b"\0"), "holds a NUL byte, so it is not text"
    if bad < 0:
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            # The codec may count positions after the byte order mark.
            bad, what = len(data) - len(error.object) + error.start, "is not text in UTF-8"
    line = len(io.StringIO(data[:bad].decode("latin-1") + ".", newline=None).readlines())
    raise DataError(what, where=f"{index}:{line}", fix=_FIX)


def _unpacked(index: Path) -> bytes:
    """The text in a gzip file, which may announce any size and holds more than it takes."""
    with gzip.open(index) as stream:
        data = stream.read(MAX_UNPACKED_BYTES + 1)
    if len(data) > MAX_UNPACKED_BYTES:
        raise OSError(f"it holds more than {MAX_UNPACKED_BYTES} bytes of text")
    return data


def _records(index: Path, lines: list[str]) -> Iterator[tuple[int, int, list[str]]]:
    """(first line, last line, cells)."""
    reader, first = csv.reader(lines, strict=True), 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            quote = "a quote opens a cell here and is never closed"
            endless = any(what in str(error) for what in ("end of data", "field larger"))
            raise DataError(
                quote if endless else f"is not a row of CSV: {error}",
                where=f"{index}:{first}",
                fix=_QUOTE,
            ) from error
        if cells is None:
            return
        yield first, reader.line_num, cells
        first = reader.line_num + 1


def _check_columns(index: Path, columns: list[str], key: str | None) -> None:
    if key is None:
        for other, word in _OTHERS.items() if len(columns) == 1 else ():
            if other in columns[0]:
                what = f"has one column: {word} separate its cells"
                raise DataError(what, where=str(index), fix=_FIX)
    elif key not in columns:
        named = list(filter(None, columns))
        more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
        there = ", ".join(repr(name[:64]) for name in named[:SHOWN]) + more or "nothing"
        others = [
            word
            for other, word in _OTHERS.items()
            if key in map(normal, ",".join(columns).split(other))
        ]
        raise DataError(
            f"has no column {key!r}, only {there}"
            + (f": {others[0]} separate its columns" if others else ""),
            where=str(index),
            fix=_FIX
            if others
            else f"name the columns in its first line: {key}, and one per attribute",
        )
    if (name := twice(filter(None, columns))) is not None:
        raise DataError(
            f"has two columns {name!r}",
            where=f"{index}:1",
            fix="remove or rename one of them",
        )


def _check_row(row: Row, columns: list[str], cells: list[str], where: str) -> None:
    over = cells[len(columns) :]
    if len(cells) < len(columns) or any(map(str.strip, over)):
        absent = f"; it has no cell for {columns[len(cells)]!r}" if not over else ""
        raise DataError(
            f"has {len(cells)} cells for {len(columns)} columns{absent}",
            where=where,
            fix="give every row one cell per column; quote a cell that contains a comma",
        )


def _is_row(line: str, columns: int, is_key: Callable[[str], bool]) -> bool:
    """Whether one line of a row of several lines could be a row by itself."""
    cells = [cell.strip(' "\r\n') for cell in line.split(",")]
    return len(cells) >= columns and any(cell and is_key(cell) for cell in cells)
