"""What a silo's table of categories is, found from its path alone: for `dcfm-node init --data`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dcfm_node.data.names import normal, ordered
from dcfm_node.data.raw import readable
from dcfm_node.data.roles import MOSTLY
from dcfm_node.data.sheet import number, plain_label
from dcfm_node.data.spec import AttributeSource, TableData
from dcfm_node.data.survey import IDLE, Survey, attribute_names, divides, odd_labels
from dcfm_node.data.table import table_rows
from dcfm_node.errors import DataError

MOST_VALUES = 4_096
"""Most values of a column (`domains.settings.Category`)."""


@dataclass
class _Column:
    cells: list[str] = field(default_factory=list)
    numbers: int = 0
    first_blank: int = 0

    def see(self, cell: str, line: int) -> None:
        self.cells.append(normal(plain_label(cell)))
        self.numbers += number(cell) is not None
        self.first_blank = self.first_blank or (0 if cell else line)


def survey_categories(path: Path, chosen: Sequence[str]) -> Survey | None:
    """Read a silo's table of categories: a CSV table, or the only file in a folder, of which no
    column but the attributes holds numbers. None for other data.

    Args:
        chosen: columns that are attributes; with none there is no table of categories, because any
            column of words may be one.

    Raises:
        DataError: the file cannot be read, or a cell that is needed is empty.
    """
    if (file := _table(path)) is None or not chosen:
        return None
    seen: dict[str, _Column] = {}
    for line, row in table_rows(file, lambda cell: False):
        if "file" in row or "text" in row:
            return None
        for name, cell in row.items():
            seen.setdefault(name, _Column()).see(cell, line)
    labels = [normal(name) for name in chosen]
    if not seen or any(name not in seen for name in labels):
        return None  # the reader of tables of numbers says what there is
    rest = {name: column for name, column in seen.items() if name not in labels}
    samples = len(next(iter(seen.values())).cells)
    if any(column.numbers >= MOSTLY * samples for column in rest.values()):
        return None
    kept = {name: one for name, one in rest.items() if _recurs(one)}
    return _survey(file, {name: seen[name] for name in labels}, kept, [*rest]) if kept else None


def _table(path: Path) -> Path | None:
    path = path.resolve()
    if path.is_dir():
        with readable(path, fix="check the disk"):
            there = [file for file in path.iterdir() if not file.name.startswith(".")]
        path = there[0] if len(there) == 1 else path
    return path if path.is_file() and path.suffix.lower() == ".csv" else None


def _recurs(column: _Column) -> bool:
    return divides(set(column.cells), len(column.cells)) and len(set(column.cells)) <= MOST_VALUES


def _survey(
    file: Path, labels: dict[str, _Column], kept: dict[str, _Column], rest: Sequence[str]
) -> Survey:
    for name, column in (labels | kept).items():
        if column.first_blank:
            raise DataError(
                f"column {name!r} is empty",
                where=f"{file}:{column.first_blank}",
                fix="fill it in, such as with the word unknown, in the same way at every site; or"
                " remove the row or the column",
            )
    for name, column in labels.items():
        if not divides(set(column.cells), len(column.cells)):
            fix = "leave it out of --attributes"
            raise DataError(f"{name!r} cannot be an attribute: {IDLE}", where=str(file), fix=fix)
    names = attribute_names(tuple(labels), file)
    attributes = tuple((n, ordered(set(labels[c].cells))) for n, c in names.items())
    rows = zip(*(labels[column].cells for column in names.values()), strict=True)
    combinations = tuple(sorted(Counter(rows).items()))
    categories = tuple((name, ordered(set(column.cells))) for name, column in kept.items())
    told = ", ".join(f"{name} ({len(values)} values)" for name, values in categories)
    single = [name for name, values in categories if len(values) == 1]
    return Survey(
        spec=TableData(
            format="csv",
            path=file,
            attributes={n: AttributeSource(column=c) for n, c in names.items() if n != c},
        ),
        sample_shape=(len(kept),),
        assumed=f"a sample is a row of categories: {told}",
        chose="",
        samples=len(next(iter(kept.values())).cells),
        attributes=attributes,
        combinations=combinations,
        features=(),
        columns=(),
        warnings=(
            *odd_labels(attributes, combinations),
            *(
                f"{name!r} is the same in every row; a run needs its values at the other sites, or"
                " remove it under [domain] of run.toml"
                for name in single
            ),
        ),
        notes=tuple(f"{file}: {name!r} is not used: {IDLE}" for name in rest if name not in kept),
        categories=categories,
    )
