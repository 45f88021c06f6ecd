"""The images of a folder of radiographs: PNG and DICOM files, or one archive of small ones."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dcfm_node.data.dicom import read_dicom
from dcfm_node.data.folder import check_depth
from dcfm_node.data.known import IMAGES
from dcfm_node.data.npz import read_arrays
from dcfm_node.data.pictures import fitted_plane, read_picture
from dcfm_node.data.raw import bounded
from dcfm_node.domains.chest.table import Entry, find_table, read_entries
from dcfm_node.errors import DataError
from dcfm_node.samples import Floats

FAULTY = frozenset(
    f"{name}.png"
    for name in (
        # Upside down.
        *("00002376_002", "00002868_008", "00002898_001", "00003064_030", "00003122_004"),
        *("00003490_011", "00003562_000"),
        # Sideways.
        *("00001491_000", "00001814_001", "00002720_002", "00002815_003", "00003220_004"),
        "00003693_005",
        # Inverted; unusable.
        *("00002300_026", "00002180_000"),
    )
)
"""Images of NIH ChestX-ray14 that are left out: they are turned, inverted or unusable. They were
found by eye among its patients 1 to 278 and 1336 to 3923."""
_ARCHIVE = "an archive has image (N, height, width) uint8 and name (N,)"


@dataclass(frozen=True)
class Folder:
    """What a folder holds: the table's rows that have an image, in the order of the names.

    Attributes:
        entries: of the images that are there.
        table: rows of the whole table, also of images that are not there.
    """

    path: Path
    entries: tuple[Entry, ...]
    table: tuple[Entry, ...]
    _files: dict[str, Path]
    _packed: dict[str, NDArray[np.uint8]]

    def read(self, entries: Sequence[Entry], size: int) -> NDArray[np.uint8]:
        """The images of these entries, (N, 1, size, size), resized by area.

        Raises:
            DataError: an image cannot be read. Names the file.
        """
        bounded((len(entries), size, size), 1, self.path)
        x = np.empty((len(entries), 1, size, size), np.uint8)
        deepest: dict[str, int] = {}
        for row, entry in enumerate(entries):
            if entry.image in self._packed:
                shade = self._packed[entry.image].astype(np.float32) / np.float32(127.5) - 1
                x[row, 0] = _bytes(_by_area(shade, size))
            else:
                x[row, 0] = _bytes(_read(self._files[entry.image], size, deepest))
        check_depth(deepest)
        return x


def open_folder(path: Path) -> Folder:
    """Look at a folder of radiographs; images of files are not read yet.

    Raises:
        DataError: there is no table or no image; an image has no row, or occurs twice.
    """
    table = find_table(path)
    rows = read_entries(table)
    files: dict[str, Path] = {}
    packed: dict[str, NDArray[np.uint8]] = {}
    for file in _images(path):
        if (twin := files.setdefault(file.name, file)) is not file:
            raise _twice(file, file.name, str(twin))
    for archive in sorted(path.glob("*.npz")):
        for name, image in _unpacked(archive):
            if name in files or name in packed:
                raise _twice(archive, name, str(files.get(name, "an archive")))
            packed[name] = image
    there = files.keys() | packed.keys()
    if not there:
        what = f"holds no image: neither images*/*{' or *'.join(IMAGES)} nor an archive *.npz"
        raise DataError(what, where=str(path), fix="put the images beside the table")
    _check_rows(path, table, there, rows)
    entries = tuple(rows[name] for name in sorted(there))
    return Folder(path, entries, tuple(rows.values()), files, packed)


def _images(path: Path) -> Iterator[Path]:
    for file in sorted(path.glob("images*/**/*")):
        if file.suffix.lower() in IMAGES and not file.name.startswith("."):
            yield file


def _unpacked(archive: Path) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    def check(headers: object) -> None:
        """Shapes are checked once the arrays are read; their sizes were."""

    arrays = read_arrays(archive, ("image", "name"), check, _ARCHIVE)
    images, names = arrays["image"], arrays["name"]
    if images.dtype != np.uint8 or images.ndim != 3 or 0 in images.shape:
        what = f"image is {images.dtype} of shape {images.shape}"
    elif names.dtype.kind != "U" or names.shape != images.shape[:1]:
        what = f"name is {names.dtype} of shape {names.shape}, for {len(images)} images"
    else:
        yield from zip(names.tolist(), images, strict=True)
        return
    raise DataError(what, where=str(archive), fix=_ARCHIVE)


def _check_rows(path: Path, table: Path, there: Collection[str], rows: Collection[str]) -> None:
    if missing := sorted(name for name in there if name not in rows):
        raise DataError(
            f"has no row for {len(missing)} of {len(there)} images, such as {missing[0]!r}",
            where=str(table),
            fix=f"add their rows, or remove the images from {path}",
        )


def _twice(where: Path, name: str, other: str) -> DataError:
    return DataError(f"holds {name!r} again: {other}", where=str(where), fix="remove one of them")


def _read(file: Path, size: int, deepest: dict[str, int]) -> Floats:
    if file.suffix.lower() == ".dcm":
        return _by_area(read_dicom(file), size)
    picture = read_picture(file, (1, size, size), resize=True, by=Image.Resampling.BOX)
    if picture.deepest is not None:
        deepest[str(file)] = picture.deepest
    return np.asarray(picture.x[0], np.float32)


def _by_area(plane: Floats, size: int) -> Floats:
    return fitted_plane(plane, (size, size), Image.Resampling.BOX)


def _bytes(plane: Floats) -> NDArray[np.uint8]:
    return np.asarray(np.clip(np.rint((plane + 1) * 127.5), 0, 255), np.uint8)
