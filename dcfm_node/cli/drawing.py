"""Drawing samples of a student into a file. The one part of the command line that needs torch."""

import itertools
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dcfm_node.errors import ConfigError
from dcfm_node.flow.files import load_weights
from dcfm_node.flow.labels import Counts
from dcfm_node.flow.students import sample
from dcfm_node.records.manifest import Manifest

SCALE_PIXELS = 512
"""A grid is enlarged to about this many pixels a side, so that small images can be seen."""


def draw(
    manifest: Manifest,
    model: Path,
    chosen: Mapping[int, int],
    *,
    counts: Mapping[str, Counts],
    count: int,
    seed: int,
    out: Path,
) -> None:
    """Sample `count` times and write a PNG grid or an .npz of `x` and `c`.

    Args:
        chosen: attribute index -> value index; the others take all values in turn.
        counts: label counts of the student's teachers, by silo.
    """
    image = len(manifest.sample_shape) == 3 and manifest.sample_shape[0] in (1, 3)
    if out.suffix not in (".npz", ".png") or (out.suffix == ".png" and not image):
        fix = "a file that ends in .npz" + (" or .png" if image else ", these are no images")
        raise ConfigError(f"cannot write {out.suffix or 'a nameless kind'}", where="--out", fix=fix)
    labels = torch.tensor(_labels(manifest, chosen, count), dtype=torch.int64)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tensors = load_weights(model)
    x = sample(manifest, tensors, labels, counts=counts, seed=seed, device=device).numpy()
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".npz":
        np.savez_compressed(out, x=x, c=labels.numpy())
    else:
        _grid(x).save(out)


def _labels(manifest: Manifest, chosen: Mapping[int, int], count: int) -> list[list[int]]:
    ranges = [
        [chosen[index]] if index in chosen else list(range(size))
        for index, size in enumerate(manifest.cardinalities)
    ]
    combinations = [list(label) for label in itertools.product(*ranges)]
    return [combinations[index % len(combinations)] for index in range(count)]


def _grid(x: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> Image.Image:
    """Images (N, channels, height, width) in [-1, 1], in a grid as square as can be."""
    count, channels, height, width = x.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.zeros((rows * (height + 1) + 1, columns * (width + 1) + 1, 3), np.uint8)
    pixels = np.clip((x + 1) * 127.5, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
    pixels = np.repeat(pixels, 3, axis=3) if channels == 1 else pixels
    for index, picture in enumerate(pixels):
        top, left = (index // columns) * (height + 1) + 1, (index % columns) * (width + 1) + 1
        sheet[top : top + height, left : left + width] = picture
    scale = max(1, SCALE_PIXELS // max(sheet.shape[:2]))
    return Image.fromarray(sheet).resize(
        (sheet.shape[1] * scale, sheet.shape[0] * scale), Image.Resampling.NEAREST
    )
