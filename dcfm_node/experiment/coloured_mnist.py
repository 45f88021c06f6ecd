"""Coloured MNIST (section 6.1 of the paper): digits in colours, half of the pairs held back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dcfm_node.data.builtin import Palette, held_combinations, paint
from dcfm_node.data.idx import read_idx
from dcfm_node.data.spec import IdxData
from dcfm_node.errors import DataError, UserError
from dcfm_node.experiment.task import Combination, Labelled, Task

PALETTE: Palette = {
    "red": (1.0, 0.1, 0.1),
    "orange": (1.0, 0.5, 0.0),
    "yellow": (1.0, 1.0, 0.1),
    "green": (0.1, 0.8, 0.1),
    "cyan": (0.0, 0.9, 0.9),
    "blue": (0.1, 0.3, 1.0),
    "violet": (0.5, 0.1, 1.0),
    "magenta": (1.0, 0.1, 0.8),
    "pink": (1.0, 0.45, 0.6),
    "white": (1.0, 1.0, 1.0),
}
"""No two differ by brightness alone, since strokes fade at their edges."""
ATTRIBUTES = (("digit", tuple("0123456789")), ("colour", tuple(PALETTE)))
OBSERVED = 0.5
"""Share of all combinations that some silo holds."""
SILOS, CONCENTRATION = 5, 0.1
SIDE = 28
"""Height and width of MNIST's images."""
SIZES = range(7, 65)
PAINTING_SEED = 0
"""Which image has which colour is a fact of the data set, not of a draw of the task."""

Rows = NDArray[np.int64]
Partition = Literal["iid", "noniid"]
_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_FETCH = (
    "put MNIST's four IDX files there, .gz or unpacked; "
    "https://ossci-datasets.s3.amazonaws.com/mnist/ has each by its name"
)
_DRAWS = 100


@dataclass(frozen=True)
class ColouredMnist:
    """The data set: train and test images, (N, 3, size, size) in [-1, 1], each in one colour.

    Every combination of a set occurs equally often.
    """

    train: Labelled
    test: Labelled

    def task(
        self,
        partition: Partition,
        seed: int,
        silos: int = SILOS,
        concentration: float = CONCENTRATION,
    ) -> Task:
        """One draw of which combinations are observed, and of who holds what of them.

        `complete` and `reference` are the train and test images and the same for every draw. The
        silos divide the train images of the observed combinations, each image going to one.

        Args:
            partition: `iid` deals every combination evenly; `noniid` deals each in shares drawn
                from a symmetric Dirichlet distribution.
            concentration: of that distribution; the smaller, the fewer silos share a combination.

        Raises:
            UserError: too few images for every silo to have some.
        """
        rng = np.random.default_rng(seed)
        rows, columns = (len(values) for _, values in ATTRIBUTES)
        observed = held_combinations(rows, columns, OBSERVED, rng)
        space = {(row, column) for row in range(rows) for column in range(columns)}
        deal = _even if partition == "iid" else partial(_dirichlet, concentration, rng)
        dealt = _dealt(self.train.c, observed, silos, deal, rng)
        return Task(
            ATTRIBUTES,
            self.train.x.shape[1:],
            tuple(Labelled(self.train.x[mine], self.train.c[mine]) for mine in dealt),
            tuple(sorted(space - set(observed))),
            self.train,
            self.test,
        )


def coloured_mnist(
    folder: Path,
    size: int = SIDE,
    per_combination: int | None = None,
    references: int | None = None,
) -> ColouredMnist:
    """Read MNIST's four IDX files and paint them.

    Args:
        size: height and width. Smaller images are means over squares of pixels, black being added
            around where the squares do not fit: 14 takes 2 x 2, 16 adds two pixels on each side
            first. Nothing is cut off.
        per_combination: train images of each combination at most; default as many as the rarest
            digit allows, 542 of MNIST.
        references: the same of the test images, 89 of MNIST.

    Raises:
        UserError: a file is missing, or a setting out of range.
        DataError: a file is not what MNIST's is.
    """
    if size not in SIZES:
        raise UserError(
            f"images of {size} x {size} are not to be had from MNIST",
            fix=f"choose a size from {SIZES[0]} to {SIZES[-1]}, such as 14 or {SIDE}",
        )
    for most in (per_combination, references):
        if most is not None and most < 1:
            raise UserError(
                f"{most} images of each combination are too few", fix="ask for 1 or more"
            )
    rng = np.random.default_rng(PAINTING_SEED)
    train = _painted(folder, "train", size, per_combination, rng)
    return ColouredMnist(train, _painted(folder, "test", size, references, rng))


