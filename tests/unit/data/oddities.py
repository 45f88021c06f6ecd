"""What the tests of odd data share: runs, pictures and how to load them."""

from pathlib import Path

import numpy as np
from PIL import Image

from dcfm_node.data.source import SiloData
from dcfm_node.data.spec import FolderData
from dcfm_node.samples import joined
from tests.unit.data.manifests import manifest

FINDING = ("finding", ("none", "mass", "naïve"))
RUN = manifest(shape=(1, 2, 3), attributes=(FINDING,))
COLOUR_RUN = manifest(shape=(3, 2, 3), attributes=(FINDING,))
ALPHA_RUN = manifest(shape=(4, 2, 3), attributes=(FINDING,))
VECTORS = manifest(shape=(2,), attributes=(FINDING,))


def everything(data: SiloData) -> tuple[np.ndarray, np.ndarray]:
    both = joined([data.train, data.holdout])
    return both.x, both.c


def grey(level: int, size: tuple[int, int] = (3, 2)) -> Image.Image:
    return Image.new("L", size, level)


def folder(path: Path, index: str | None = None, resize: bool = False) -> FolderData:
    listed = Path(index) if index is not None else None
    return FolderData(format="folder", path=path, index=listed, resize=resize)
