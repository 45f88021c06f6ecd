"""Files that only one domain reads, recognised by their layout: for `dcfm-node init --data`.

Nothing but names, headers and the ends of episodes is read; `dcfm-node check` reads the rest.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from dcfm_node.data.npz import Header, npz_headers, npz_labels
from dcfm_node.data.raw import readable
from dcfm_node.data.spec import EpisodesData, NpzData, RadiographsData
from dcfm_node.errors import DataError

EPISODES = {"observations", "actions", "terminals"}
"""Arrays by which a file of a robot's episodes is known (`spec.EpisodesData`)."""
TABLES = ("Data_Entry_2017*.csv", "Data_Entry_2017*.csv.gz")
"""Tables by which a folder of radiographs is known (`spec.RadiographsData`)."""
IMAGES = (".png", ".dcm")
"""Suffixes of radiographs."""


class Known(NamedTuple):
    """What was recognised.

    Attributes:
        spec: what node.toml needs under [data].
        files: of episodes or of images.
        samples: episodes or images, as far as names and headers tell.
    """

    spec: EpisodesData | RadiographsData
    files: int
    samples: int


def known(path: Path) -> Known | None:
    """A robot's episodes in OGBench's layout, or radiographs in that of the NIH; None for others.

    Raises:
        DataError: a folder or an archive cannot be read; archives of episodes lie beside others; a
            folder of radiographs has no image.
    """
    path = path.resolve()
    if not path.is_dir():
        is_archive = path.is_file() and path.suffix.lower() == ".npz"
        return _episodes(path, [path]) if is_archive else None
    with readable(path, fix="check the disk"):
        archives = sorted(path.glob("*.npz"))
        tables = [table for pattern in TABLES for table in path.glob(pattern)]
    if tables:
        return _radiographs(path, archives)
    return _episodes(path, archives) if archives else None


def _episodes(path: Path, archives: list[Path]) -> Known | None:
    if not _headers(archives[0]).keys() >= EPISODES:
        return None
    ends = 0
    for file in archives:
        if not _headers(file).keys() >= EPISODES:
            raise DataError(
                f"does not hold episodes, as {archives[0].name} beside it does",
                where=str(file),
                fix="move it out of the folder: a node reads all .npz files there",
            )
        spec = NpzData(format="npz", path=file)
        ends += int(np.count_nonzero(npz_labels(spec, ["terminals"])["terminals"]))
    return Known(EpisodesData(format="episodes", path=path), len(archives), ends)


def _radiographs(path: Path, archives: list[Path]) -> Known:
    with readable(path, fix="check the disk"):
        files = sum(
            file.suffix.lower() in IMAGES and not file.name.startswith(".")
            for file in path.glob("images*/**/*")
        )
    packed = [_headers(file).get("image") for file in archives]
    samples = files + sum(header[0][0] for header in packed if header is not None and header[0])
    if not samples:
        raise DataError(
            "has a table of radiographs, and no image",
            where=str(path),
            fix="put them into folders images*/ as .png or .dcm files, or into a .npz file with the"
            " arrays image and name",
        )
    spec = RadiographsData(format="radiographs", path=path)
    return Known(spec, files + len(archives), samples)


def _headers(file: Path) -> dict[str, Header]:
    return npz_headers(NpzData(format="npz", path=file))
