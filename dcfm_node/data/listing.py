"""A silo's image files and their labels, from folder names or from a CSV file."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from dcfm_node.data.names import normal, twice
from dcfm_node.data.raw import readable
from dcfm_node.data.spec import FolderData
from dcfm_node.data.table import read_table
from dcfm_node.errors import DataError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_NOT_DATA = {
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "@eadir",
    "@recycle",
    "@tmp",
    "__macosx",
    "desktop.ini",
    "lost+found",
    "system volume information",
    "thumbs.db",
}
"""Names that file servers and desktops leave in folders, besides those that begin with a dot."""


@dataclass(frozen=True, slots=True)
class Item:
    """An image file and its labels."""

    image: Path
    labels: Mapping[str, str]
    """Normal name of the folder key or column -> value."""
    where: str
    """Where the labels are, for messages to the operator."""


class _Seen(dict[tuple[int, int], str]):
    """Where each file and folder was first found, so that none is read under two names."""

    def earlier(self, status: os.stat_result, here: str) -> str | None:
        """Where the same file was found before; None if nowhere, or if the disk gives no inode."""
        first = self.setdefault((status.st_dev, status.st_ino), here)
        return first if first != here and status.st_ino else None


def found(root: Path, names: str | None = None) -> tuple[list[Item], tuple[str, ...]]:
    """Find images below folders with names such as `key=value` or `key=value,key=value`.

    Links are followed. Hidden files and folders are skipped.

    Args:
        names: how paths below `root` give labels, such as `{shape}_{colour}_*`; None if only
            folders with such names do.

    Returns:
        the images in the order of their paths; lines for the operator about skipped files.

    Raises:
        DataError: a folder or file occurs twice, by links; a path names a key twice; the target
            of a link does not exist; a file in a labelled folder is not an image; a path does not
            fit `names`.
    """
    named = _by_name(root, names) if names is not None else None
    items: list[Item] = []
    hidden: list[str] = []
    seen = _Seen()
    pending: list[tuple[Path, dict[str, str]]] = [(root, {})]
    seen.earlier(root.stat(), str(root))
    while pending:
        folder, labels = pending.pop()
        with readable(folder, fix="check the disk"):
            paths = sorted(folder.iterdir())
        for path in paths:
            if path.name.startswith(".") or path.name.lower() in _NOT_DATA:
                hidden.append(path.name)
                continue
            status = _status(path)
            folder_or_image = S_ISDIR(status.st_mode) or path.suffix.lower() in SUFFIXES
            if folder_or_image and (first := seen.earlier(status, str(path))):
                raise DataError(
                    f"is the same as {first}",
                    where=str(path),
                    fix="remove one of the two: each image may have one name only",
                )
            if S_ISDIR(status.st_mode):
                pending.append((path, labels | _labels(path, labels)))
            elif folder_or_image:
                items.append(Item(path, labels | (named(path) if named else {}), str(path)))
            elif folder != root:
                raise DataError(
                    "is not an image that can be read",
                    where=str(path),
                    fix=f"if {root} is not the folder of the pictures, name that folder; else move"
                    f" this file out of it, or convert it to one of {', '.join(SUFFIXES)}",
                )
    return sorted(items, key=lambda item: item.image), _passed_over(root, hidden)


def _by_name(root: Path, names: str) -> Callable[[Path], dict[str, str]]:
    """Labels of an image by its path."""
    parts = re.split(r"\{([^{}]+)\}|(\*)", names)
    keys = [normal(key) for key in parts[1::3] if key]
    fix = "write it as in {shape}_{colour}_*: each name once, in braces, and * for anything"
    if not keys or twice(keys) is not None:
        raise DataError(f"names = {names!r} gives no labels", where=str(root), fix=fix)
    texts = [re.escape(text) for text in parts[::3]]
    gaps = ["([^/]+?)" if key else ".*" for key in parts[1::3]]
    pattern = re.compile("".join(a + b for a, b in zip(texts, [*gaps, ""], strict=True)))

    def labels(image: Path) -> dict[str, str]:
        path = image.relative_to(root).with_suffix("").as_posix()
        if (found := pattern.fullmatch(path)) is None:
            raise DataError(f"does not fit names = {names!r}", where=str(image), fix=fix)
        return dict(zip(keys, map(normal, found.groups()), strict=True))

    return labels


def _status(path: Path) -> os.stat_result:
    with readable(path, fix="check the disk"):
        try:
            status = path.stat()
        except FileNotFoundError:
            raise DataError(
                "is a link whose target does not exist",
                where=str(path),
                fix="remove the link, or restore its target",
            ) from None
        except OSError as error:
            # The links form a cycle.
            raise OSError(error.strerror) from error
    if not (S_ISREG(status.st_mode) or S_ISDIR(status.st_mode)):
        fix = "if this is not in the folder of the pictures, name that folder; else move it away"
        raise DataError("is neither a file nor a folder", where=str(path), fix=fix)
    return status


def _labels(folder: Path, above: Mapping[str, str]) -> dict[str, str]:
    parts = (part.partition("=") for part in folder.name.split(","))
    labels = [(normal(key), value.strip()) for key, equals, value in parts if equals]
    if (key := twice([*above, *(key for key, _ in labels)])) is not None:
        raise DataError(
            f"names {key!r} twice on its path",
            where=str(folder),
            fix=f"name {key!r} in one folder of the path only",
        )
    return dict(labels)


def _passed_over(root: Path, hidden: list[str]) -> tuple[str, ...]:
    if not hidden:
        return ()
    kinds = sorted(set(hidden))
    shown = ", ".join(kinds[:8]) + (", …" if len(kinds) > 8 else "")
    return (f"{root}: {len(hidden)} hidden files and folders were skipped: {shown}",)


def listed(spec: FolderData, index: Path) -> list[Item]:
    """The images that a CSV file lists, in its order.

    Raises:
        DataError: names the line: the CSV is not valid, a file is missing, outside the folder or
            listed twice.
    """
    root, seen = spec.path, _Seen()
    folders: dict[Path, dict[str, str]] = {}
    items = []
    for line, row in read_table(index, "file", partial(_names_image, root)):
        where = f"{index}:{line}"
        path = _resolved(root, row["file"], where, folders)
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise DataError(
                f"the file does not exist, but {where} lists it",
                where=str(path),
                fix="put it there, or correct the column 'file': paths begin at path under"
                " [data], with / between folders",
            ) from None
        except OSError as error:
            raise DataError(
                f"names {row['file']!r}: {error.strerror}", where=where, fix="name an image file"
            ) from error
        if not S_ISREG(status.st_mode):
            raise DataError(
                f"names {str(path)!r}, which is not a file", where=where, fix="name an image file"
            )
        if first := seen.earlier(status, f"line {line}"):
            raise DataError(
                f"lists {row['file']!r}, which {first} lists already, by that name or a link",
                where=where,
                fix="list every image once",
            )
        items.append(Item(path, row, where))
    return items


def _names_image(root: Path, cell: str) -> bool:
    return Path(cell).suffix.lower() in SUFFIXES or os.path.lexists(root / cell)


def _resolved(root: Path, name: str, where: str, folders: dict[Path, dict[str, str]]) -> Path:
    """The file that a CSV cell names; names that look the same are the same."""
    inside = Path(os.path.relpath(root.absolute() / name, root.absolute()))
    if os.pardir in inside.parts[:1]:
        raise DataError(
            f"names {name!r}, which lies outside {root}",
            where=where,
            fix="move it there, or set path under [data] to a folder above both",
        )
    path = root / inside
    if os.path.lexists(path):
        return path
    path = root
    for part in inside.parts:
        if not os.path.lexists(path / part) and path not in folders:
            there = path.iterdir() if path.is_dir() else ()
            folders[path] = {normal(child.name): child.name for child in there}
        path /= part if os.path.lexists(path / part) else folders[path].get(normal(part), part)
    return path
