"""The pictures of an experiment, from its folder alone: what methods draw, and their curves."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dcfm_node.experiment import images
from dcfm_node.experiment.modes import WITHIN, centres
from dcfm_node.experiment.results import Results, Row, load_samples
from dcfm_node.experiment.settings import Experiment, Posed
from dcfm_node.experiment.task import Combination, Labelled, Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KNOWN, NOVEL, INK = "#4C78A8", "#D1495B", "#1b1b1b"
COLUMNS = 4
SIDE = 3.1
"""Inches of a panel."""


def draw(folder: Path, found: Results, settings: Experiment) -> list[Path]:
    """Write the pictures of a finished experiment into its folder; the first seed is shown.

    Samples are drawn where they are: a folder that was handed on may hold results alone.
    """
    written = []
    sampled = settings.partitions if (folder / "samples").is_dir() else ()
    for partition in sampled:
        if settings.images is None:
            written.append(_scatter_grid(folder, partition, settings))
        else:
            written += _image_grids(folder, partition, settings)
    if settings.images is not None:
        title = f"{settings.title}: novel combinations"
        path = folder / "precision-recall.png"
        written.append(images.precision_recall_panel(path, found.rows, title))
    if any(row.rounds for row in found.rows):
        written.append(_curves(folder / "rounds.png", found.rows, settings))
    return written


def _samples(
    folder: Path, partition: str, settings: Experiment
) -> tuple[dict[str, Labelled], Space]:
    """What each method drew with the first seed."""
    drawn = {}
    for method in settings.lineup:
        drawn[method], space = load_samples(folder / "samples" / f"{partition}-0-{method}.npz")
    return drawn, space


def _image_grids(folder: Path, partition: str, settings: Experiment) -> list[Path]:
    drawn, space = _samples(folder, partition, settings)
    panel = folder / f"novel-{partition}.png"
    images.novel_panel(panel, space, drawn, f"{partition}: combinations that no silo holds")
    grids = [
        images.combination_grid(
            folder / f"grid-{partition}-{method}.png", space, shown, f"{method}, {partition}"
        )
        for method, shown in drawn.items()
        if method.startswith("dcfm")
    ]
    return [panel, *grids]


def _panels(count: int) -> "tuple[Figure, Sequence[Axes]]":
    from matplotlib.figure import Figure

    rows = -(-count // COLUMNS)
    columns = min(count, COLUMNS)
    figure = Figure(figsize=(SIDE * columns, SIDE * rows + 0.6))
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _scatter_grid(folder: Path, partition: str, settings: Experiment) -> Path:
    """Figure 3: a panel per method, the first two coordinates of every sample."""
    drawn, space = _samples(folder, partition, settings)
    figure, panels = _panels(len(drawn))
    for panel in panels:
        panel.set_axis_off()
    for axes, (method, shown) in zip(panels, drawn.items(), strict=False):
        axes.set_title(method, fontsize=10, color=INK)
        _scatter(axes, shown, set(space.held_out), settings.posed[partition])
    figure.suptitle(
        f"{settings.title}: {partition}\n"
        "blue: combinations that some silo holds; red: that none holds; circles: three sigma",
        fontsize=10,
    )
    path = folder / f"samples-{partition}.png"
    figure.savefig(path, dpi=images.DPI, facecolor="white", bbox_inches="tight")
    return path


def _scatter(axes: "Axes", shown: Labelled, novel: set[Combination], posed: Posed) -> None:
    from matplotlib.patches import Circle

    asked_novel = np.array([tuple(label) in novel for label in shown.c.tolist()])
    for mask, colour in ((~asked_novel, KNOWN), (asked_novel, NOVEL)):
        plane = _plane(shown.x[mask])
        axes.scatter(plane[:, 0], plane[:, 1], s=3, color=colour, linewidths=0)
    where = {label: _plane(centre[None])[0] for label, centre in centres(posed).items()}
    for label, (across, up) in where.items():
        radius, colour = WITHIN * posed.geometry.sigma, NOVEL if label in novel else KNOWN
        circle = Circle((across, up), radius, fill=False, edgecolor=colour, linewidth=1)
        axes.add_patch(circle)
    axes.set_aspect("equal")
    # The modes with room around them, whatever strays outside.
    stacked = np.stack(list(where.values()))
    low, high = stacked.min(axis=0), stacked.max(axis=0)
    room = 0.35 * float((high - low).max()) + 0.5
    axes.set_xlim(low[0] - room, high[0] + room)
    axes.set_ylim(low[1] - room, high[1] + room)


def _plane(x: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Points (N, d) as (N, 2). A third coordinate is drawn as depth, as cubes are on paper."""
    if x.shape[1] == 1:
        return np.concatenate([x, np.zeros_like(x)], axis=1)
    depth = np.array([0.45, 0.3])
    return np.asarray(x[:, :2] + (x[:, 2:3] * depth if x.shape[1] > 2 else 0))


def _curves(path: Path, rows: Sequence[Row], settings: Experiment) -> Path:
    """Known and novel accuracy round by round, against training time and against traffic."""
    with_rounds = [row for row in rows if row.rounds]
    methods = list(dict.fromkeys(row.method for row in with_rounds))
    figure, panels = _panels(2 * len(settings.partitions))
    for panel in panels[2 * len(settings.partitions) :]:
        panel.set_axis_off()
    for place, partition in enumerate(settings.partitions):
        for axes, cost in zip(panels[2 * place :], ("cpu_seconds", "traffic"), strict=False):
            for index, method in enumerate(methods):
                mine = [r for r in with_rounds if (r.partition, r.method) == (partition, method)]
                _curve(axes, mine, cost, method, index)
            axes.set_title(partition, fontsize=9)
            axes.set_xlabel(COSTS[cost], fontsize=8)
            axes.set_ylim(-0.03, 1.03)
            axes.tick_params(labelsize=8)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncols=4, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.5 / figure.get_figheight()))
    figure.savefig(path, dpi=images.DPI, facecolor="white", bbox_inches="tight")
    return path


COSTS = {
    "cpu_seconds": "process seconds of all training; novel (line), known (dotted)",
    "traffic": "networks sent and received by a silo",
}


def _curve(axes: "Axes", rows: Sequence[Row], cost: str, method: str, place: int) -> None:
    """Means over seeds."""
    colour = images.COLOURS[place % len(images.COLOURS)]
    marker = images.MARKERS[place % len(images.MARKERS)]
    if not rows:
        return

    def mean(name: str) -> NDArray[np.floating[Any]]:
        found = [[round_[name] for round_ in row.rounds] for row in rows]
        return np.asarray(np.mean(found, axis=0))

    spent = mean("sent") + mean("received") if cost == "traffic" else mean(cost)
    axes.plot(
        spent, mean("novel_accuracy"), lw=1.2, marker=marker, ms=4, color=colour, label=method
    )
    axes.plot(spent, mean("known_accuracy"), linestyle=":", lw=1, color=colour)
