"""Slopes of log distance over log steps, distances at equal evaluations, and the picture."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dcfm_node.experiment.figures import COLOURS, DPI, INK
from dcfm_node.experiment.results import Results, Row
from dcfm_node.experiment.switching.settings import RULES, Switching
from dcfm_node.experiment.tables import head, markdown, measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WORDS = """\
Euler samplers with N steps on random Gaussian mixtures that K silos share: `average` follows
Σ_k ρ_k v_k, `switch` one expert drawn with probabilities ρ_k at each step. Both are compared with
the exact flow of the averaged field.

- `law`: W2 between the sampler's law and the flow's, computed on a grid without sampling noise, on
  the line alone.
- `coupled`: root of the mean squared distance between a sample and where the flow carries the same
  noise. It is never below W2, and what the theorem's proof bounds.
- `bias`: W2 between the flow's law and the data's, the ε of the theorem; 0 for exact fields.

A slope is that of log distance over log N, by least squares over all N. The theorem says at most
N^-1/2 for `switch` (slope -0.5 or steeper) and the averaged field should have -1. Mean ± standard
deviation over seeds, which draw modes, weights and owners anew."""
METRICS = {"coupled": "coupled", "w2": "law"}
EXPECTED = {"average": -1.0, "switch": -0.5}


def document(found: Results, given: Switching) -> str:
    """The whole page as Markdown."""
    parts = [head(found, given.title), WORDS, "## Slopes", slopes_table(found.rows, given)]
    parts += ["## Distance by number of steps", distances_table(found.rows, given)]
    parts += [BUYS, buys_table(found.rows, given)]
    return "\n\n".join(parts) + "\n"


BUYS = """\
## At equal evaluations

