"""Small pictures of draws, one for each combination: what the page shows of a student.

Drawn from the arrays that `student sample` wrote, with Pillow: this process never loads torch.
"""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dcfm_node.api.run import RunAttribute, RunFacts
from dcfm_node.files import open_regular

SIDE = 96
"""Pixels of a side of the picture of a vector or a series."""
EDGE = 6
INK = (47, 125, 209, 170)
"""Read on white and on black alike."""
MAX_COMBINATIONS = 256
"""Most combinations that are drawn."""
OF_NUMBERS = 32
"""Draws of a combination in a picture of vectors; series need fewer."""
MAX_BYTES = 256 << 20
MAX_SERIES = 6

Array = NDArray[np.float32]


def how_many(run: RunFacts) -> int:
    """How many samples `student sample` is asked for: it takes all combinations in turn."""
    each = 1 if len(run.sample_shape) == 3 else OF_NUMBERS
    return min(run.combinations, MAX_COMBINATIONS) * each


def cells(run: RunFacts, archive: Path) -> dict[str, bytes]:
    """A PNG for each combination of an archive of draws, by its label's indices joined by "-".

    Raises:
        OSError, ValueError, KeyError: the archive is not what `student sample` writes.
    """
    with open_regular(archive, MAX_BYTES) as file, zipfile.ZipFile(file) as files:
        x = _array(files, "x")
        columns = [_indices(files, attribute) for attribute in run.attributes]
    if x.shape[1:] != tuple(run.sample_shape) or any(len(c) != len(x) for c in columns):
        raise ValueError(f"{archive} holds other samples than the run's")
    drawn: dict[str, list[int]] = {}
    for at, label in enumerate(zip(*columns, strict=True)):
        drawn.setdefault("-".join(map(str, label)), []).append(at)
    limits = _limits(x)
    return {name: _picture(x[places], limits) for name, places in drawn.items()}


def _array(files: zipfile.ZipFile, name: str) -> NDArray[np.generic]:
    with files.open(f"{name}.npy") as stream:
        found: NDArray[np.generic] = np.lib.format.read_array(stream, allow_pickle=False)
        return found


def _indices(files: zipfile.ZipFile, attribute: RunAttribute) -> list[int]:
    """The value of each sample, as an index into the attribute's values."""
    name = attribute.name
    if f"{name}-label.npy" in files.namelist():  # of an attribute that is named as the samples are
        name = f"{name}-label"
    places: Mapping[str, int] = {value: at for at, value in enumerate(attribute.values)}
    return [places[value] for value in _array(files, name).tolist()]


def _limits(x: NDArray[np.generic]) -> tuple[Array, Array]:
    """Where nearly all numbers are: of vectors for each of the first two, else for all together."""
    flat = np.nan_to_num(np.asarray(x, np.float32))
    points = flat[:, :2] if flat.ndim == 2 else flat.reshape(-1, 1)
    least, most = np.percentile(points, (0.5, 99.5), axis=0).astype(np.float32)
    return least, np.maximum(most, least + np.float32(1e-6))


def _picture(x: NDArray[np.generic], limits: tuple[Array, Array]) -> bytes:
    numbers = np.nan_to_num(np.asarray(x, np.float32))
    image = _image(numbers[0]) if numbers.ndim == 4 else _plot(numbers, limits)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _image(x: Array) -> Image.Image:
    """A sample in [-1, 1], (channels, height, width), as a picture."""
    pixels = ((np.clip(x, -1.0, 1.0) + 1.0) * 127.5).round().astype(np.uint8)
    if len(pixels) not in (3, 4):
        return Image.fromarray(pixels[0])
    return Image.fromarray(np.ascontiguousarray(np.moveaxis(pixels, 0, -1)))


def _plot(x: Array, limits: tuple[Array, Array]) -> Image.Image:
    """Vectors as points of their first two numbers, series as lines of their first channel."""
    canvas = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
    pen = ImageDraw.Draw(canvas)
    least, most = limits
    if x.ndim == 2:
        points = np.clip((x[:, :2] - least) / (most - least), 0.0, 1.0)
        if x.shape[1] == 1:  # a single number: across, one draw above the other
            points = np.column_stack([points, np.linspace(0.0, 1.0, len(x))])
        for across, up in points.tolist():
            left, top = _pixel(across), _pixel(1.0 - up)
            pen.ellipse((left - 2.5, top - 2.5, left + 2.5, top + 2.5), fill=INK)
        return canvas
    for series in np.clip((x[:MAX_SERIES, 0] - least) / (most - least), 0.0, 1.0):
        pen.line(_path(series), fill=INK)
    return canvas


def _path(series: Array) -> list[tuple[float, float]]:
    last = max(1, len(series) - 1)
    return [(_pixel(at / last), _pixel(1.0 - float(y))) for at, y in enumerate(series)]


def _pixel(share: float) -> float:
    return EDGE + share * (SIDE - 1 - 2 * EDGE)
