"""Pictures of image experiments: every combination, novel ones by method, precision and recall."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dcfm_node.experiment.results import Row, spread
from dcfm_node.experiment.task import Combination, Labelled, Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NOVEL, INK, FAINT = "#D1495B", "#1b1b1b", "#8a8a8a"
DPI = 80
MARKERS = "osD^vP*X<>phH8d"
COLOURS = ("#4C78A8", "#F58518", "#54A24B", "#B279A2", "#9D755D", "#2CA8A0", "#D1495B")
"""Cycled with the markers; both together never repeat among 105 methods."""


def combination_grid(path: Path, space: Space, shown: Labelled, title: str) -> Path:
    """One sample of every combination: rows are the first of two attributes, columns the second.

    Combinations that no silo holds are framed. The first sample of each is taken, whatever it
    looks like.
    """
    from matplotlib.figure import Figure

    (row_name, rows), (column_name, columns) = space.attributes
    figure = Figure(figsize=(0.62 * len(columns) + 1.2, 0.62 * len(rows) + 1.4))
    axes = _table(figure.add_subplot(), rows, columns, rotated=True)
    for label, image in _first(shown).items():
        row, column = label
        _cell(axes, image, row, column, framed=label in space.held_out)
    axes.set_ylabel(row_name, color=FAINT)
    axes.set_title(title, fontsize=12, color=INK, pad=12)
    axes.set_xlabel(f"{column_name}; framed: no silo holds the combination", color=FAINT)
    figure.savefig(path, dpi=DPI, facecolor="white", bbox_inches="tight")
    return path


def novel_panel(path: Path, space: Space, drawn: Mapping[str, Labelled], title: str) -> Path:
    """Figure 5: a row per method, a column for each of some novel combinations.

    Args:
        drawn: samples by method; the first of each combination is shown.
    """
    from matplotlib.figure import Figure

    chosen = diverse(space.held_out)
    names = ["\n".join(_named(space, label)) for label in chosen]
    figure = Figure(figsize=(0.85 * len(names) + 2.0, 0.85 * len(drawn) + 1.2))
    axes = _table(figure.add_subplot(), list(drawn), names)
    for row, shown in enumerate(drawn.values()):
        first = _first(shown)
        for column, label in enumerate(chosen):
            _cell(axes, first[label], row, column)
    axes.set_title(title, fontsize=12, color=INK, pad=12)
    figure.savefig(path, dpi=DPI, facecolor="white", bbox_inches="tight")
    return path


def precision_recall_panel(path: Path, rows: Sequence[Row], title: str) -> Path:
    """Figure 6: novel precision against novel recall, a panel per partition.

    A method is a marker at the mean over seeds, with a faint one for each seed.
    """
    from matplotlib.figure import Figure

    partitions = list(dict.fromkeys(row.partition for row in rows))
    methods = list(dict.fromkeys(row.method for row in rows))
    figure = Figure(figsize=(4.2 * len(partitions) + 1.8, 4.4))
    panels = figure.subplots(1, len(partitions), squeeze=False, sharex=True, sharey=True)[0]
    for axes, partition in zip(panels, partitions, strict=True):
        for place, method in enumerate(methods):
            mine = [row for row in rows if (row.method, row.partition) == (method, partition)]
            _point(axes, mine, method, place)
        axes.set_title(partition, fontsize=11, color=INK)
        axes.set_xlabel("novel recall", color=INK)
        axes.grid(color="#e5e5e5", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("novel precision", color=INK)
    panels[-1].legend(
        loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize=9, title="method"
    )
    figure.suptitle(title, fontsize=12, color=INK)
    figure.savefig(path, dpi=DPI, facecolor="white", bbox_inches="tight")
    return path


def diverse(combinations: Sequence[Combination]) -> list[Combination]:
    """In order, those that share no value with one taken before: nothing is picked by hand."""
    taken: list[Combination] = []
    for label in combinations:
        if not any(a == b for other in taken for a, b in zip(label, other, strict=True)):
            taken.append(label)
    return taken


def _table(
    axes: "Axes", rows: Sequence[str], columns: Sequence[str], rotated: bool = False
) -> "Axes":
    """Room for cells at integer places, with names around it."""
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.set_xticks(range(len(columns)), columns, rotation=40 if rotated else 0)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0, labelsize=10, labelcolor=INK)
    axes.xaxis.tick_top()
    axes.spines[:].set_visible(False)
    return axes


def _cell(
    axes: "Axes", image: NDArray[np.float32], row: int, column: int, framed: bool = False
) -> None:
    """One image (channels, height, width) in [-1, 1]."""
    from matplotlib.patches import Rectangle

    inner, outer = 0.43, 0.465
    pixels = np.clip((image.transpose(1, 2, 0) + 1) / 2, 0, 1)
    axes.imshow(
        np.broadcast_to(pixels, (*pixels.shape[:2], 3)),
        extent=(column - inner, column + inner, row + inner, row - inner),
        interpolation="bicubic",
    )
    if framed:
        corner = (column - outer, row - outer)
        axes.add_patch(
            Rectangle(corner, 2 * outer, 2 * outer, fill=False, edgecolor=NOVEL, linewidth=2)
        )


def _point(axes: "Axes", rows: Sequence[Row], method: str, place: int) -> None:
    style: dict[str, Any] = {
        "marker": MARKERS[place % len(MARKERS)],
        "color": COLOURS[place % len(COLOURS)],
        "linewidths": 0,
    }
    for row in rows:
        one = spread([row], "recall_novel")[0], spread([row], "precision_novel")[0]
        axes.scatter(*one, s=22, alpha=0.35, **style)
    recall, precision = (spread(rows, f"{name}_novel")[0] for name in ("recall", "precision"))
    axes.scatter(recall, precision, s=80, label=method, **style)


def _first(shown: Labelled) -> dict[Combination, NDArray[np.float32]]:
    found: dict[Combination, NDArray[np.float32]] = {}
    for label, image in zip(shown.c.tolist(), shown.x, strict=True):
        found.setdefault(tuple(label), image)
    return found


def _named(space: Space, label: Combination) -> list[str]:
    return [values[index] for (_, values), index in zip(space.attributes, label, strict=True)]
