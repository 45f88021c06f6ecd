"""All images of one model as tiles, a captioned row for each combination; needs Pillow alone."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dcfm_node.domains.panels import INK, NOTE, NOVEL, caption
from dcfm_node.domains.space import Space
from dcfm_node.samples import Samples, unit

SIDE = 64
"""Small images are enlarged to about this many pixels per side, or less where there are many."""
WIDEST = 2_048
"""Pixels per side that enlarged images may take together."""
FONT, LINE, GAP = 13, 16, 3
"""Height of letters and of lines of text, and the space around tiles, in pixels."""
EDGE = "#cccccc"


class Row(NamedTuple):
    """Tiles of one combination: images (K, height, width, 3), and the lines of their caption."""

    images: NDArray[np.uint8]
    caption: Sequence[str]
    novel: bool


def sheet(space: Space, samples: Samples) -> Image.Image:
    """All images (N, channels, height, width) in [-1, 1], or as bytes, grouped by combination.

    Each row is captioned with its values. Combinations in `space.held_out` are framed and named
    novel. Of more than three channels the first three are drawn, of two the first.
    """
    pixels = pixels_of(samples)
    side, near = max(pixels.shape[1:3]), math.ceil(math.sqrt(len(pixels)))
    scale = max(1, min(SIDE // side, WIDEST // (side * near)))
    pixels = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    across = min(near, int(np.unique(samples.c, axis=0, return_counts=True)[1].max()))
    rows = list(_rows(space, samples, pixels, across))
    height, width = pixels.shape[1] + GAP, pixels.shape[2] + GAP
    lines = max(len(row.caption) for row in rows)
    return _drawn(rows, (max(height, lines * LINE) + GAP, across * width + GAP), (height, width))


def pixels_of(samples: Samples) -> NDArray[np.uint8]:
    """Images as colours (N, height, width, 3)."""
    x = unit(samples.x)[:, :3] if samples.x.shape[1] >= 3 else unit(samples.x)[:, :1]
    pixels = np.clip((x + 1) * 127.5, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
    return np.repeat(pixels, 3, axis=3) if pixels.shape[3] == 1 else pixels


def _rows(space: Space, samples: Samples, pixels: NDArray[np.uint8], across: int) -> Iterator[Row]:
    for combination in samples.combinations:
        images = pixels[(samples.c == combination).all(axis=1)]
        novel = combination in space.held_out
        lines = caption(space, combination, readable)
        for at in range(0, len(images), across):
            yield Row(images[at : at + across], lines, novel)


def readable(text: str) -> str:
    """Pillow's font has the letters of Latin-1; others are written as their numbers."""
    return text.encode("latin-1", "backslashreplace").decode("latin-1")


def _drawn(rows: Sequence[Row], cell: tuple[int, int], tile: tuple[int, int]) -> Image.Image:
    """Rows one below the other, in as many columns as make the picture nearly square.

    Args:
        cell: height of a row, and width of its tiles.
        tile: height and width of a tile with the space beside it.
    """
    plain = all(line.isascii() for row in rows for line in row.caption)
    font = ImageFont.load_default(FONT) if plain else ImageFont.load_default_imagefont()
    text = math.ceil(max(font.getlength(line) for row in rows for line in row.caption)) + 3 * GAP
    height, width = cell[0], cell[1] + text
    columns = max(1, min(len(rows), round(math.sqrt(len(rows) * height / width))))
    deep = math.ceil(len(rows) / columns)
    columns, any_novel = math.ceil(len(rows) / deep), any(row.novel for row in rows)
    foot = any_novel * (LINE + GAP)
    size = columns * width, deep * height + GAP + foot
    if any_novel:
        size = max(size[0], math.ceil(font.getlength(NOTE)) + 2 * GAP), size[1]
    canvas = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(canvas)
    for index, row in enumerate(rows):
        left, top = index // deep * width + GAP, index % deep * height + GAP
        colour = NOVEL if row.novel else INK
        for place, line in enumerate(row.caption):
            pen.text((left, top + place * LINE), line, colour, font)
        for place, image in enumerate(row.images):
            at = left + text - GAP + place * tile[1], top
            end = at[0] + tile[1] - GAP, at[1] + tile[0] - GAP
            pen.rectangle(((at[0] - 1, at[1] - 1), end), outline=NOVEL if row.novel else EDGE)
            canvas.paste(Image.fromarray(image), at)
    if any_novel:
        pen.text((GAP, size[1] - foot), NOTE, NOVEL, font)
    return canvas
