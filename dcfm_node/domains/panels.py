"""Draws a panel onto matplotlib axes: a table of images, points or lines."""

from collections.abc import Callable, Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dcfm_node.domains.space import Holders, Panel, Points, Space
from dcfm_node.samples import Combination, Floats, Samples, unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, GREY, WRONG = "#1b1b1b", "#444444", "#d7191c"
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
"""One colour per silo, chosen for colour-blind readers."""
CHANNEL_COLOURS = ("#0072B2", "#009E73", "#7A5195", "#8C510A", "#56B4E9", "#808000", INK, "#64748B")
"""The same per channel of a series. None is near red: what is novel is red."""
DASHES = ("-", "--", ":", "-.")
KNOWN, NOVEL = ("#64748B", "#8C6D46", "#8E5FB0"), "#C2304A"
"""Colours of points: known combinations cycle through three, all novel ones share one."""
LINES = 8
"""Vectors of each combination in a drawing of lines."""
LETTERS, MOST = 28, 3
"""Most letters in a line of a caption, and most lines; a longer caption ends in dots."""
UNLIKE = 10.0
"""Features whose deviations differ by more than this are not drawn on equal axes."""
NOTE = "novel: no silo trained on it"
CROSS: dict[str, Any] = {
    "marker": "X",
    "markersize": 9,
    "markeredgecolor": "white",
    "color": WRONG,
    "linestyle": "none",
}


class Rings(NamedTuple):
    """Where the points of each combination should be: a centre (d,) each, and one radius."""

    centres: Mapping[Combination, Points]
    radius: float


def alike(x: Floats) -> bool:
    """Whether the features of vectors (N, d) spread alike, so that equal axes show them all."""
    deviation = x.std(axis=0)
    return float(deviation.max()) <= UNLIKE * float(deviation.min())


def table(axes: "Axes", space: Space, panel: Panel, holders: Holders) -> None:
    """The first image of every combination of two attributes, framed in its holders' colours."""
    rows, columns = (attribute.values for attribute in space.attributes)
    _grid(axes, rows, columns)
    silos = colours_of(holders)
    right = panel.right if panel.right is not None else np.ones(len(panel.samples), np.bool_)
    for (row, column), index in _first(panel.samples).items():
        held = holders.get((row, column))
        frame = None if held is None else [silos[name] for name in held]
        _cell(axes, unit(panel.samples.x[index]), row, column, frame)
        if not right[index]:
            axes.plot([column + 0.32], [row - 0.32], zorder=5, clip_on=False, **CROSS)


def strips(axes: "Axes", space: Space, panels: Sequence[Panel]) -> None:
    """A row per model and a column per chosen combination, novel ones if there are any."""
    chosen = diverse(space.held_out or panels[0].samples.combinations)
    names = ["\n".join(space.named(combination)) for combination in chosen]
    _grid(axes, [panel.title for panel in panels], names)
    for row, panel in enumerate(panels):
        first = _first(panel.samples)
        for column, combination in enumerate(chosen):
            if combination in first:
                _cell(axes, unit(panel.samples.x[first[combination]]), row, column, None)


def points(
    axes: "Axes", space: Space, panel: Panel, holders: Holders, *, rings: Rings | None, size: float
) -> None:
    """Points with one to three coordinates, in a colour per combination."""
    hues, samples = hues_of(space, panel.samples.combinations), panel.samples
    for combination, hue in hues.items():
        rows = (samples.c == combination).all(axis=1)
        x, y = plane(samples.x[rows]).T
        axes.scatter(x, y, s=size, color=hue, alpha=0.55, linewidths=0)
    axes.set_aspect("equal")
    if rings is not None:
        _rings(axes, rings, holders)


def captions(
    axes: "Axes", space: Space, panel: Panel, holders: Holders, centres: Mapping[Any, Points]
) -> None:
    """Write beside every ring its combination and the share of right samples."""
    middle = np.mean([plane(centre[None])[0] for centre in centres.values()], axis=0)
    for combination, centre in centres.items():
        rows = (panel.samples.c == combination).all(axis=1)
        if panel.right is None or not rows.any():
            continue
        x, y = plane(centre[None])[0]
        up, unseen = y > middle[1], "" if holders.get(combination) else ", never seen"
        axes.text(
            x,
            y + (1.12 if up else -1.12),
            f"{name_of(space, combination)}{unseen}: {panel.right[rows].mean():.0%} hit",
            ha="center",
            va="bottom" if up else "top",
            fontsize=11,
            fontweight="bold" if unseen else "normal",
        )


def lines(axes: "Axes", space: Space, panel: Panel) -> None:
    """Vectors as lines over their index, the first of each combination."""
    for combination, hue in hues_of(space, panel.samples.combinations).items():
        rows = np.flatnonzero((panel.samples.c == combination).all(axis=1))[:LINES]
        axes.plot(panel.samples.x[rows].T, color=hue, alpha=0.7, linewidth=0.9)


