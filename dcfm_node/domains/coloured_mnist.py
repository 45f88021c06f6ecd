"""Coloured MNIST (section 6.1 of DCFM): digits in colours; no silo holds half of the pairs."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dcfm_node.data.idx import read_idx
from dcfm_node.data.spec import IdxData
from dcfm_node.domains import colours
from dcfm_node.domains.base import Domain, Evaluator, Split, SplitSpec
from dcfm_node.domains.dealing import dealt, dirichlet, even, held_combinations
from dcfm_node.domains.settings import ColouredMnistSettings
from dcfm_node.errors import DataError, UserError
from dcfm_node.records.manifest import Attribute
from dcfm_node.samples import Samples

OBSERVED = 0.5
"""Share of all combinations that some silo holds."""
SIDE = 28
"""Height and width of MNIST's images."""
PAINTING_SEED = 0
"""Seed of the colours: the data set decides which image has which colour, not the split."""

_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_FETCH = (
    "put the four IDX files of MNIST there, .gz or unpacked; "
    "get them from https://ossci-datasets.s3.amazonaws.com/mnist/"
)


class ColouredMnist(Domain[ColouredMnistSettings]):
    """Images (3, size, size) in [-1, 1] with the attributes digit and colour."""

    own_attributes = (
        Attribute(name="digit", values=tuple("0123456789")),
        Attribute(name="colour", values=tuple(colours.TEN)),
    )
    each = 40

    def partitions(self) -> tuple[str, ...]:
        """`iid` deals every combination evenly, `noniid` in Dirichlet shares."""
        return self.settings.partitions

    def check(self, source: Path | None) -> None:
        """Check that MNIST's files are in the folder, without reading them.

        Raises:
            UserError: no folder is given, or a file or a package is missing.
        """
        super().check(source)
        for name in (name for pair in _FILES.values() for name in pair):
            _file(_named(source), name)

    def split(self, spec: SplitSpec) -> Split:
        """Draw which combinations are observed and which silo holds which of their images.

        Each training image of an observed combination goes to one silo. `complete` and `reference`
        are all training and test images, the same for every seed.
        """
        settings, attributes = self.settings, self.attributes(spec.attributes)
        partition = spec.partition or settings.partitions[0]
        train, test = images(
            _named(spec.source), settings.size, settings.per_combination, settings.references
        )
        rng = np.random.default_rng(spec.seed)
        rows, columns = (len(attribute.values) for attribute in attributes)
        observed = held_combinations(rows, columns, OBSERVED, rng)
        space = {(row, column) for row in range(rows) for column in range(columns)}
        deal = even if partition == "iid" else dirichlet(settings.concentration)
        return Split(
            attributes,
            train.x.shape[1:],
            tuple(
                train[r] for r in dealt(train.c, observed, spec.silos or settings.silos, deal, rng)
            ),
            tuple(sorted(space - set(observed))),
            train,
            test,
        )

    def evaluator(
        self, split: Split, *, folder: Path, seed: int, device: str, features: Path | None = None
    ) -> Evaluator:
        """An evaluator whose network classifies every attribute; the folder keeps the network."""
        from dcfm_node.domains.images import image_evaluator

        return image_evaluator(split, folder, features, device)


@lru_cache(1)
def images(
    folder: Path,
    size: int = SIDE,
    per_combination: int | None = None,
    references: int | None = None,
) -> tuple[Samples, Samples]:
    """MNIST's train and test images, (N, 3, size, size) in [-1, 1], each in one colour.

    Every combination occurs equally often. Arguments are those of `ColouredMnistSettings`.

    Raises:
        UserError: a file is missing.
        DataError: a file does not have MNIST's format or size.
    """
    rng = np.random.default_rng(PAINTING_SEED)
    train = _painted(folder, "train", size, per_combination, rng)
    return train, _painted(folder, "test", size, references, rng)


def reduced(grey: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """Images (N, SIDE, SIDE) of bytes to (N, size, size) in [0, 1]."""
    square = -(-SIDE // size)
    border = square * size - SIDE
    before, after = border // 2, border - border // 2
    padded = np.pad(grey, ((0, 0), (before, after), (before, after)))
    tiles = padded.reshape(len(grey), size, square, size, square)
    return np.asarray(tiles.mean(axis=(2, 4), dtype=np.float32) / 255, np.float32)


def _named(folder: Path | None) -> Path:
    if folder is None:
        raise UserError(
            "the domain 'coloured-mnist' needs MNIST, but no folder is given",
            fix="give --data FOLDER, or path under [data] in node.toml; "
            "the folder has the four IDX files of MNIST, .gz or unpacked",
        )
    return folder


def _painted(
    folder: Path, which: str, size: int, most: int | None, rng: np.random.Generator
) -> Samples:
    """The same number of images of every combination, no image twice."""
    grey, digits = _read(folder, which)
    hues = len(colours.TEN)
    by_digit = [rng.permutation(np.flatnonzero(digits == digit)) for digit in range(10)]
    each = min(len(rows) for rows in by_digit) // hues
    if each == 0:
        raise DataError(
            f"holds too few images of some digit for {hues} colours",
            where=str(folder / _FILES[which][0]),
            fix=_FETCH,
        )
    # The limit comes after the draw, so that a smaller set is part of a larger one.
    rows = np.stack([rows[: each * hues].reshape(-1, each) for rows in by_digit])
    rows = rows[:, :, :most]
    c = np.argwhere(rows >= 0)[:, :2].astype(np.int64)
    return Samples(colours.paint(reduced(grey[rows.ravel()], size), c[:, 1], colours.TEN), c)


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
