"""Pictures of an experiment's samples: what each method draws, known and novel."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dcfm_node.experiment.modes import WITHIN, centres
from dcfm_node.experiment.results import Results, load_samples
from dcfm_node.experiment.settings import Experiment, Posed, combination
from dcfm_node.experiment.task import Combination, Labelled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KNOWN, NOVEL, INK = "#4C78A8", "#D1495B", "#1b1b1b"
DPI, COLUMNS = 140, 4


def draw(folder: Path, found: Results, settings: Experiment) -> list[Path]:
    """Write the pictures of a finished experiment into its folder; the first seed is shown."""
    return [_scatter_grid(folder, partition, settings) for partition in settings.posed]


def samples(folder: Path, partition: str, settings: Experiment) -> Mapping[str, Labelled]:
    """What each method drew with the first seed."""
    return {
        method: load_samples(folder / "samples" / f"{partition}-0-{method}.npz")
        for method in settings.lineup
    }


def _scatter_grid(folder: Path, partition: str, settings: Experiment) -> Path:
    """Figure 3: a panel per method, the first two coordinates of every sample."""
    from matplotlib.figure import Figure

    drawn = samples(folder, partition, settings)
    rows = -(-len(drawn) // COLUMNS)
    figure = Figure(figsize=(3.1 * COLUMNS, 3.1 * rows + 0.6))
    panels = figure.subplots(rows, COLUMNS, squeeze=False, sharex=True, sharey=True).flat
    for panel in panels:
        panel.set_axis_off()
    posed = settings.posed[partition]
    novel = {combination(values, posed.attributes) for values in posed.geometry.held_out}
    for axes, (method, shown) in zip(panels, drawn.items(), strict=False):
        _scatter(axes, method, shown, novel, posed)
    figure.suptitle(
        f"{settings.title}: {partition}. Blue: asked for combinations that some silo holds; "
        "red: that none holds. Circles: three sigma.",
        fontsize=10,
    )
    path = folder / f"samples-{partition}.png"
    figure.savefig(path, dpi=DPI, facecolor="white", bbox_inches="tight")
    return path


def _scatter(
    axes: "Axes",
    method: str,
    shown: Labelled,
    novel: set[Combination],
    posed: Posed,
) -> None:
    from matplotlib.patches import Circle

    asked_novel = np.array([tuple(label) in novel for label in shown.c.tolist()])
    for mask, colour in ((~asked_novel, KNOWN), (asked_novel, NOVEL)):
        axes.scatter(shown.x[mask, 0], shown.x[mask, 1], s=3, color=colour, linewidths=0)
    for label, centre in centres(posed).items():
        colour = NOVEL if label in novel else KNOWN
        around = Circle(
            (centre[0], centre[1] if len(centre) > 1 else 0.0),
            WITHIN * posed.geometry.sigma,
            fill=False,
            edgecolor=colour,
            linewidth=1,
        )
        axes.add_patch(around)
    axes.set_aspect("equal")
    _frame(axes, list(centres(posed).values()))
    axes.set_title(method, fontsize=10, color=INK)


def _frame(
    axes: "Axes", points: Sequence["np.ndarray[tuple[int, ...], np.dtype[np.float64]]"]
) -> None:
    """The modes with room around them, whatever strays outside."""
    stacked = np.stack([np.resize(point, 2) for point in points])
    low, high = stacked.min(axis=0), stacked.max(axis=0)
    room = 0.35 * max(high - low) + 0.5
    axes.set_xlim(low[0] - room, high[0] + room)
    axes.set_ylim(low[1] - room, high[1] + room)
