"""Draws the pictures of an experiment from its folder: samples and curves of methods."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dcfm_node.domains.space import REAL, Holders, Panel, Space
from dcfm_node.experiment.results import Results, Row, load_samples, spread
from dcfm_node.experiment.settings import Experiment
from dcfm_node.experiment.tables import measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1b1b1b"
DPI = 80
COLUMNS, SIDE = 4, 3.1
"""Panels per row, and the size of one in inches."""
MARKERS = "osD^vP*X<>phH8d"
COLOURS = ("#4C78A8", "#F58518", "#54A24B", "#B279A2", "#9D755D", "#2CA8A0", "#D1495B")
"""Colours, cycled with the markers; no pair repeats among 105 methods."""
SOMEBODY = "some silo"
"""Name for all holders, because saved samples do not say which silo holds a combination."""


def draw(folder: Path, found: Results, settings: Experiment) -> list[Path]:
    """Write the pictures of what has rows into the experiment's folder, for the first seed.

    Samples are drawn where they are: a folder that somebody passed on may hold only results.
    """
    written = []
    if (folder / "samples").is_dir():
        for partition in settings.partitions:
            mine = [row for row in found.rows if (row.partition, row.seed) == (partition, 0)]
            if mine:
                written += _samples(folder, mine, settings)
    if any("precision_novel" in row.metrics for row in found.rows):
        title = f"{settings.title}: novel combinations"
        written.append(precision_recall(folder / "precision-recall.png", found.rows, title))
    if any(row.rounds for row in found.rows):
        written.append(_curves(folder / "rounds.png", found.rows, settings))
    return written


def precision_recall(path: Path, rows: Sequence[Row], title: str) -> Path:
    """Figure 6 of DCFM: novel precision against novel recall, a panel per partition.

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


def _samples(folder: Path, rows: Sequence[Row], settings: Experiment) -> list[Path]:
    """What each method drew on one partition: all in one picture, and ours in one each."""
    partition, seed = rows[0].partition, rows[0].seed
    problem, _ = settings.posed[partition]
    panels = []
    for row in rows:
        shown, space = load_samples(folder / "samples" / f"{partition}-{seed}-{row.method}.npz")
        panels.append(Panel(row.method, shown))
    title, holders = f"{settings.title}: {partition}", _holders(space, panels[0])
    public = folder / "samples" / f"{partition}-{seed}.npz"
    real = [Panel(REAL, load_samples(public)[0])] if public.is_file() else []
    ours = [panel for panel in panels if panel.title.startswith("dcfm") and len(panels) > 1]
    written = []
    for name, chosen in (("", panels), *((f"-{panel.title}", [panel]) for panel in ours)):
        path = folder / f"samples-{partition}{name}.png"
        problem.made.draw(space, [*real, *chosen], holders, title).save(path)
        written.append(path)
    return written


def _holders(space: Space, panel: Panel) -> Holders:
    asked = panel.samples.combinations
    return {c: () if c in space.held_out else (SOMEBODY,) for c in asked}


def _panels(count: int) -> "tuple[Figure, Sequence[Axes]]":
    from matplotlib.figure import Figure

    rows = -(-count // COLUMNS)
    columns = min(count, COLUMNS)
    figure = Figure(figsize=(SIDE * columns, SIDE * rows + 0.6))
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _curves(path: Path, rows: Sequence[Row], settings: Experiment) -> Path:
    """Known and novel accuracy round by round, against training time and against traffic."""
    with_rounds = [row for row in rows if row.rounds]
    methods = list(dict.fromkeys(row.method for row in with_rounds))
    partitions = measured(with_rounds, settings.partitions)
    figure, panels = _panels(2 * len(partitions))
    for panel in panels[2 * len(partitions) :]:
        panel.set_axis_off()
    for place, partition in enumerate(partitions):
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
    figure.savefig(path, dpi=DPI, facecolor="white", bbox_inches="tight")
    return path


COSTS = {
    "cpu_seconds": "process seconds of all training; novel (line), known (dotted)",
    "traffic": "networks sent and received by a silo",
}


def _curve(axes: "Axes", rows: Sequence[Row], cost: str, method: str, place: int) -> None:
    """Means over seeds."""
    colour = COLOURS[place % len(COLOURS)]
    marker = MARKERS[place % len(MARKERS)]
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
