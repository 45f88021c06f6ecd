"""The table of found factors and recombined scenes, and the picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dcfm_node.experiment.discovery.settings import SHOWN, Discovery, Way, figure_file
from dcfm_node.experiment.figures import DPI, INK
from dcfm_node.experiment.results import Results, Row, load_samples
from dcfm_node.experiment.tables import cell, head, markdown, measured

WORDS = """\
Coloured digits without labels. Two factors are found, and compared with digit and colour only
afterwards. In `flow` rows an encoder and the field are trained by flow matching alone; what a
factor sees is the assumption: everything, `brightness` (blind to colour), `mean-colour` (blind to
place and shape). In `k-means` rows the values come from k-means, and a field of the same kind is
trained with them; a second factor that sees everything gets what the first left of the pixels.
`labels`: the same field with the true labels, the ceiling. `chance`: labels in random order, and
random training pictures in place of draws.

Shared: normalised mutual information with the attribute, of the factor that is matched to it; in
brackets with the other attribute. Probe: accuracy of the attribute from the factor's value by a
linear probe, fitted on one half of the pictures and measured on the other. Recombined: the digit's
factor of one picture and the colour's of another, in combinations that never occur in the training
data; the share in which a classifier finds both, the digit, the colour. Redrawn: both factors of
one picture, in combinations that occur. Mean ± standard deviation over seeds, which draw anew which
combinations and pictures occur."""
KEPT = ("one", "another", "one redrawn", "digit of one,\ncolour of another")
HEADER = [
    "way", "sees", "values",
    "digit: shared", "colour: shared", "digit: probe", "colour: probe",
    "recombined: both", "digit", "colour", "redrawn: both", "CPU s",
]  # fmt: skip


def document(found: Results, given: Discovery) -> str:
    """The whole page as Markdown."""
    parts = [head(found, given.title), WORDS]
    for name in measured(found.rows, given.partitions):
        parts += [f"## {name}", table(found.rows, given, name)]
    return "\n\n".join(parts) + "\n"


def summary(rows: Sequence[Row], given: Discovery) -> str:
    """The tables alone."""
    names = measured(rows, given.partitions)
    return "\n\n".join(f"{name}\n{table(rows, given, name)}" for name in names)


def table(rows: Sequence[Row], given: Discovery, name: str) -> str:
    """A line per way."""
    lines = []
    for way in given.way:
        mine = [row for row in rows if (row.partition, row.method) == (name, way.name)]
        if mine:
            shared = [
                f"{cell(mine, f'{a}_nmi')} ({_mean(mine, f'{a}_leak')})"
                for a in ("digit", "colour")
            ]
            metrics = ("digit_probe", "colour_probe", "both_novel", "digit_novel", "colour_novel")
            cells = [cell(mine, metric) for metric in (*metrics, "both_same")]
            seconds = f"{np.mean([row.cost['cpu_seconds'] for row in mine]):.0f}"
            lines.append([way.name, *_said(way), *shared, *cells, seconds])
    return markdown(HEADER, lines)


def draw(folder: Path, found: Results, given: Discovery) -> list[Path]:
    """Write the picture of each problem: for each way, pictures, the same redrawn, and recombined
    ones, of the first seed."""
    from matplotlib.figure import Figure

    paths = []
    for name in measured(found.rows, given.partitions):
        seed = min(row.seed for row in found.rows if row.partition == name)
        files = {way.name: figure_file(folder, name, seed, way.name) for way in given.way}
        there = {way: load_samples(file)[0].x for way, file in files.items() if file.exists()}
        if not there:
            continue
        figure = Figure(figsize=(4.6 * min(3, len(there)), 2.6 * -(-len(there) // 3)))
        panels: Any = figure.subplots(-(-len(there) // 3), min(3, len(there)), squeeze=False)
        for axes in panels.flat:
            axes.set_axis_off()
        for axes, (way, x) in zip(panels.flat, there.items(), strict=False):
            axes.imshow(_tiles(x))
            axes.set_title(way, fontsize=10, color=INK)
            side = x.shape[2] + 1
            for place, said in enumerate(KEPT):
                axes.text(-1, (place + 0.5) * side, said, fontsize=7, ha="right", va="center")
        figure.tight_layout()
        paths.append(folder / f"discovery-{name}.png")
        figure.savefig(paths[-1], dpi=DPI * 1.5, facecolor="white")
    return paths


def _tiles(x: Any) -> Any:
    """Pictures (rows * SHOWN, 3, h, w) in [-1, 1] as one picture with white lines."""
    count, _, height, width = x.shape
    framed = np.ones((count, height + 1, width + 1, 3), np.float32)
    framed[:, :height, :width] = np.clip((x.astype(np.float32).transpose(0, 2, 3, 1) + 1) / 2, 0, 1)
    rows = framed.reshape(count // SHOWN, SHOWN, height + 1, width + 1, 3)
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)


def _said(way: Way) -> tuple[str, str]:
    sees = ", ".join(factor.sees for factor in way.factor) or "-"
    return sees, ", ".join(str(factor.values) for factor in way.factor) or "-"


def _mean(rows: Sequence[Row], metric: str) -> str:
    return f"{np.mean([row.metrics[metric] for row in rows]):.2f}"
