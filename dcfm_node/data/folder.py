"""Image files in labelled folders, or listed by a CSV file."""

import difflib
from collections.abc import Mapping

import numpy as np

from dcfm_node.data.listing import Item, found, listed
from dcfm_node.data.names import normal
from dcfm_node.data.pictures import MODES, WHITE, read_picture
from dcfm_node.data.raw import Raw, bounded, check_shapes
from dcfm_node.data.spec import FolderData
from dcfm_node.errors import DataError

FEW_LEVELS = 2**14
"""If all 16-bit pictures of a silo stay below this level, they hold 14 bits or fewer."""


def read_folder(spec: FolderData, columns: Mapping[str, str], shape: tuple[int, ...]) -> Raw:
    """Read every image as float32 in [-1, 1], (N, channels, height, width).

    Channels follow the run: colour is converted to grey and grey to colour.

    Args:
        columns: attribute name -> CSV column or folder key, for attributes that are not constant.
        shape: the run's sample_shape.

    Raises:
        DataError: the folder is missing; an image has no label, occurs twice, is unreadable, has
            another size, or viewers show it in different ways.
    """
    if len(shape) != 3 or shape[0] not in MODES:
        raise DataError(
            f"images do not fit the run's sample_shape {list(shape)}",
            where=str(spec.path),
            fix="a run on images has sample_shape = [1 or 3 or 4, height, width]",
        )
    if not spec.path.is_dir():
        raise DataError(
            "the folder does not exist",
            where=str(spec.path),
            fix="check path under [data] in the node's settings",
        )
    notes: tuple[str, ...] = ()
    if spec.index is not None:
        items = listed(spec, spec.path / spec.index)
    else:
        items, notes = found(spec.path, spec.names)
    labels = {name: [_label(item, column) for item in items] for name, column in columns.items()}
    bounded((len(items), *shape), 4, spec.path)
    x = np.empty((len(items), *shape), np.float32)
    deepest: dict[str, int] = {}
    for row, item in enumerate(items):
        picture = read_picture(item.image, shape, spec.resize)
        x[row] = picture.x
        if picture.deepest is not None:
            deepest[str(item.image)] = picture.deepest
    check_shapes((len(items), *shape), {}, shape, str(spec.path))
    check_depth(deepest)
    arrays = {name: np.asarray(column, dtype=np.str_) for name, column in labels.items()}
    return Raw(x, arrays, lambda row: items[row].where, str(spec.path), notes)


def _label(item: Item, column: str) -> str:
    value = item.labels.get(normal(column))
    if not value:
        near = difflib.get_close_matches(column.lower(), [k.lower() for k in item.labels], 1)
        there = next((k for k in item.labels if near and k.lower() == near[0]), None)
        hint = (
            f"; or set column = {there!r} there, if that is the attribute"
            if there not in (None, column)
            else ""
        )
        raise DataError(
            f"gives no {column!r}",
            where=item.where,
            fix=f"put it in a folder named like '{column}=VALUE', add the column {column!r} to the "
            f"index, or set column or constant under [data.attributes]{hint}",
        )
    return value


def check_depth(deepest: Mapping[str, int]) -> None:
    """Check that 16-bit pictures use their range: 12-bit levels in 16 bits look almost black."""
    if not deepest or max(deepest.values()) >= FEW_LEVELS:
        return
    top = max(deepest.values())
    file = next(file for file, level in deepest.items() if level == top)
    factor = 2 ** (16 - top.bit_length())
    raise DataError(
        f"no 16-bit picture has a level above {top} of {WHITE} (this one has the highest), which"
        f" is the range of {top.bit_length()} bits and looks almost black",
        where=file,
        fix=f"multiply the levels so that white is {WHITE}, the same at every site: by {factor} if"
        f" all are of {top.bit_length()} bits",
    )
