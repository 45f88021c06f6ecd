"""Novel accuracy over weight, place in t and dependence: tables, and one picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dcfm_node.experiment.figures import DPI, INK
from dcfm_node.experiment.penalty.settings import OFF, Penalty
from dcfm_node.experiment.results import Results, Row, spread
from dcfm_node.experiment.tables import cell, head, markdown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TABLES = {
    "Novel accuracy": "novel_accuracy",
    "Known accuracy": "known_accuracy",
    "Energy distance of novel samples": "distance_novel",
    "Energy distance of known samples": "distance_known",
}
WORDS = """\
One model of the pooled known data for each row, at the `auto` settings of its kind of data, sampled
by the joint head without guidance. `off`: without the penalty (Eq. 10 of DCFM). `early-1`: with
weight λ = 1 for t < 1/2, where samples are mostly noise; `late`: for t ≥ 1/2; `all`: everywhere.
Half of the penalty's labels come from the product space. `dependence`: share of the variance of the
combinations' means, in real samples, that no sum of effects explains; "-" where means do not
differ. Accuracy: the exact judge finds every value. Energy distance: in units of the spread of
real samples, 0 is none. Names with a dial: form, dependence and noise in percent. Mean ± standard
deviation over seeds."""


def document(found: Results, given: Penalty) -> str:
    """The whole page as Markdown."""
    parts = [head(found, given.title), WORDS]
    for title, metric in TABLES.items():
        parts += [f"## {title}", table(found.rows, given, metric)]
    parts += ["## Process seconds of training", table(found.rows, given, "cpu_seconds")]
    return "\n\n".join(parts) + "\n"


def summary(rows: Sequence[Row], given: Penalty) -> str:
    """The main table."""
    return table(rows, given, "novel_accuracy")


def table(rows: Sequence[Row], given: Penalty, metric: str) -> str:
    """A line per problem, a column per weight and place."""
    lines, made = [], {row.method for row in rows}
    variants = [variant for variant in given.variants if variant in made]
    for name in _measured(rows, given.partitions):
        cells = [cell(_of(rows, name, OFF), "dependence")]
        for variant in variants:
            mine = _of(rows, name, variant)
            if metric == "cpu_seconds":
                cells.append(f"{np.mean([r.cost[metric] for r in mine]):.1f}" if mine else "-")
            else:
                cells.append(cell(mine, metric))
        lines.append([name, *cells])
    return markdown(["problem", "dependence", *variants], lines)


def draw(folder: Path, found: Results, given: Penalty) -> list[Path]:
    """Write the map: a column per place in t, a row of panels per form and noise, and one of the
    other problems by dependence."""
    from matplotlib.figure import Figure

    blends = {
        f"{blend.form}, noise {blend.noise:g}": [blend.name(d) for d in blend.dependence]
        for blend in given.blend
    }
    named = {**blends, "other problems": given.problems}
    measured = ((title, _measured(found.rows, names)) for title, names in named.items())
    groups = [(title, names) for title, names in measured if names]
    heights = [len(names) + 1.2 for _, names in groups]
    wide = 1.6 + 3.4 * len(given.times)
    figure = Figure(figsize=(wide, 0.42 * sum(heights) + 1.2), layout="constrained")
    panels = figure.subplots(
        len(groups), len(given.times), squeeze=False, sharey="row", height_ratios=heights
    )
    image = None
    for line, (title, names) in zip(panels, groups, strict=True):
        for axes, time in zip(line, given.times, strict=True):
            axes.set_title(f"{title}: {PLACES[time]}", fontsize=9, color=INK)
            image = panel(axes, found.rows, given, time, names) or image
        line[0].set_ylabel("dependence", fontsize=9, color=INK)
    for axes in panels[-1]:
        axes.set_xlabel("weight λ of the penalty", fontsize=9, color=INK)
    if image is not None:
        bar = figure.colorbar(image, ax=panels, shrink=0.4, pad=0.01)  # type: ignore[arg-type]
        bar.set_label("gain in novel accuracy over λ = 0", fontsize=9)
    figure.suptitle(f"{given.title}: novel accuracy, below it known", fontsize=12, color=INK)
    path = folder / "penalty.png"
    figure.savefig(path, dpi=DPI * 1.5, facecolor="white")
    return [path]


MOST, DARK = 0.6, 0.45
"""Gain of the darkest colour, and above which text on it is white."""
PLACES = {"all": "all t", "early": "t < ½ (noise)", "late": "t ≥ ½ (data)"}


def panel(
    axes: "Axes", rows: Sequence[Row], given: Penalty, time: str, names: Sequence[str]
) -> object:
    """Cells of one place in t. Returns the image, None if nothing was measured."""
    columns = [OFF, *(v for v, (w, t) in given.variants.items() if t == time and v != OFF)]
    novel, known = (
        np.array([[_mean(rows, name, v, f"{kind}_accuracy") for v in columns] for name in names])
        for kind in ("novel", "known")
    )
    if np.isnan(novel[:, 1:]).all():
        axes.set_visible(False)
        return None
    image = axes.imshow(novel - novel[:, :1], cmap="RdBu", vmin=-MOST, vmax=MOST, aspect="auto")
    for (y, x), value in np.ndenumerate(novel):
        if np.isfinite(value):
            text = f"{value:.2f}\n{known[y, x]:.2f}"
            ink = "white" if abs(value - novel[y, 0]) > DARK else INK
            axes.text(x, y, text, ha="center", va="center", fontsize=6.5, color=ink)
    weights = ["0", *(f"{w:g}" for w in given.weights)]
    axes.set_xticks(range(len(weights)), weights, fontsize=8)
    axes.set_yticks(range(len(names)), [_label(rows, given, name) for name in names], fontsize=8)
    return image


def _label(rows: Sequence[Row], given: Penalty, name: str) -> str:
    if name in given.blends:
        return f"{given.blends[name][1]:g}"
    share = _mean(rows, name, OFF, "dependence")
    return name if np.isnan(share) else f"{name}, {share:.2f}"


def _measured(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """The problems that have a row without the penalty."""
    return [name for name in names if _of(rows, name, OFF)]


def _mean(rows: Sequence[Row], name: str, variant: str, metric: str) -> float:
    """Over seeds."""
    return spread(_of(rows, name, variant), metric)[0]


def _of(rows: Sequence[Row], name: str, variant: str | None = None) -> list[Row]:
    return [r for r in rows if r.partition == name and variant in (None, r.method)]
