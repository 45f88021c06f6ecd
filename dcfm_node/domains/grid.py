"""Images of one model as a table: a row for each value of one attribute, a column for each value of
another; needs Pillow alone."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dcfm_node.domains.panels import INK, NOTE, NOVEL
from dcfm_node.domains.space import Space
from dcfm_node.domains.tiles import EDGE, FONT, GAP, LINE, SIDE, pixels_of, readable
from dcfm_node.samples import Combination, Samples
from dcfm_node.words import plain

WIDEST = 1_600
"""Pixels per side that enlarged images may take together."""
COLUMNS = 24
"""Most values side by side."""
LETTERS = 16
"""Most letters of a name."""


def fits(samples: Samples) -> bool:
    """Whether two attributes vary, every pair of their values occurs, and a picture is wide enough
    for the values of the second."""
    varying = _varying(samples)
    sizes = [len(np.unique(samples.c[:, i])) for i in varying]
    few = len(varying) == 2 and sizes[1] <= COLUMNS
    return few and math.prod(sizes) == len(samples.combinations)


def sheet(space: Space, samples: Samples) -> Image.Image:
    """All images (N, channels, height, width) in [-1, 1], or as bytes, in the cell of their values.

    Names of values stand above the columns and before the rows, with the attributes' names in the
    corner. Cells of combinations in `space.held_out` are framed.
    """
    down, right = _varying(samples)
    rows, columns = (np.unique(samples.c[:, i]).tolist() for i in (down, right))
    most = int(np.unique(samples.c, axis=0, return_counts=True)[1].max())
    across = math.ceil(math.sqrt(most))
    raw = pixels_of(samples)
    side = max(raw.shape[1:3])
    scale = max(1, min(SIDE // side, WIDEST // (side * across * max(len(rows), len(columns)))))
    pixels = raw.repeat(scale, axis=1).repeat(scale, axis=2)
    cell = _size(math.ceil(most / across), pixels.shape[1]), _size(across, pixels.shape[2])
    names = [[_name(space, i, v) for v in of] for i, of in ((down, rows), (right, columns))]
    corner = readable(plain(f"{space.attributes[down].name} / {space.attributes[right].name}"))
    font = _font([corner, *names[0], *names[1], *(fixed := _fixed(space, samples))])
    left = math.ceil(max(font.getlength(line) for line in (corner, *names[0]))) + 3 * GAP
    width = max(cell[1], math.ceil(max(map(font.getlength, names[1]))) + 2 * GAP)
    top, novel = 2 * LINE, set(space.held_out) & set(samples.combinations)
    note = f"framed: {NOTE}"
    foot = [*fixed, *([note] if novel else [])]
    wide = [left + len(columns) * width, *(math.ceil(font.getlength(t)) + 2 * GAP for t in foot)]
    size = max(wide), top + len(rows) * cell[0] + GAP + len(foot) * LINE
    canvas = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(canvas)
    pen.text((GAP, GAP), corner, INK, font)
    for k, name in enumerate(names[1]):
        pen.text((left + k * width + GAP, LINE - GAP), name, INK, font)
    for k, name in enumerate(names[0]):
        pen.text((GAP, top + k * cell[0] + GAP), name, INK, font)
    for combination in samples.combinations:
        at = (
            left + columns.index(combination[right]) * width,
            top + rows.index(combination[down]) * cell[0],
        )
        images = pixels[(samples.c == combination).all(axis=1)]
        _draw(canvas, images, at, across, NOVEL if combination in novel else EDGE)
    for k, line in enumerate(foot):
        where = GAP, size[1] - (len(foot) - k) * LINE
        pen.text(where, line, NOVEL if line == note else INK, font)
    return canvas


def _draw(
    canvas: Image.Image,
    images: NDArray[np.uint8],
    at: tuple[int, int],
    across: int,
    colour: str,
) -> None:
    pen = ImageDraw.Draw(canvas)
    height, width = images.shape[1] + GAP, images.shape[2] + GAP
    if colour == NOVEL:  # one frame around all of them, which stands out from any picture
        down = -(-len(images) // across)
        end = at[0] + min(across, len(images)) * width + 1, at[1] + down * height + 1
        pen.rectangle(((at[0] - 3, at[1] - 3), end), outline=colour, width=2)
    for place, image in enumerate(images):
        x, y = at[0] + place % across * width + 1, at[1] + place // across * height + 1
        end = x + image.shape[1], y + image.shape[0]
        pen.rectangle(((x - 1, y - 1), end), outline=colour)
        canvas.paste(Image.fromarray(image), (x, y))


def _varying(samples: Samples) -> list[int]:
    return [i for i in range(samples.c.shape[1]) if len(np.unique(samples.c[:, i])) > 1]


def _fixed(space: Space, samples: Samples) -> list[str]:
    """The values that all images share, on one line; none if all attributes vary."""
    first: Combination = samples.combinations[0]
    varying = _varying(samples)
    shared = [
        f"{attribute.name}={attribute.values[first[i]]}"
        for i, attribute in enumerate(space.attributes)
        if i not in varying
    ]
    return [readable(plain(", ".join(shared)))[:80]] if shared else []


def _name(space: Space, attribute: int, value: int) -> str:
    name = readable(plain(space.attributes[attribute].values[value]))
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 3]}..."


def _size(many: int, side: int) -> int:
    return many * (side + GAP) + 2 * GAP


def _font(lines: Sequence[str]) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    ascii_only = all(line.isascii() for line in lines)
    return ImageFont.load_default(FONT) if ascii_only else ImageFont.load_default_imagefont()
