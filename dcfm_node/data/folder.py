"""Image files in labelled folders, or listed by a CSV file."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dcfm_node.data.raw import Floats, Raw, bounded, readable
from dcfm_node.data.spec import FolderData
from dcfm_node.errors import DataError

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True, slots=True)
class _Item:
    image: Path
    labels: Mapping[str, str | None]
    where: str


def read_folder(spec: FolderData, columns: Mapping[str, str], shape: tuple[int, ...]) -> Raw:
    """Read every image as float32 in [-1, 1], (N, channels, height, width).

    Channels follow the run: colour is converted to grey and grey to colour.

    Args:
        columns: attribute name -> CSV column or folder key, for attributes that are not constant.
        shape: the run's sample_shape.

    Raises:
        DataError: no such folder, an image without labels, unreadable or of another size.
    """
    if len(shape) != 3 or shape[0] not in _MODES:
        raise DataError(
            f"images do not fit the run's sample_shape {list(shape)}",
            where=str(spec.path),
            fix="a run on images has sample_shape = [1 or 3 or 4, height, width]",
        )
    if not spec.path.is_dir():
        raise DataError(
            "there is no such folder",
            where=str(spec.path),
            fix="check path under [data] in the node's settings",
        )
    items = _listed(spec) if spec.index is not None else _found(spec.path)
    labels = {name: [_label(item, column) for item in items] for name, column in columns.items()}
    bounded((len(items), *shape), 4, spec.path)
    x = np.empty((len(items), *shape), np.float32)
    for row, item in enumerate(items):
        x[row] = _pixels(item.image, shape, spec.resize)
    arrays = {name: np.asarray(column, dtype=np.str_) for name, column in labels.items()}
    return Raw(x, arrays, lambda row: items[row].where, str(spec.path))


def _found(root: Path) -> list[_Item]:
    """Images below folders whose names hold `key=value`, several of them split by commas."""
    items = []
    for file in sorted(root.rglob("*")):
        folders = file.relative_to(root).parts[:-1]
        if not file.is_file() or file.name.startswith("."):
            continue
        if file.suffix.lower() not in SUFFIXES:
            if folders:
                raise DataError(
                    "is no image that can be read",
                    where=str(file),
                    fix=f"remove it, or convert it to one of {', '.join(SUFFIXES)}",
                )
            continue
        parts = (part.partition("=") for folder in folders for part in folder.split(","))
        labels = {key.strip(): value.strip() for key, equals, value in parts if equals}
        items.append(_Item(file, labels, str(file)))
    return items


def _listed(spec: FolderData) -> list[_Item]:
    index = spec.path / (spec.index or "")
    items = []
    with (
        readable(index, csv.Error, UnicodeDecodeError, fix="save it as CSV in UTF-8"),
        index.open(newline="", encoding="utf-8-sig") as stream,
    ):
        rows = csv.DictReader(stream)
        if "file" not in (rows.fieldnames or ()):
            raise DataError(
                "has no column 'file'",
                where=str(index),
                fix="name the columns in its first line: file, and one per attribute",
            )
        for row in rows:
            where = f"{index}:{rows.line_num}"
            if not row["file"]:
                raise DataError("names no file", where=where, fix="fill in the column 'file'")
            items.append(_Item(spec.path / row["file"], row, where))
    return items


def _label(item: _Item, column: str) -> str:
    value = item.labels.get(column)
    if value is None or value == "":
        raise DataError(
            f"says nothing of {column!r}",
            where=item.where,
            fix=f"put it in a folder named like '{column}=VALUE', add the column {column!r} to the "
            "index, or set column or constant under [data.attributes]",
        )
    return value


def _pixels(file: Path, shape: tuple[int, ...], resize: bool) -> Floats:
    channels, height, width = shape
    broken = (ValueError, SyntaxError, Image.DecompressionBombError)
    with (
        readable(file, *broken, fix="replace it by a whole image file"),
        Image.open(file) as image,
    ):
        if image.size != (width, height) and not resize:
            raise DataError(
                f"is {image.height} x {image.width}, the run's samples are {height} x {width}",
                where=str(file),
                fix="set resize = true under [data], or choose another sample_shape for the run",
            )
        planes = [_to_unit(plane) for plane in _planes(image, channels)]
    if planes[0].size != (width, height):
        planes = [p.resize((width, height), Image.Resampling.BICUBIC) for p in planes]
    # Bicubic overshoots at edges; a copy at the same size never does.
    return np.clip(np.stack([np.asarray(plane, np.float32) for plane in planes]), -1.0, 1.0)


def _planes(image: Image.Image, channels: int) -> tuple[Image.Image, ...]:
    if image.mode.startswith("I;16"):
        return (image,) * channels
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode} have no known range; save 8 or 16 bits")
    return image.convert(_MODES[channels]).split()


def _to_unit(plane: Image.Image) -> Image.Image:
    levels: NDArray[Any] = np.asarray(plane)
    top = 255.0 if levels.dtype == np.uint8 else 65_535.0
    return Image.fromarray(levels.astype(np.float32) * np.float32(2.0 / top) - np.float32(1.0))
