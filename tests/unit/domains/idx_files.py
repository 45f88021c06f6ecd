"""MNIST's four files with made-up images: each digit is a bar at its own height."""

from pathlib import Path

import numpy as np

from dcfm_node.domains.base import Split, SplitSpec
from dcfm_node.domains.coloured_mnist import SIDE, ColouredMnist
from dcfm_node.domains.settings import ColouredMnistSettings

TRAIN, TEST = 23, 12
"""Images of each digit."""
NAMES = {"train": TRAIN, "t10k": TEST}


def idx(array: np.ndarray) -> bytes:
    shape = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes((0, 0, 8, array.ndim)) + shape + array.astype(np.uint8).tobytes()


def bars(each: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (10 * each, 28, 28) and digits, shuffled; no two images are alike."""
    rng = np.random.default_rng(seed)
    digits = rng.permutation(np.repeat(np.arange(10), each))
    images = np.zeros((len(digits), SIDE, SIDE), np.uint8)
    for image, digit in zip(images, digits, strict=True):
        top = 4 + 2 * digit
        image[top : top + 2, 4:24] = rng.integers(128, 256, size=(2, 20))
    return images, digits


def write(folder: Path) -> Path:
    for place, (name, each) in enumerate(NAMES.items()):
        images, digits = bars(each, place)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(idx(digits))
    return folder


def split_of(
    folder: Path,
    partition: str = "iid",
    seed: int = 0,
    silos: int | None = None,
    **settings: object,
) -> Split:
    """How silos share the images in a folder, 14 x 14 if nothing else is said."""
    given = ColouredMnistSettings.model_validate({"size": 14, **settings})
    spec = SplitSpec(partition=partition, silos=silos, seed=seed, source=folder)
    return ColouredMnist(given).split(spec)
