"""report.png: what the student draws beside what the best silo alone draws."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dcfm_node.data.builtin import SIGMA, Combination, Domain, mode

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from dcfm_node.demo.evaluate import Drawn, Evaluation

SILO_COLOURS = (
    "#E69F00",
    "#0072B2",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#8C510A",
    "#7A5195",
    "#808000",
)
"""One per silo, told apart by colour-blind eyes as far as eight colours can be."""
QUERY_COLOURS = ("#64748B", "#8C6D46", "#8E5FB0", "#C2304A")
"""One per combination asked for, of `gaussians`."""
INK, FAINT, GREY, WRONG = "#1b1b1b", "#8a8a8a", "#444444", "#d7191c"
DPI = 160
MAX_KEYS = 5
"""Keys of the legend in one row."""
CROSS: dict[str, Any] = {
    "marker": "X",
    "markersize": 9,
    "markeredgecolor": "white",
    "color": WRONG,
    "linestyle": "none",
}

Owners = Mapping[Combination, Sequence[str]]
"""Combination -> the silos that hold it; none for the novel ones."""


def draw(path: Path, domain: Domain, owners: Owners, found: "Evaluation") -> None:
    """Write the picture: cells of samples for images, a scatter plot for points in the plane."""
    from matplotlib.figure import Figure

    image = len(domain.sample_shape) == 3
    rows, columns = (len(values) for _, values in domain.attributes)
    size = (1.45 * columns + 2.2, 0.68 * rows + 2.6) if image else (13.2, 7.9)
    figure = Figure(figsize=size)
    for axes, drawn in _panels(figure, domain, found):
        (_grid if image else _scatter)(axes, domain, owners, drawn)
    _legend(figure, _silo_keys(owners), (_wrong_key() if image else _query_keys(domain, owners)))
    figure.savefig(path, dpi=DPI, facecolor="white")


def outlines(colours: Sequence[str]) -> list[dict[str, Any]]:
    """Line styles that, drawn over each other, show every silo that saw a combination.

    Several silos take turns along the line: the dashes of one fill the gaps of the others. A thin
    dashed line in ink says that none did.
    """
    if not colours:
        return [{"edgecolor": INK, "linestyle": (0, (2.4, 1.7)), "linewidth": 2.0, "fill": False}]
    many, dash = len(colours), 3.0
    return [
        {
            "edgecolor": colour,
            "linestyle": "solid" if many == 1 else (place * dash, (dash, dash * (many - 1))),
            "linewidth": 3.2,
            "fill": False,
            "capstyle": "butt",
        }
        for place, colour in enumerate(colours)
    ]


def colours_of(owners: Owners) -> dict[str, str]:
    """Silo -> its colour, in the silos' alphabetical order."""
    names = sorted({name for seen in owners.values() for name in seen})
    return dict(zip(names, SILO_COLOURS, strict=False))


# Images: a cell per combination


def _grid(axes: "Axes", domain: Domain, owners: Owners, drawn: "Drawn") -> None:
    (_, rows), (_, columns) = domain.attributes
    axes.set_xlim(-0.55, len(columns) - 0.45)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.set_aspect("equal")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0, labelsize=10.5)
    axes.xaxis.tick_top()
    for spine in axes.spines.values():
        spine.set_visible(False)
    silos = colours_of(owners)
    for image, label, right in zip(drawn.x, drawn.c.tolist(), drawn.right, strict=True):
        row, column = label
        _cell(axes, image, column, row, [silos[name] for name in owners[row, column]])
        if not right:
            axes.plot([column + 0.32], [row - 0.32], zorder=5, clip_on=False, **CROSS)


def _cell(axes: "Axes", image: Any, column: int, row: int, colours: Sequence[str]) -> None:
    """One sample (3, height, width) in [-1, 1], and a frame of the silos that saw its like."""
    from matplotlib.patches import Rectangle

    inner, outer = 0.36, 0.42
    axes.imshow(
        np.clip((image.transpose(1, 2, 0) + 1) / 2, 0, 1),
        extent=(column - inner, column + inner, row + inner, row - inner),
        interpolation="bicubic",
        aspect="equal",
    )
    for style in outlines(colours):
        axes.add_patch(Rectangle((column - outer, row - outer), 2 * outer, 2 * outer, **style))


# Points in the plane: a ring per mode


