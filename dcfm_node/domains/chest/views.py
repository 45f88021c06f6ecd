"""Pictures of radiographs: a row for each model, a column for each combination (Figure 8)."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dcfm_node.domains.chest import table
from dcfm_node.domains.panels import INK, NOVEL
from dcfm_node.domains.settings import SYNTHETIC
from dcfm_node.domains.space import REAL, Panel, Space
from dcfm_node.domains.tiles import pixels_of, readable
from dcfm_node.samples import Combination, Samples

SIDE, GAP, LINE, FONT = 64, 3, 15, 12
"""Least pixels per side of an image; space around images; height of lines and letters."""
SINGLE, MULTIPLE = 4, 5
"""Columns of combinations with one finding at most, and with several."""
NOVELTIES = 2
"""Of the latter, combinations that nobody trained on, if there are as many."""
SHOWN = 2
"""Images of a combination, side by side."""
SOURCE = "Real images: NIH Clinical Center, ChestX-ray14 (Wang et al., CVPR 2017, pp. 3462-3471)."


def draw(space: Space, panels: Sequence[Panel], title: str = "") -> Image.Image:
    """The first samples of each model, beside real ones if a panel is titled REAL."""
    asked = [combination for p in panels for combination in p.samples.combinations]
    columns = _columns(asked, space.held_out)
    rows = [(panel.title, panel.samples) for panel in panels]
    return _drawn(space, rows, columns, title)


def sheet(space: Space, samples: Samples) -> Image.Image:
    """All samples of one model, a row for each combination."""
    asked = samples.combinations
    font, notes = _font(), [SYNTHETIC]
    pixels = _enlarged(samples)
    side = pixels.shape[1]
    counts = np.unique(samples.c, axis=0, return_counts=True)[1]
    text = int(max(font.getlength(_named(c)) for c in asked)) + 4 * GAP
    width = text + int(counts.max()) * (side + GAP) + GAP
    canvas, pen = _canvas(max(width, _wide(notes)), len(asked) * (side + GAP) + LINE + 2 * GAP)
    for place, combination in enumerate(asked):
        top = place * (side + GAP) + GAP
        novel = combination in space.held_out
        pen.text((GAP, top), _named(combination), NOVEL if novel else INK, font)
        mine = pixels[(samples.c == combination).all(axis=1)]
        for k, image in enumerate(mine):
            canvas.paste(Image.fromarray(image), (text + k * (side + GAP), top))
    pen.text((GAP, canvas.height - LINE - GAP), notes[0], INK, font)
    return canvas


def pairs(samples: Samples, copies: Samples, title: str) -> Image.Image:
    """Images above copies of them."""
    above, below = _enlarged(samples), _enlarged(copies)
    side, notes = above.shape[1], [title, SOURCE]
    width = max(len(above) * (side + GAP) + GAP, _wide(notes))
    canvas, pen = _canvas(width, 2 * (side + GAP) + 2 * LINE + 2 * GAP)
    for top, images in enumerate((above, below)):
        for k, image in enumerate(images):
            canvas.paste(Image.fromarray(image), (GAP + k * (side + GAP), GAP + top * (side + GAP)))
    for line, note in enumerate(notes):
        pen.text((GAP, canvas.height - (2 - line) * LINE - GAP), note, INK, _font())
    return canvas


def _columns(asked: Sequence[Combination], novel: Collection[Combination]) -> list[Combination]:
    """Those that are shown: of few findings first, those of most models first. Among several
    findings, NOVELTIES novel ones come first."""
    found: dict[Combination, int] = {}
    for combination in asked:
        found[combination] = found.get(combination, 0) + 1
    order = sorted(found, key=lambda c: (-found[c], sum(c), tuple(-v for v in c)))
    single = [c for c in order if sum(c) < 2][:SINGLE]
    several = [c for c in order if sum(c) > 1]
    first = [c for c in several if c in novel][:NOVELTIES]
    return [*single, *first, *[c for c in several if c not in first][: MULTIPLE - len(first)]]


def _drawn(
    space: Space,
    rows: Sequence[tuple[str, Samples]],
    columns: Sequence[Combination],
    title: str,
) -> Image.Image:
    font, notes = _font(), [SYNTHETIC, *([SOURCE] if any(r[0] == REAL for r in rows) else [])]
    images = [_enlarged(samples) for _, samples in rows]
    side = images[0].shape[1]
    names = [_named(combination).split("|") for combination in columns]
    head = (bool(title) + max(map(len, names))) * LINE + GAP
    text = int(max(font.getlength(readable(name)) for name, _ in rows)) + 3 * GAP
    cell = (
        max(SHOWN * (side + GAP), *(int(font.getlength(n)) for of in names for n in of)) + 2 * GAP
    )
    width = max(text + len(columns) * cell, _wide([title, *notes]))
    height = head + len(rows) * (side + GAP) + len(notes) * LINE + 2 * GAP
    canvas, pen = _canvas(width, height)
    pen.text((GAP, 0), readable(title), INK, font)
    for place, (combination, lines) in enumerate(zip(columns, names, strict=True)):
        colour = NOVEL if combination in space.held_out else INK
        for line, name in enumerate(lines):
            pen.text((text + place * cell, (bool(title) + line) * LINE), name, colour, font)
    for down, ((name, samples), pixels) in enumerate(zip(rows, images, strict=True)):
        top = head + down * (side + GAP)
        pen.text((GAP, top + side // 2 - LINE), readable(name), INK, font)
        for place, combination in enumerate(columns):
            mine = pixels[(samples.c == combination).all(axis=1)][:SHOWN]
            for k, image in enumerate(mine):
                at = text + place * cell + k * (side + GAP), top
                canvas.paste(Image.fromarray(image), at)
    for line, note in enumerate(notes):
        top = height - (len(notes) - line) * LINE - GAP
        pen.text((GAP, top), note, INK, font)
    return canvas


def _enlarged(samples: Samples) -> NDArray[np.uint8]:
    pixels = pixels_of(samples)
    scale = max(1, SIDE // pixels.shape[1])
    return pixels.repeat(scale, axis=1).repeat(scale, axis=2)


def _named(combination: Combination) -> str:
    return table.named(combination)


def _font() -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    return ImageFont.load_default(FONT)


def _wide(lines: Sequence[str]) -> int:
    return int(max(_font().getlength(readable(line)) for line in lines)) + 2 * GAP


def _canvas(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    canvas = Image.new("RGB", (width, height), "white")
    return canvas, ImageDraw.Draw(canvas)
