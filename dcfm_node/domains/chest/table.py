"""The table of a folder of radiographs, as the NIH publishes it: findings, patient and view."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from dcfm_node.data.known import TABLES
from dcfm_node.data.table import Row, read_table
from dcfm_node.errors import DataError
from dcfm_node.records.manifest import Attribute
from dcfm_node.samples import Combination

FINDINGS = (
    *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis"),
    *("Hernia", "Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia"),
    "Pneumothorax",
)
"""The 14 findings of NIH ChestX-ray14 (Wang et al., 2017), in the order of a sample's labels."""
ATTRIBUTES = tuple(Attribute(name=name.lower(), values=("0", "1")) for name in FINDINGS)
NONE = "No Finding"
IMAGE, LABELS, PATIENT, VIEW = "Image Index", "Finding Labels", "Patient ID", "View Position"
_PLACES = {name: place for place, name in enumerate(FINDINGS)}


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a table: an image, the findings in it (0 or 1 each), patient and view."""

    image: str
    findings: Combination
    patient: int
    view: str
    where: str
    """The file and line, for messages."""


def find_table(folder: Path) -> Path:
    """The table in a folder.

    Raises:
        DataError: the folder does not exist, or has no table or several.
    """
    if not folder.is_dir():
        raise DataError(
            "the folder does not exist", where=str(folder), fix="give the folder with the images"
        )
    found = sorted(path for pattern in TABLES for path in folder.glob(pattern))
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.name for path in found)
    raise DataError(
        f"has {len(found)} tables: {names}" if found else f"has no table {TABLES[0]}",
        where=str(folder),
        fix=f"put one table there, with the columns {IMAGE!r}, {LABELS!r} and {PATIENT!r}",
    )


@lru_cache(2)
def read_entries(file: Path) -> dict[str, Entry]:
    """All rows of a table, by the name of the image.

    Raises:
        DataError: it is not a table with these columns; a cell cannot be used; an image has two
            rows. Names file, line and column.
    """
    found: dict[str, Entry] = {}
    for line, row in read_table(file, IMAGE, lambda cell: "." in cell):
        where = f"{file}:{line}"
        for column in (LABELS, PATIENT):
            if column not in row:
                raise DataError(
                    f"has no column {column!r}", where=f"{file}:1", fix=f"add {column!r}"
                )
        entry = Entry(
            image=row[IMAGE],
            findings=_findings(row, where),
            patient=_patient(row, where),
            view=row.get(VIEW, ""),
            where=where,
        )
        if (before := found.setdefault(entry.image, entry)) is not entry:
            raise DataError(
                f"column {IMAGE!r}: {entry.image!r} is there twice, first at {before.where}",
                where=where,
                fix="remove one of the rows",
            )
    return found


def feasible(combinations: Iterable[Combination], frequency: float) -> tuple[Combination, ...]:
    """The combinations whose share of all is at least the frequency (section 6.3 of DCFM), in
    order."""
    counts = Counter(combinations)
    least = frequency * counts.total()
    return tuple(sorted(c for c, times in counts.items() if times >= least))


def named(combination: Combination) -> str:
    """The findings of a combination, as tables have them."""
    return (
        "|".join(name for name, there in zip(FINDINGS, combination, strict=True) if there) or NONE
    )


def _findings(row: Row, where: str) -> Combination:
    names = [name.strip() for name in row[LABELS].split("|")]
    if names == [NONE]:
        return (0,) * len(FINDINGS)
    for name in names:
        if name not in _PLACES:
            alone = f"{NONE!r} stands beside findings" if name == NONE else f"{name!r} is unknown"
            raise DataError(
                f"column {LABELS!r}: {alone}",
                where=where,
                fix=f"write {NONE}, or some of {', '.join(FINDINGS)}, with | between them",
            )
    present = {_PLACES[name] for name in names}
    return tuple(int(place in present) for place in range(len(FINDINGS)))


def _patient(row: Row, where: str) -> int:
    text = row[PATIENT]
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text)
    raise DataError(
        f"column {PATIENT!r}: {text[:40]!r} is not a number",
        where=where,
        fix="number the patients, each patient alike in all rows",
    )