def numbers(axes: "Axes", x: Floats, novel: bool) -> None:
    """Samples of one combination: up to three numbers as points, longer vectors as lines, series
    (N, channels, length) as lines, each channel in a colour and dashes of its own, up to 32."""
    if x.ndim == 2 and x.shape[1] <= 3:
        across, up = plane(x).T
        axes.scatter(across, up, s=9, color=NOVEL if novel else KNOWN[0], alpha=0.55, linewidths=0)
        return
    channels = x[:LINES].reshape(len(x[:LINES]), -1, x.shape[-1]).swapaxes(0, 1)
    for place, lines in enumerate(channels):
        alone = NOVEL if novel else KNOWN[0]
        hue = alone if len(channels) == 1 else CHANNEL_COLOURS[place % len(CHANNEL_COLOURS)]
        dashes = DASHES[place // len(CHANNEL_COLOURS) % len(DASHES)]
        axes.plot(lines.T, color=hue, linestyle=dashes, alpha=0.7, linewidth=0.9)


def caption(
    space: Space, combination: Combination, readable: Callable[[str], str] = str
) -> list[str]:
    """The values of a combination in a few short lines, and whether it is held out.

    Args:
        readable: writes a text so that the font has its letters.
    """
    text = readable(", ".join(space.named(combination)))
    novel = ["novel"] if combination in space.held_out else []
    return [*(wrap(text, LETTERS, max_lines=MOST, placeholder=" ...") or [""]), *novel]


def outlines(colours: Sequence[str]) -> list[dict[str, Any]]:
    """Line styles that, drawn over each other, show every silo that holds a combination.

    The dashes of one silo fill the gaps of the others. A thin dark dashed line means that no silo
    holds the combination.
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


def colours_of(holders: Holders) -> dict[str, str]:
    """Silo -> its colour, in the silos' alphabetical order."""
    names = sorted({name for held in holders.values() for name in held})
    return {name: SILO_COLOURS[i % len(SILO_COLOURS)] for i, name in enumerate(names)}


def hues_of(space: Space, combinations: Sequence[Combination]) -> dict[Combination, str]:
    """Combination -> the colour of its points."""
    known = [c for c in combinations if c not in space.held_out]
    hues = {c: KNOWN[i % len(KNOWN)] for i, c in enumerate(known)}
    return {c: hues.get(c, NOVEL) for c in combinations}


def name_of(space: Space, combination: Combination) -> str:
    """The values of a combination, the last attribute first: "top-right"."""
    return "-".join(reversed(space.named(combination)))


def diverse(combinations: Sequence[Combination]) -> list[Combination]:
    """The combinations, in order, that share no value with one chosen before."""
    taken: list[Combination] = []
    for label in combinations:
        if not any(a == b for other in taken for a, b in zip(label, other, strict=True)):
            taken.append(label)
    return taken


def plane(x: NDArray[Any]) -> NDArray[np.floating[Any]]:
    """Points (N, d) as (N, 2). A third coordinate is drawn as depth."""
    if x.shape[1] == 1:
        return np.concatenate([x, np.zeros_like(x)], axis=1)
    depth = np.array([0.45, 0.3])
    return np.asarray(x[:, :2] + (x[:, 2:3] * depth if x.shape[1] > 2 else 0))


def _rings(axes: "Axes", rings: Rings, holders: Holders) -> None:
    from matplotlib.patches import Circle

    where = {c: plane(centre[None])[0] for c, centre in rings.centres.items()}
    silos = colours_of(holders)
    for combination, centre in where.items():
        for style in outlines([silos[name] for name in holders.get(combination, ())]):
            axes.add_patch(Circle(tuple(centre), radius=rings.radius, **style))
    # Limits follow the modes; samples far outside are cut off.
    stacked = np.stack(list(where.values()))
    low, high = stacked.min(axis=0), stacked.max(axis=0)
    room = 0.35 * float((high - low).max()) + 0.55
    axes.set_xlim(low[0] - room, high[0] + room)
    axes.set_ylim(low[1] - room, high[1] + room)


def _grid(axes: "Axes", rows: Sequence[str], columns: Sequence[str]) -> None:
    """Prepare axes with cells at integer positions and names along two sides."""
    axes.set_xlim(-0.55, len(columns) - 0.45)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.set_aspect("equal")
    long = any(len(name) > 7 and "\n" not in name for name in columns) or len(columns) > 6
    axes.set_xticks(range(len(columns)), columns, rotation=40 if long else 0)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0, labelsize=10.5, labelcolor=INK)
    axes.xaxis.tick_top()
    axes.spines[:].set_visible(False)


def _cell(axes: "Axes", image: Floats, row: int, column: int, frame: Sequence[str] | None) -> None:
    """One image (channels, height, width) in [-1, 1], in a frame of these silos' colours."""
    from matplotlib.patches import Rectangle

    inner, outer = 0.36, 0.42
    pixels = np.clip((image[:3].transpose(1, 2, 0) + 1) / 2, 0, 1)
    axes.imshow(
        np.broadcast_to(pixels, (*pixels.shape[:2], 3)),
        extent=(column - inner, column + inner, row + inner, row - inner),
        interpolation="bicubic",
        aspect="equal",
    )
    for style in [] if frame is None else outlines(frame):
        axes.add_patch(Rectangle((column - outer, row - outer), 2 * outer, 2 * outer, **style))


def _first(samples: Samples) -> dict[Combination, int]:
    """Combination -> index of its first sample, without selection."""
    found: dict[Combination, int] = {}
    for index, label in enumerate(samples.c.tolist()):
        found.setdefault(tuple(label), index)
    return found
