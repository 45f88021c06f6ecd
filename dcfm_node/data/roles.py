"""What the columns of a CSV table are, by rule: attributes, numbers of a sample, or neither."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from dcfm_node.data.layout import in_order
from dcfm_node.data.raw import check_shapes
from dcfm_node.data.sheet import MISSING, number, plain_label, sheet_rows
from dcfm_node.errors import DataError

FEW = 20
"""Most values of a column of whole numbers that may be an attribute."""
AGAIN = 4
"""Each of them occurs so often in the mean."""
MOST = 1_000
"""Different values of a column that are counted."""
MOSTLY = 0.9
"""Share of numbers from which a column is of numbers, and any text in it a mistake."""
FAMILY = 4
"""So many numbered names, such as t0 to t3, are of numbers that belong together."""
_NUMBERED = re.compile(r"(.*?)\d+")
_PART = re.compile(r"(.+[_=.:-])(.+)")
_ID = re.compile(r"(?i)(.*[_ .-])?(id|uuid|index|row|nr|no)")
_TIME = re.compile(r"(?i)(.*[_ .-])?(time|timestamp|date|datetime)")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?")


class Roles(NamedTuple):
    """What the columns are.

    Attributes:
        numbers: of a sample, in order.
        attributes: name or pattern of each attribute's columns, in the order of the file.
        ignored: all other columns.
        notes: what was decided, and how to decide otherwise.
        assumed: which columns are the attributes by rule; empty if the operator named them.
    """

    numbers: tuple[str, ...]
    attributes: tuple[str, ...]
    ignored: tuple[str, ...]
    notes: tuple[str, ...]
    assumed: str = ""


@dataclass
class _Column:
    """What was seen of one column."""

    values: set[str] = field(default_factory=set)
    numbers: int = 0
    blank: int = 0
    times: int = 0
    whole: bool = True
    rising: bool = True
    last: float = -float("inf")
    first_blank: int = 0
    first_text: tuple[int, str] = (0, "")

    def see(self, cell: str, line: int) -> None:
        if len(self.values) <= MOST:
            self.values.add(plain_label(cell))
        if (found := number(cell)) is not None:
            self.numbers += 1
            self.whole = self.whole and found.is_integer()
            self.rising = self.rising and found >= self.last
            self.last = found
        elif cell.lower() in MISSING:
            self.blank += 1
            self.first_blank = self.first_blank or line
        else:
            self.times += _is_time(cell)
            self.first_text = self.first_text if self.first_text[0] else (line, cell)


def roles(file: Path, attributes: Sequence[str] = ()) -> Roles:
    """What the columns of a table are.

    Args:
        attributes: columns that are attributes, as the operator says; () leaves it to the rules.

    Raises:
        DataError: the file is not a table; a number is missing or not one; no column is left for
            the numbers of a sample.
    """
    seen: dict[str, _Column] = {}
    groups: dict[str, list[str]] = {}
    many = 0
    for line, row in sheet_rows(file):
        if not many:
            _check_names(file, tuple(row))
            seen = {name: _Column() for name in row}
            groups = _groups(row)
        many += 1
        for name, cell in row.items():
            seen[name].see(cell, line)
        for before in [b for b, names in groups.items() if not _one_of(row, names)]:
            del groups[before]
    check_shapes((many,), {}, (), str(file))
    return _decided(file, seen, {f"{b}*": names for b, names in groups.items()}, many, attributes)


def _decided(
    file: Path,
    seen: dict[str, _Column],
    groups: dict[str, list[str]],
    many: int,
    chosen: Sequence[str],
) -> Roles:
    grouped = {name: pattern for pattern, names in groups.items() for name in names}
    notes: list[str] = []
    ignored: list[str] = []
    sure: list[str] = []
    maybe: list[str] = []
    numbers: list[str] = []
    families = _families(seen)
    for name, column in seen.items():
        if name in chosen or grouped.get(name) in chosen:
            continue
        if name in grouped:
            sure.append(grouped[name])
        elif why := _idle(name, column, many):
            ignored.append(name)
            notes.append(f"{file}: {name!r} is not used: {why}")
        elif not column.numbers or column.numbers < MOSTLY * (many - column.blank):
            sure.append(name)
        elif _is_label(column, many) and name not in families:
            maybe.append(name)
        else:
            numbers.append(name)
    found = list(dict.fromkeys(sure))
    if chosen:
        for name in [one for one in chosen if one not in seen and one not in groups]:
            there = ", ".join(list(seen)[:FEW])
            raise DataError(
                f"has no column {name!r}, only {there}", where=str(file), fix="name one"
            )
        others = set(found)
        ignored += [name for name in seen if name in others or grouped.get(name) in others]
        found, numbers = list(chosen), [*numbers, *maybe]
    elif len(found) < 2:
        found += maybe
    else:
        numbers += maybe
        notes += [
            f"{file}: {name!r} has few values and is read as a number of the samples; if it is an"
            f" attribute, say so: --attributes {','.join([*found, name])}"
            for name in maybe
        ]
    _check_numbers(file, {name: seen[name] for name in numbers})
    if not numbers:
        raise DataError(
            "has no column for the numbers of a sample: all have few values, or are not numbers",
            where=str(file),
            fix="say which columns are attributes, as in --attributes A,B; all others are then"
            " numbers, or categories if none holds numbers. For texts, name their column 'text'",
        )
    position = {name: i for i, name in enumerate(dict.fromkeys(grouped.get(n, n) for n in seen))}
    ranked = tuple(chosen) or tuple(sorted(found, key=position.__getitem__))
    assumed = "" if chosen else _assumed(ranked, {*maybe})
    return Roles(in_order(numbers), ranked, tuple(ignored), tuple(notes), assumed)


def _assumed(attributes: Sequence[str], whole: Collection[str]) -> str:
    """What was taken for attributes, and how to decide otherwise; empty without attributes.

    Args:
        whole: those of the columns that hold few whole numbers.
    """
    if not attributes:
        return ""
    told = (f"{name} (few whole numbers)" if name in whole else name for name in attributes)
    return (
        f"the attributes are {', '.join(told)}: their values recur. If one of these columns is no"
        " factor that samples shall be drawn by, name the others: --attributes A,B"
    )


def _idle(name: str, column: _Column, many: int) -> str:
    """Why a column is neither an attribute nor a number of the samples; empty if it may be."""
    different = len(column.values)
    if column.blank == many:
        return "it is empty"
    if column.times and column.times >= MOSTLY * (many - column.blank):
        return "it is a time of each sample"
    if column.numbers and _TIME.fullmatch(name) and column.rising:
        return "it is a time of each sample"
    if not column.numbers:
        often = different <= min(MOST, max(2, many // 2))
        return "" if often else "it has another value for nearly every sample"
    if column.whole and different > max(2, many // 2) and (_ID.fullmatch(name) or not name.strip()):
        return "it has another number for nearly every sample"
    steps = column.whole and column.rising and different == many > FEW
    return "it counts the samples" if steps and _counts(column) else ""


def _counts(column: _Column) -> bool:
    return column.last - min(map(float, column.values)) == len(column.values) - 1


def _is_label(column: _Column, many: int) -> bool:
    return column.whole and len(column.values) <= min(FEW, max(1, many // AGAIN))


def _check_names(file: Path, names: Sequence[str]) -> None:
    unnamed = [name for name in names if number(name) is not None and not name.isdecimal()]
    if len(unnamed) > len(names) // 2:
        raise DataError(
            f"has numbers in its first line ({unnamed[0]}, …) where names of columns belong",
            where=f"{file}:1",
            fix="put a line with a name for each column before it",
        )


def _check_numbers(file: Path, numbers: dict[str, _Column]) -> None:
    """Check that every cell of these columns holds a number."""
    for name, column in numbers.items():
        line, cell = column.first_text
        if line:
            raise DataError(
                f"has {cell!r} in the column {name!r} of numbers",
                where=f"{file}:{line}",
                fix="correct it, or remove the row or the column",
            )
    lacking = {name: column for name, column in numbers.items() if column.blank}
    if lacking:
        told = ", ".join(f"{name!r} ({column.blank})" for name, column in lacking.items())
        raise DataError(
            f"has cells without a number: {told}",
            where=f"{file}:{min(column.first_blank for column in lacking.values())}",
            fix="fill them in, in the same way at every site, or remove these rows or columns",
        )


def _families(seen: dict[str, _Column]) -> set[str]:
    """Columns with numbered names of one kind."""
    kinds: dict[str, list[str]] = {}
    for name in seen:
        if found := _NUMBERED.fullmatch(name):
            kinds.setdefault(found[1], []).append(name)
    return {name for names in kinds.values() if len(names) >= FAMILY for name in names}


def _groups(row: dict[str, str]) -> dict[str, list[str]]:
    """Columns by what is before the last part of their name, as pandas.get_dummies names them."""
    found: dict[str, list[str]] = {}
    for name in row:
        if part := _PART.fullmatch(name):
            found.setdefault(part[1], []).append(name)
    return {before: names for before, names in found.items() if len(names) > 1}


def _one_of(row: dict[str, str], names: Sequence[str]) -> bool:
    """Whether one of these cells is 1, and all others 0."""
    cells = sorted(plain_label(row[name]).lower() for name in names)
    return cells[:-1] in (["0"] * (len(cells) - 1), ["false"] * (len(cells) - 1)) and cells[-1] in (
        "1",
        "true",
    )


def _is_time(cell: str) -> bool:
    if _CLOCK.fullmatch(cell):
        return True
    try:
        datetime.fromisoformat(cell)
    except ValueError:
        return False
    return True
