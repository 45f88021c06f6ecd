"""Pictures of texts: a column of lines for each model. They need matplotlib."""

from collections.abc import Sequence

from PIL import Image

from dcfm_node.domains import panels as drawn
from dcfm_node.domains.pictures import COLUMNS, SMALL_DPI, literal, rendered
from dcfm_node.domains.space import Panel, Space
from dcfm_node.words import plain

EACH, LONGEST, MOST = 3, 56, 40
"""Lines of each combination, letters of a line, and lines of a model."""
WRONG = "#c0392b"


def draw(
    space: Space, panels: Sequence[Panel], texts: Sequence[Sequence[str] | None], title: str = ""
) -> Image.Image:
    """Draw the first texts of each combination, novel combinations last; wrong ones are red."""
    from matplotlib.figure import Figure

    across = min(len(panels), COLUMNS)
    down = -(-len(panels) // across)
    rows = [_lines(space, panel, text or ()) for panel, text in zip(panels, texts, strict=True)]
    tallest = max(map(len, rows))
    figure = Figure(figsize=(5.6 * across, (0.17 * tallest + 0.5) * down), layout="constrained")
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for one in axes:
        one.set_axis_off()
    for one, panel, lines in zip(axes, panels, rows, strict=False):
        one.set_title(literal(panel.title), fontsize=10, loc="left", parse_math=False)
        for place, (text, colour) in enumerate(lines):
            one.text(
                0.0,
                1 - (place + 0.5) / tallest,
                text,
                fontsize=8,
                family="monospace",
                color=colour,
                transform=one.transAxes,
                verticalalignment="center",
                parse_math=False,
            )
    if title:
        figure.suptitle(title, fontsize=12)
    return rendered(figure, SMALL_DPI)


def _lines(space: Space, panel: Panel, texts: Sequence[str]) -> list[tuple[str, str]]:
    """What to write, and its colour."""
    found: list[tuple[str, str]] = []
    labels = [tuple(label) for label in panel.samples.c.tolist()]
    for combination in sorted(set(labels), key=lambda c: (c in space.held_out, c)):
        novel = combination in space.held_out
        name = ", ".join(space.named(combination)) + " (novel)" * novel
        found.append((name, drawn.NOVEL if novel else drawn.GREY))
        own = [i for i, label in enumerate(labels) if label == combination][:EACH]
        for i in own:
            wrong = panel.right is not None and not panel.right[i]
            found.append((f"  {plain(texts[i])[:LONGEST]}", WRONG if wrong else drawn.INK))
    return found[:MOST]