def check_folder(folder: Path | None) -> Path:
    """The folder that was named, once MNIST's files are in it; none is read.

    Raises:
        UserError: no folder was named, or a file is missing.
    """
    if folder is None:
        raise UserError(
            "the experiment reads MNIST, and no folder was named",
            fix="give --data FOLDER, with the four IDX files of MNIST, .gz or unpacked",
        )
    for name in (name for pair in _FILES.values() for name in pair):
        _file(folder, name)
    return folder


def reduced(grey: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """Images (N, SIDE, SIDE) of bytes to (N, size, size) in [0, 1], see `coloured_mnist`."""
    square = -(-SIDE // size)
    border = square * size - SIDE
    before, after = border // 2, border - border // 2
    padded = np.pad(grey, ((0, 0), (before, after), (before, after)))
    tiles = padded.reshape(len(grey), size, square, size, square)
    return np.asarray(tiles.mean(axis=(2, 4), dtype=np.float32) / 255, np.float32)


def _painted(
    folder: Path,
    which: str,
    size: int,
    most: int | None,
    rng: np.random.Generator,
) -> Labelled:
    """Equally many images of every combination, no image twice."""
    grey, digits = _read(folder, which)
    (_, values), (_, colours) = ATTRIBUTES
    by_digit = [rng.permutation(np.flatnonzero(digits == d)) for d in range(len(values))]
    each = min(len(rows) for rows in by_digit) // len(colours)
    if each == 0:
        raise DataError(
            f"holds too few images of some digit for {len(colours)} colours",
            where=str(folder / _FILES[which][0]),
            fix=_FETCH,
        )
    # The limit comes after the draw, so that fewer images are a part of the more.
    rows = np.stack([rows[: each * len(colours)].reshape(-1, each) for rows in by_digit])
    rows = rows[:, :, :most]
    c = np.argwhere(rows >= 0)[:, :2].astype(np.int64)
    x = paint(reduced(grey[rows.ravel()], size), c[:, 1], PALETTE)
    return Labelled(x, c)


def _read(folder: Path, which: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (N, SIDE, SIDE) and digits (N,)."""
    images, labels = (_file(folder, name) for name in _FILES[which])
    raw = read_idx(IdxData(format="idx", path=images, labels=labels), {"digit": "digit"})
    if raw.x.shape[2:] != (SIDE, SIDE):
        raise DataError(
            f"images are {raw.x.shape[2]} x {raw.x.shape[3]}, MNIST's are {SIDE} x {SIDE}",
            where=str(images),
            fix=_FETCH,
        )
    return raw.x[:, 0], raw.columns["digit"]


def _file(folder: Path, name: str) -> Path:
    for file in (folder / name, folder / f"{name}.gz"):
        if file.is_file():
            return file
    raise UserError(f"there is no file {name} or {name}.gz", where=str(folder), fix=_FETCH)


def _dealt(
    c: Rows,
    observed: Sequence[Combination],
    silos: int,
    deal: Callable[[Rows, int], list[Rows]],
    rng: np.random.Generator,
) -> list[Rows]:
    """Rows of labels c (N, 2) for each silo, sorted; every silo has some."""
    for _ in range(_DRAWS):
        held: list[list[int]] = [[] for _ in range(silos)]
        for place, combination in enumerate(observed):
            rows = rng.permutation(np.flatnonzero((c == combination).all(axis=1)))
            for k, part in enumerate(deal(rows, silos)):
                # Turning gives the images that are left over to each silo in turn.
                held[(k + place) % silos].extend(part.tolist())
        if all(held):
            return [np.array(sorted(mine), np.int64) for mine in held]
    raise UserError(
        f"{len(c)} images leave one of {silos} silos without any",
        fix="take more images of each combination, or fewer silos",
    )


def _even(rows: Rows, silos: int) -> list[Rows]:
    return np.array_split(rows, silos)


def _dirichlet(
    concentration: float, rng: np.random.Generator, rows: Rows, silos: int
) -> list[Rows]:
    shares = rng.dirichlet(np.full(silos, concentration))
    return np.split(rows, np.rint(np.cumsum(shares)[:-1] * len(rows)).astype(np.int64))
