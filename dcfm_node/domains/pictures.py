"""Pictures of samples: panels of several models side by side. They need matplotlib."""

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from dcfm_node.domains import panels as drawn
from dcfm_node.domains.panels import Rings
from dcfm_node.domains.space import Holders, Panel, Space
from dcfm_node.samples import Floats, Samples, unit
from dcfm_node.words import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

COLUMNS, SIDE = 4, 3.1
"""Small panels per row, and the width and height of one in inches."""
LARGE_DPI, SMALL_DPI = 160, 80
MAX_TICKS = 24
"""Most features whose names stand on an axis."""
MAX_KEYS = 5
"""Legend keys per row."""


def draw(
    space: Space,
    panels: Sequence[Panel],
    holders: Holders,
    title: str = "",
    rings: Rings | None = None,
) -> Image.Image:
    """Draw samples of several models side by side; one or two models are drawn large.

    Images with two attributes become a table with one cell per combination. With more than two
    models or another number of attributes, they become one row per model. Vectors of up to three
    numbers become points, longer vectors lines.
    """
    images, large = panels[0].samples.x.ndim == 4, len(panels) <= 2
    if images and not (large and len(space.attributes) == 2):
        return _strips(space, panels, title)
    figure, axes = _large(space, panels, images) if large else _small(panels)
    for one, panel in zip(axes, panels, strict=False):
        if images:
            drawn.table(one, space, panel, holders)
        elif panel.samples.x.shape[1] > 3:
            drawn.lines(one, space, panel)
        else:
            drawn.points(one, space, panel, holders, rings=rings, size=9 if large else 3)
            if large and rings is not None:
                drawn.captions(one, space, panel, holders, rings.centres)
    marked = any(panel.right is not None for panel in panels)
    keys = (_wrong_key() if marked else []) if images else _point_keys(space, panels)
    _legend(figure, [_holder_keys(holders), keys], large)
    if title:
        figure.suptitle(title, fontsize=12, y=1.0 if large else 0.99)
    return rendered(figure, LARGE_DPI if large else SMALL_DPI)