`switch` with N steps, and `average` with N / K, each with N evaluations of a network a sample.
Below: distance of `switch` over that of `average`; below 1, in bold, switching is the better buy.
Last column: processor time of `switch` over that of `average` at equal numbers of steps."""


def summary(rows: Sequence[Row], given: Switching) -> str:
    """The main table."""
    return slopes_table(rows, given)


def slope(rows: Sequence[Row], metric: str) -> float:
    """Of log metric over log steps, by least squares; NaN with fewer than two numbers of steps."""
    points = [(row.metrics["steps"], row.metrics[metric]) for row in rows if metric in row.metrics]
    if len({steps for steps, _ in points}) < 2:
        return math.nan
    steps, distance = np.log(np.array(points).T)
    return float(np.polyfit(steps, distance, 1)[0])


def slopes_table(rows: Sequence[Row], given: Switching) -> str:
    """A line per problem: both slopes of both samplers, and the bias."""
    lines = []
    for name in measured(rows, given.partitions):
        cells = [
            _said(_by_seed(rows, name, rule, partial(slope, metric=metric)))
            for metric in METRICS
            for rule in RULES
        ]
        bias = _by_seed(rows, name, RULES[0], _bias)
        lines.append([name, *cells, _said(bias, 3)])
    columns = [f"{word}: {rule}" for word in METRICS.values() for rule in RULES]
    return markdown(["problem", *columns, "bias"], lines)


def distances_table(rows: Sequence[Row], given: Switching) -> str:
    """A line per problem, measure and sampler; a column per number of steps."""
    lines = []
    for name in measured(rows, given.partitions):
        for metric, word in METRICS.items():
            for rule in RULES:
                cells = [_said(_values(rows, name, rule, n, metric), 3) for n in given.steps]
                if any(cell != "-" for cell in cells):
                    lines.append([name, word, rule, *cells])
    return markdown(["problem", "measure", "sampler", *map(str, given.steps)], lines)


def buys_table(rows: Sequence[Row], given: Switching) -> str:
    """A line per problem and measure, a column per number of evaluations."""
    lines = []
    for name in measured(rows, given.partitions):
        silos = given.posed[name][0].silos
        for metric, word in METRICS.items():
            cells = []
            for n in given.steps:
                switched = _values(rows, name, "switch", n, metric)
                averaged = _values(rows, name, "average", n // silos, metric)
                ratios = [a / b for a, b in zip(switched, averaged, strict=False)]
                text = _said(ratios)
                cells.append(f"**{text}**" if ratios and np.mean(ratios) < 1 else text)
            if any(cell != "-" for cell in cells):
                lines.append([name, word, str(silos), *cells, _said(_times(rows, name, given))])
    header = ["problem", "measure", "K", *(f"{n} evaluations" for n in given.steps), "time"]
    return markdown(header, lines)


def draw(folder: Path, found: Results, given: Switching) -> list[Path]:
    """Write the picture: a panel per problem, distance against steps, with slopes to compare."""
    from matplotlib.figure import Figure

    names = measured(found.rows, given.partitions)
    columns = min(3, len(names))
    lines = math.ceil(len(names) / columns)
    figure = Figure(figsize=(4.0 * columns, 3.4 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True).flatten()
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    for axes, name in zip(panels, names, strict=False):
        panel(axes, found.rows, given, name)
        axes.set_title(name, fontsize=10, color=INK)
    panels[0].legend(fontsize=7)
    figure.suptitle(f"{given.title}: distance from the exact flow, by steps", fontsize=12)
    path = folder / "switching.png"
    figure.savefig(path, dpi=DPI * 1.5, facecolor="white")
    return [path]


def panel(axes: "Axes", rows: Sequence[Row], given: Switching, name: str) -> None:
    """One problem: a line for each sampler and measure, with deviations over seeds."""
    steps = np.array(given.steps, float)
    for rule, colour in zip(RULES, COLOURS, strict=False):
        for metric, style in zip(METRICS, ("--", "-"), strict=True):
            found = [_values(rows, name, rule, n, metric) for n in given.steps]
            if not all(found):
                continue
            middle = np.array([np.mean(values) for values in found])
            around = [np.std(values) for values in found]
            label = f"{METRICS[metric]}, {rule}"
            axes.errorbar(
                steps, middle, around, color=colour, ls=style, marker="o", ms=3, label=label
            )
            if metric == "coupled":
                line = middle[0] * (steps / steps[0]) ** EXPECTED[rule]
                axes.plot(steps, line, color="#bbbbbb", lw=0.8, zorder=0)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("steps N", fontsize=8)


def _by_seed(
    rows: Sequence[Row], name: str, rule: str, value: Callable[[Sequence[Row]], float]
) -> list[float]:
    mine = [row for row in rows if (row.partition, row.rule) == (name, rule)]
    seeds = sorted({row.seed for row in mine})
    found = [value([row for row in mine if row.seed == seed]) for seed in seeds]
    return [each for each in found if not math.isnan(each)]


def _bias(rows: Sequence[Row]) -> float:
    """The same for every number of steps."""
    return rows[0].metrics.get("bias", math.nan)


def _values(rows: Sequence[Row], name: str, rule: str, steps: int, metric: str) -> list[float]:
    """Of every seed, in order."""
    return [
        row.metrics[metric]
        for row in sorted(rows, key=lambda row: row.seed)
        if (row.partition, row.method) == (name, f"{rule}-{steps}") and metric in row.metrics
    ]


def _times(rows: Sequence[Row], name: str, given: Switching) -> list[float]:
    """Time of `switch` over that of `average`, for each seed, at the largest number of steps."""
    at = max(given.steps)
    switched, averaged = (
        [
            row.cost["microseconds"]
            for row in sorted(rows, key=lambda row: row.seed)
            if (row.partition, row.method) == (name, f"{rule}-{at}")
        ]
        for rule in ("switch", "average")
    )
    return [a / b for a, b in zip(switched, averaged, strict=False)]


def _said(values: Sequence[float], digits: int = 2) -> str:
    if not values:
        return "-"
    text = f"{np.mean(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ± {np.std(values, ddof=1):.{digits}f}"
