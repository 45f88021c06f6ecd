"""Top views of the table: the paths of the cube that plans hold (Figure 7 of DCFM), and those that
the robot executed. Right is +y and down is +x, as the simulator's front camera sees them. Needs
matplotlib."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dcfm_node.domains import panels as drawn
from dcfm_node.domains.pictures import LARGE_DPI, literal, rendered
from dcfm_node.domains.robots import plan
from dcfm_node.domains.robots.plan import Array
from dcfm_node.domains.space import Panel, Space
from dcfm_node.samples import Combination, Samples, unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

MOST = 8
"""Most plans in one view."""
WIDTH, HEIGHT = 2.3, 1.35
"""Of one view with its title, in inches."""
SOME = 3
"""Known combinations that a row of several methods shows beside the novel ones."""
LETTERS = 38
"""Of the key below, for each column of views."""
ROOM = 0.03
"""Shown around the table, m."""
TABLE_COLOUR, GOAL_COLOUR = "#f6f4ef", "#e4ecd9"
PALE, MISSED = "#b5b5b5", "#d98c00"
SHOWN = "dot: start, cross: end; green: the quadrant asked for"
"""What the marks mean."""


@dataclass(frozen=True)
class View:
    """What one view shows of plans of one combination.

    Attributes:
        planned: (N, frames, 2) where the cube shall be, x and y in m.
        right: (N,) whether each plan is feasible, or reached its goal if it was executed.
        executed: where the cube was, (steps, 2) each; None for a plan that was not executed. None
            in place of the list if there was no robot.
    """

    planned: Array
    right: NDArray[np.bool_]
    executed: Sequence[Array | None] | None = None


def draw(space: Space, panels: Sequence[Panel], title: str = "") -> Image.Image:
    """The plans of several models. One or two are a table each, with sources in rows and
    destinations in columns; more are a row each, with the novel combinations and a few others."""
    from matplotlib.figure import Figure

    views = [views_of(panel.samples) for panel in panels]
    if len(panels) > 2:
        return _rows(space, [panel.title for panel in panels], views, title)
    down, across = _sides(views[0])
    size = (WIDTH * len(across) * len(panels), HEIGHT * len(down) + 1.0)
    figure = Figure(figsize=size, layout="constrained")
    parts = figure.subfigures(1, len(panels), squeeze=False, wspace=0.04).flat
    for part, panel, found in zip(parts, panels, views, strict=True):
        _table(part, space, found)
        part.suptitle(literal(panel.title), fontsize=15, weight="bold", color=drawn.INK)
    if title:
        figure.suptitle(literal(title), fontsize=12, color=drawn.INK)
    figure.supxlabel(_key(space, views[0], executed=False), fontsize=10, color=drawn.GREY)
    return rendered(figure, LARGE_DPI)


def sheet(space: Space, views: Mapping[Combination, View]) -> Image.Image:
    """The plans of one model, a view for each combination; and what became of them, if they were
    executed."""
    from matplotlib.figure import Figure

    down, across = _sides(views)
    size = (WIDTH * len(across) + 0.6 * (len(across) < 2), HEIGHT * len(down) + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    _table(figure, space, views)
    executed = any(view.executed is not None for view in views.values())
    figure.supxlabel(_key(space, views, executed=executed), fontsize=9, color=drawn.GREY)
    return rendered(figure, LARGE_DPI)


def views_of(samples: Samples) -> dict[Combination, View]:
    """Plans that were not executed, by combination."""
    x = unit(samples.x)
    right, paths = plan.feasible(x, samples.c), planned(x)
    found = {}
    for combination in samples.combinations:
        rows = (samples.c == combination).all(axis=1)
        found[combination] = View(paths[rows], right[rows])
    return found


def planned(plans: Array) -> Array:
    """Where the cube shall be in plans (N, CHANNELS, horizon): (N, horizon, 2), x and y in m."""
    return plan.metres(plans[:, plan.CUBE].transpose(0, 2, 1))[..., :2]


def _rows(
    space: Space,
    titles: Sequence[str],
    views: Sequence[Mapping[Combination, View]],
    title: str,
) -> Image.Image:
    from matplotlib.figure import Figure

    asked = [c for c in views[0] if c in space.held_out]
    moves = [c for c in views[0] if c not in space.held_out and c[0] != c[1]]
    chosen = [*asked, *drawn.diverse(moves)[:SOME]]
    size = (WIDTH * len(chosen), 0.9 * HEIGHT * len(titles) + 1.0)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(titles), len(chosen), squeeze=False)
    for place, (row, name, found) in enumerate(zip(axes, titles, views, strict=True)):
        for one, combination in zip(row, chosen, strict=True):
            if combination in found:
                _view(one, space, combination, found[combination], named=not place)
            else:
                one.set_axis_off()
        row[0].set_ylabel(literal(name), fontsize=11, color=drawn.INK)
    figure.suptitle(literal(title), fontsize=12, color=drawn.INK)
    figure.supxlabel(_key(space, views[0], executed=False), fontsize=10, color=drawn.GREY)
    return rendered(figure, LARGE_DPI)


def _sides(views: Mapping[Combination, View]) -> tuple[list[int], list[int]]:
    """The sources and the destinations that views show."""
    return sorted({a for a, _ in views}), sorted({b for _, b in views})


def _table(figure: "FigureBase", space: Space, views: Mapping[Combination, View]) -> None:
    down, across = _sides(views)
    axes = figure.subplots(len(down), len(across), squeeze=False)
    for row, a in zip(axes, down, strict=True):
        for one, b in zip(row, across, strict=True):
            if (a, b) in views:
                _view(one, space, (a, b), views[a, b])
            else:
                one.set_axis_off()


def _view(
    axes: "Axes", space: Space, combination: Combination, view: View, *, named: bool = True
) -> None:
    """The table with its quadrants, and paths over it."""
    novel = combination in space.held_out
    hue = drawn.NOVEL if novel else drawn.KNOWN[0]
    _ground(axes, combination)
    done = view.executed
    for place in range(min(MOST, len(view.planned))):
        path, right = view.planned[place], bool(view.right[place])
        if done is None:
            _path(axes, path, hue if right else PALE, "solid" if right else "dotted")
            continue
        _path(axes, path, PALE, "dashed")
        if (ran := done[place]) is not None:
            _path(axes, ran, hue if right else MISSED, "solid", marked=False)
    axes.text(
        0.985,
        0.03,
        f"{view.right.sum()} of {len(view.right)}",
        transform=axes.transAxes,
        ha="right",
        va="bottom",
        fontsize=7.5,
        color=drawn.GREY,
    )
    if named:
        names = " to ".join(map(literal, space.named(combination)))
        axes.set_title(
            f"{names}, novel" if novel else names,
            fontsize=8,
            pad=3,
            color=drawn.NOVEL if novel else drawn.INK,
        )
    axes.spines[:].set_color(drawn.NOVEL if novel else "#cccccc")
    axes.spines[:].set_linewidth(1.8 if novel else 0.8)


def _ground(axes: "Axes", combination: Combination) -> None:
    from matplotlib.patches import Rectangle

    (top, left), (bottom, right) = plan.TABLE
    middle_x, middle_y = plan.CENTRE
    axes.set_xlim(left - ROOM, right + ROOM)
    axes.set_ylim(bottom + ROOM, top - ROOM)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    flat: dict[str, Any] = {"linewidth": 0, "zorder": 0}
    size = (right - left, bottom - top)
    axes.add_patch(Rectangle((left, top), *size, facecolor=TABLE_COLOUR, **flat))
    below, beside = divmod(combination[1], 2)
    corner = (middle_y if beside else left, middle_x if below else top)
    half = (size[0] / 2, size[1] / 2)
    axes.add_patch(Rectangle(corner, *half, facecolor=GOAL_COLOUR, **flat))
    line: dict[str, Any] = {"color": "#c9c4b8", "linewidth": 0.8, "zorder": 1}
    axes.plot([left, right], [middle_x, middle_x], **line)
    axes.plot([middle_y, middle_y], [top, bottom], **line)


def _path(axes: "Axes", xy: Array, colour: str, style: str, *, marked: bool = True) -> None:
    axes.plot(xy[:, 1], xy[:, 0], color=colour, linestyle=style, linewidth=1.1, alpha=0.85)
    mark: dict[str, Any] = {"color": colour, "linestyle": "none"}
    if marked:
        axes.plot(xy[0, 1], xy[0, 0], marker="o", markersize=3, **mark)
    axes.plot(xy[-1, 1], xy[-1, 0], marker="x", markersize=5, markeredgewidth=1.4, **mark)


def _key(space: Space, views: Mapping[Combination, View], *, executed: bool) -> str:
    """What lines and marks mean."""
    lines = (
        f"dashed: planned, solid: executed, orange: missed its goal; {SHOWN};"
        " below right: how many reached their goals"
        if executed
        else f"solid: feasible, dotted: not; {SHOWN}; below right: how many are feasible"
    )
    novel = any(combination in space.held_out for combination in views)
    told = wrap(lines, LETTERS * len({b for _, b in views}))
    return "\n".join([*told, *([drawn.NOTE] if novel else [])])