def _scatter(axes: "Axes", domain: Domain, owners: Owners, drawn: "Drawn") -> None:
    from matplotlib.patches import Circle

    axes.set_xlim(-3.1, 3.1)
    axes.set_ylim(-3.1, 3.1)
    axes.set_aspect("equal")
    (_, horizontal), (_, vertical) = domain.attributes
    axes.set_xticks([mode((0, 0))[0], mode((1, 1))[0]], horizontal)
    axes.set_yticks([mode((0, 0))[1], mode((1, 1))[1]], vertical, rotation=90, va="center")
    axes.tick_params(length=0, labelsize=12, colors=GREY)
    for spine in axes.spines.values():
        spine.set_color("#cccccc")
    silos = colours_of(owners)
    for combination, hue in _hues(owners).items():
        rows = (drawn.c == combination).all(axis=1)
        x, y = drawn.x[rows].T
        axes.scatter(x, y, s=9, color=hue, alpha=0.55, linewidths=0)
        for style in outlines([silos[name] for name in owners[combination]]):
            axes.add_patch(Circle(tuple(mode(combination)), radius=3 * SIGMA, **style))
        _caption(axes, domain, combination, float(drawn.right[rows].mean()), owners)


def _caption(
    axes: "Axes", domain: Domain, combination: Combination, share: float, owners: Owners
) -> None:
    x, y = (float(value) for value in mode(combination))
    away = 1.12 if y > 0 else -1.12
    unseen = "" if owners[combination] else ", never seen"
    axes.text(
        x,
        y + away,
        f"{_named(domain, combination)}{unseen}: {share:.0%} hit",
        ha="center",
        va="bottom" if y > 0 else "top",
        fontsize=11,
        fontweight="normal" if owners[combination] else "bold",
    )


def _hues(owners: Owners) -> dict[Combination, str]:
    return dict(zip(sorted(owners), QUERY_COLOURS, strict=True))


def _named(domain: Domain, combination: Combination) -> str:
    """The values of a combination, the last attribute first: "top-right"."""
    values = [
        names[index] for (_, names), index in zip(domain.attributes, combination, strict=True)
    ]
    return "-".join(reversed(values))


# Titles and legend


def _panels(figure: "Figure", domain: Domain, found: "Evaluation") -> "list[tuple[Axes, Drawn]]":
    """Two axes with their titles: the student left, the best silo right."""
    axes = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.045, right=0.985, top=0.83, bottom=0.155, wspace=0.1)
    texts = (
        (f"One student of {len(domain.silos)} silos", "student"),
        (f"The best silo alone: {found.best_silo}", "single_silo_best"),
    )
    for panel, (title, method) in zip(axes, texts, strict=True):
        share = found.accuracy[method]
        told = f"{share['known']:.0%} right where some silo saw it, {share['novel']:.0%} where none"
        where = {"transform": panel.transAxes, "ha": "center"}
        panel.text(0.5, 1.135, title, fontsize=17, weight="bold", color=INK, **where)
        panel.text(0.5, 1.08, told, fontsize=12.5, color=GREY, **where)
    return list(zip(axes, (found.student, found.single), strict=True))


def _legend(figure: "Figure", *rows: "Sequence[Line2D]") -> None:
    """Rows of keys, centred below the panels."""
    lines = [row[at : at + MAX_KEYS] for row in rows for at in range(0, len(row), MAX_KEYS)]
    for place, keys in enumerate(reversed(lines)):
        figure.legend(
            handles=keys,
            loc="lower center",
            bbox_to_anchor=(0.5, 0.005 + 0.034 * place),
            ncols=len(keys),
            frameon=False,
            fontsize=11.5,
            handlelength=2.6,
        )


def _silo_keys(owners: Owners) -> "list[Line2D]":
    from matplotlib.lines import Line2D

    seen = [
        Line2D([], [], color=colour, linewidth=3.2, label=f"seen by {name}")
        for name, colour in colours_of(owners).items()
    ]
    style = {key: value for key, value in outlines([])[0].items() if key.startswith("line")}
    return [*seen, Line2D([], [], color=INK, label="seen by none", **style)]


def _wrong_key() -> "list[Line2D]":
    from matplotlib.lines import Line2D

    return [Line2D([], [], label="a classifier finds another digit or colour", **CROSS)]


def _query_keys(domain: Domain, owners: Owners) -> "list[Line2D]":
    from matplotlib.lines import Line2D

    dot: dict[str, Any] = {"marker": "o", "markersize": 6, "linestyle": "none"}
    return [
        Line2D([], [], color=hue, label=f"asked for {_named(domain, combination)}", **dot)
        for combination, hue in _hues(owners).items()
    ]