def sheet(space: Space, samples: Samples) -> Image.Image:
    """Vectors or series of one model: a captioned panel for each combination, on equal axes.

    Features of vectors may have different units. More than two are therefore drawn in deviations
    from the mean, each by its own over all samples that are drawn.
    """
    from matplotlib.figure import Figure

    asked = samples.combinations
    across = min(len(asked), COLUMNS)
    down = -(-len(asked) // across)
    figure = Figure(figsize=(SIDE * across, SIDE * down + 0.4), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).flat
    for one in axes[len(asked) :]:
        one.set_axis_off()
    x = samples.x
    if x.ndim == 2 and x.shape[1] > 2:
        x = _in_deviations(unit(x))
    for place, (one, combination) in enumerate(zip(axes, asked, strict=False)):
        novel = combination in space.held_out
        drawn.numbers(one, x[(samples.c == combination).all(axis=1)], novel)
        one.tick_params(labelbottom=place + across >= len(asked))  # none is below it
        name = "\n".join(drawn.caption(space, combination))
        one.set_title(
            name, fontsize=10, color=drawn.NOVEL if novel else drawn.INK, parse_math=False
        )
        one.tick_params(length=0, labelsize=8, colors=drawn.GREY)
        one.spines[:].set_color(drawn.NOVEL if novel else "#cccccc")
    if x.ndim == 2:
        _name_features(figure, axes[0], x.shape[1], [literal(name) for name in space.features])
    if any(combination in space.held_out for combination in asked):
        figure.supxlabel(drawn.NOTE, fontsize=10, color=drawn.NOVEL)
    return rendered(figure, SMALL_DPI)


def _in_deviations(x: Floats) -> Floats:
    """Vectors (N, d) in deviations of each feature from its mean."""
    deviation = x.std(axis=0)
    scaled: Floats = (x - x.mean(axis=0)) / np.where(deviation > 0.0, deviation, np.float32(1.0))
    return scaled


def _name_features(figure: "Figure", axes: "Axes", many: int, names: Sequence[str]) -> None:
    """Say which features the axes show; all panels share those of the first."""
    style: dict[str, Any] = {"fontsize": 9, "color": drawn.GREY}
    if many > 3:
        figure.supylabel("deviations from the mean, of each feature", **style)
        axes.set_xticks(range(0, many, -(-many // MAX_TICKS)))
        if names:
            shown = names[:: -(-many // MAX_TICKS)]
            axes.set_xticklabels(shown, rotation=90)
            for panel in figure.axes:
                panel.tick_params(axis="x", labelrotation=90)
        return
    deviations = " (deviations from the mean)" if many == 3 else ""
    told = list(names) or [f"feature {i}" for i in range(many)]
    depth = f"; in depth: {told[2]}" if many == 3 else ""
    figure.suptitle(
        f"across: {told[0]}" + (f"; up: {told[1]}" if many > 1 else "") + depth + deviations,
        **style,
    )


def _large(space: Space, panels: Sequence[Panel], images: bool) -> "tuple[Figure, Sequence[Axes]]":
    """One axes per panel, with a title and a subtitle above."""
    from matplotlib.figure import Figure

    rows, columns = ([len(a.values) for a in space.attributes] * 2)[:2]
    width, height = (0.725 * columns + 1.1, 0.68 * rows + 2.6) if images else (6.6, 7.9)
    figure = Figure(figsize=(width * len(panels), height))
    axes = list(figure.subplots(1, len(panels), squeeze=False).flat)
    figure.subplots_adjust(left=0.045, right=0.985, top=0.83, bottom=0.155, wspace=0.1)
    lines = max(panel.subtitle.count("\n") for panel in panels)
    for one, panel in zip(axes, panels, strict=True):
        where: dict[str, Any] = {"transform": one.transAxes, "ha": "center"}
        one.text(
            0.5,
            1.135 + 0.03 * lines,
            panel.title,
            fontsize=17,
            weight="bold",
            color=drawn.INK,
            **where,
        )
        one.text(0.5, 1.08, panel.subtitle, fontsize=12.5, color=drawn.GREY, **where)
        if not images:
            one.tick_params(length=0, labelsize=10, colors=drawn.GREY)
            one.spines[:].set_color("#cccccc")
    return figure, axes


def _small(panels: Sequence[Panel]) -> "tuple[Figure, Sequence[Axes]]":
    from matplotlib.figure import Figure

    rows = -(-len(panels) // COLUMNS)
    columns = min(len(panels), COLUMNS)
    figure = Figure(figsize=(SIDE * columns, SIDE * rows + 0.6))
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    height = figure.get_figheight()
    figure.subplots_adjust(0.02, 0.1 / height, 0.98, 1 - 0.75 / height)
    for one in axes:
        one.set_axis_off()
    for one, panel in zip(axes, panels, strict=False):
        one.set_title(panel.title, fontsize=10, color=drawn.INK)
    return figure, axes


def _strips(space: Space, panels: Sequence[Panel], title: str) -> Image.Image:
    """A row of images per model (Figure 5 of DCFM)."""
    from matplotlib.figure import Figure

    chosen = drawn.diverse(space.held_out or panels[0].samples.combinations)
    figure = Figure(figsize=(0.85 * len(chosen) + 2.0, 0.85 * len(panels) + 1.2))
    axes = figure.add_subplot()
    drawn.strips(axes, space, panels)
    axes.set_title(title, fontsize=12, color=drawn.INK, pad=12)
    return rendered(figure, SMALL_DPI)


def rendered(figure: "Figure", dpi: int) -> Image.Image:
    """The figure as a picture, without empty margins."""
    with BytesIO() as buffer:
        figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", bbox_inches="tight")
        return Image.open(BytesIO(buffer.getvalue()))


def _legend(figure: "Figure", rows: "Sequence[Sequence[Line2D]]", large: bool) -> None:
    """Rows of keys, centred below the panels."""
    lines = [row[at : at + MAX_KEYS] for row in rows for at in range(0, len(row), MAX_KEYS)]
    step = 0.27 / figure.get_figheight()
    for place, keys in enumerate(reversed(lines)):
        figure.legend(
            handles=keys,
            loc="lower center",
            bbox_to_anchor=(0.5, 0.005 + step * (place - (0 if large else len(lines)))),
            ncols=len(keys),
            frameon=False,
            fontsize=11.5 if large else 9,
            handlelength=2.6,
        )


def _holder_keys(holders: Holders) -> "list[Line2D]":
    from matplotlib.lines import Line2D

    if not holders:
        return []
    seen = [
        Line2D([], [], color=colour, linewidth=3.2, label=f"seen by {name}")
        for name, colour in drawn.colours_of(holders).items()
    ]
    style = {k: value for k, value in drawn.outlines([])[0].items() if k.startswith("line")}
    return [*seen, Line2D([], [], color=drawn.INK, label="seen by none", **style)]


def _wrong_key() -> "list[Line2D]":
    from matplotlib.lines import Line2D

    return [Line2D([], [], label="a classifier finds another value", **drawn.CROSS)]


def literal(text: str) -> str:
    """The text for matplotlib: plain, and without formulas between two $."""
    return plain(text).replace("$", r"\$")


def _point_keys(space: Space, panels: Sequence[Panel]) -> "list[Line2D]":
    """A key per requested combination; with many, one for known and one for novel ones."""
    from matplotlib.lines import Line2D

    asked = drawn.hues_of(space, panels[0].samples.combinations)
    novel = {c: " (novel)" if c in space.held_out else "" for c in asked}
    names = {
        f"asked for {literal(drawn.name_of(space, c))}{novel[c]}": hue for c, hue in asked.items()
    }
    if len(asked) > len(drawn.KNOWN) + 1:
        names = {"asked for what some silo saw": drawn.KNOWN[0], "for what none saw": drawn.NOVEL}
    dot: dict[str, Any] = {"marker": "o", "markersize": 6, "linestyle": "none"}
    return [Line2D([], [], color=hue, label=name, **dot) for name, hue in names.items()]
