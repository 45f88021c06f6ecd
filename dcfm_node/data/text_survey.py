"""What a silo's texts are, found from their path alone: for `dcfm-node init --data`."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dcfm_node.data.names import normal, ordered
from dcfm_node.data.raw import readable
from dcfm_node.data.spec import AttributeSource, TextData
from dcfm_node.data.survey import Survey, attribute_names, divides, idle, odd_labels, values_of
from dcfm_node.data.texts import read_texts
from dcfm_node.errors import DataError

LEAST, MOST = 8, 256
"""Fewest and most tokens of a sample. Longer texts are cut."""
COLUMN = "text"
HEAD = 1 << 16
"""Bytes of a table's first line that are looked at."""


def text_file(path: Path) -> Path | None:
    """A .txt file, a .csv table with a column `text`, or the only one in a folder of nothing else;
    None for other data.

    Raises:
        DataError: a folder holds several .txt files; a path cannot be read.
    """
    path = path.resolve()
    if path.is_dir():
        with readable(path, fix="check the disk"):
            there = sorted(file for file in path.iterdir() if not file.name.startswith("."))
        if not there or any(file.suffix.lower() != ".txt" for file in there):
            return text_file(there[0]) if len(there) == 1 and there[0].is_file() else None
        if len(there) > 1:
            raise DataError(
                f"holds {len(there)} text files, and a node reads one",
                where=str(path),
                fix="write one .csv table with the column 'text', and a column for each attribute;"
                " or name one of them",
            )
        return there[0]
    plain = path.suffix.lower() == ".txt"
    return path if path.is_file() and (plain or COLUMN in _columns(path)) else None


def _columns(file: Path) -> tuple[str, ...]:
    """Names of the columns of a table of texts; () for other files."""
    if file.suffix.lower() != ".csv":
        return ()
    with readable(file, fix="check the disk"), file.open("rb") as stream:
        head = stream.readline(HEAD).decode("utf-8-sig", errors="replace")
    names = tuple(map(normal, next(csv.reader(head.splitlines()[:1]), [])))
    return names if "file" not in names else ()


def survey_texts(file: Path, chosen: Sequence[str] = ()) -> Survey:
    """Read a silo's texts as bytes, and find the attributes and how many places a sample needs.

    Args:
        chosen: of a table, the columns that are attributes, or () for all others; of a plain file,
            `name=value` for each attribute, since all its texts have the same.

    Raises:
        DataError: the file cannot be read, or gives no attribute.
    """
    keys = tuple(name for name in _columns(file) if name not in (COLUMN, ""))
    constants = {} if _columns(file) else _constants(file, chosen)
    columns = {} if constants else attribute_names(_chosen(file, chosen, keys), file)
    lengths: list[int] = []

    def encode(text: str) -> list[int]:
        lengths.append(len(text.encode()))
        return list(text.encode())

    spec = TextData(format="text", path=file, cut=True)
    raw = read_texts(spec, columns, (MOST,), encode)
    values = {name: values_of(raw, name) for name in columns}
    left_out = [name for name in columns if not divides(values[name], len(lengths))]
    kept = {name: ordered(values[name]) for name in columns if name not in left_out}
    kept |= {name: (value,) for name, value in constants.items()}
    notes = tuple(idle(name, raw) for name in left_out)
    if not kept:
        raise DataError(
            "gives no attribute",
            where=str(file),
            fix="add a column with values that recur for each attribute beside the column 'text'",
            more=notes,
        )
    rows = [
        [constants[name]] * len(raw.x)
        if name in constants
        else [normal(str(value)) for value in raw.columns[name].tolist()]
        for name in kept
    ]
    combinations = tuple(sorted(Counter(zip(*rows, strict=True)).items()))
    sources = {name: AttributeSource(constant=value) for name, value in constants.items()}
    sources |= {n: AttributeSource(column=columns[n]) for n in kept if columns.get(n, n) != n}
    cut = max(lengths) > MOST
    places = max(LEAST, 1 << (min(max(lengths), MOST) - 1).bit_length())
    return Survey(
        spec=spec.model_copy(update={"attributes": sources, "cut": cut}),
        sample_shape=(places,),
        assumed=f"a sample is a text of at most {places} bytes of UTF-8"
        + (f", and longer ones are cut; the longest has {max(lengths)}" if cut else "")
        + ". For words in place of bytes set words under [domain] and tokens under [path]",
        chose="",
        samples=len(raw.x),
        attributes=tuple(kept.items()),
        combinations=combinations,
        features=(),
        columns=(),
        warnings=tuple(odd_labels(tuple(kept.items()), combinations)),
        notes=(*notes, *raw.notes),
    )


def _constants(file: Path, chosen: Sequence[str]) -> dict[str, str]:
    pairs = [tuple(map(normal, one.split("=", 1))) for one in chosen]
    if pairs and all(len(pair) == 2 and pair[1] for pair in pairs):
        given = dict(zip(attribute_names([p[0] for p in pairs], file), pairs, strict=True))
        return {name: pair[1] for name, pair in given.items()}
    raise DataError(
        "is a plain text file, which gives no labels",
        where=str(file),
        fix="say what all its texts are, such as --attributes language=en,style=letter; or give a"
        " .csv table with the column 'text' and a column for each attribute",
    )


def _chosen(file: Path, chosen: Sequence[str], keys: tuple[str, ...]) -> tuple[str, ...]:
    if unknown := [name for name in chosen if normal(name) not in keys]:
        fix = f"--attributes may name {', '.join(keys) or 'none'}"
        raise DataError(f"has no labels {unknown[0]!r}", where=str(file), fix=fix)
    return tuple(map(normal, chosen)) or keys
