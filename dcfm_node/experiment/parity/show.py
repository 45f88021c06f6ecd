"""Bits per byte of experts and of one pooled network: tables, and one picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dcfm_node.experiment.figures import DPI, INK
from dcfm_node.experiment.parity.settings import POOLED, Parity
from dcfm_node.experiment.results import Results, Row
from dcfm_node.experiment.tables import cell, head, markdown

PARITY = 0.02
"""Parity is less than this share of the pooled network's bits apart."""
LEARNED = 0.9
"""A pooled network with more than this share of the bits of byte frequencies has learned too little
to compare with."""
WORDS = """\
Texts: the docstrings of the standard library of the Python that ran this, clustered by their words
into silos of equal size. `pooled`: one network of all texts, with as many steps as all experts
together. `all experts`: u_t = Σ_k p(k | x_t) u_t^k with a router that was learnt from the experts'
own draws (arXiv 2601.03184). `top-1`: the likeliest expert alone, at every step. `own expert`: the
expert of the cluster that a text is known to come from. Bits per byte on held-out docstrings: exact
where places come in order (`autoregressive`), an upper bound for `discrete`. `excess`: bits over
those of `pooled`, less 1; in brackets its 95 % interval over held-out texts (paired bootstrap), by
seed. Parity means a mean excess within ±2 %. `byte frequencies`: bits without any network; where
the pooled network is not 10 % below them, it has learned too little for a verdict."""


def document(found: Results, given: Parity) -> str:
    """The whole page as Markdown."""
    parts = [head(found, given.title), WORDS]
    for path in given.partitions:
        rows = [row for row in found.rows if row.partition == path]
        if rows:
            parts += [f"## {path}", table(rows, given)]
    return "\n\n".join(parts) + "\n"


def summary(rows: Sequence[Row], given: Parity) -> str:
    """The tables of all paths."""
    by_path = {path: [row for row in rows if row.partition == path] for path in given.partitions}
    return "\n\n".join(f"{path}\n{table(own, given)}" for path, own in by_path.items() if own)


def table(rows: Sequence[Row], given: Parity) -> str:
    """A line per way, of one path."""
    lines = []
    pooled = [row.metrics for row in rows if row.method == POOLED]
    learned = all(one["bits"] <= LEARNED * one["unigram"] for one in pooled)
    for name in given.lineup(rows[0].partition):
        own = [row for row in rows if row.method == name]
        if not own:
            continue
        excess = np.mean([row.metrics["excess"] for row in own])
        verdict = "yes" if abs(excess) <= PARITY else "no"
        verdict = verdict if learned else "too little learned"
        told = ["-", "-", "-"]
        if name != POOLED:
            told = [f"{excess:+.1%}", "; ".join(map(interval, own)), verdict]
        seconds = np.mean([row.cost["cpu_seconds"] for row in own])
        router = cell(own, "router_accuracy") if name != POOLED else "-"
        lines.append([name, cell(own, "bits"), *told, router, f"{seconds:.0f}"])
    lines.append(["byte frequencies", cell(list(rows), "unigram"), *["-"] * 5])
    titles = ["model", "bits per byte", "excess", "by seed", "parity", "router's accuracy"]
    return markdown([*titles, "seconds of training"], lines)


def interval(row: Row) -> str:
    """The excess of one seed and its interval."""
    found = row.metrics
    return f"{found['excess']:+.1%} [{found['low']:+.1%}, {found['high']:+.1%}]"


def draw(folder: Path, found: Results, given: Parity) -> list[Path]:
    """Write the excess of every way and seed, with its interval."""
    from matplotlib.figure import Figure

    ways = [name for name in given.lineup("") if name != POOLED]
    measured = [p for p in given.partitions if any(row.partition == p for row in found.rows)]
    figure = Figure(figsize=(4.2 * max(1, len(measured)), 3.0), layout="constrained")
    axes = figure.subplots(1, max(1, len(measured)), squeeze=False, sharey=True)[0]
    for one, path in zip(axes, measured, strict=False):
        one.axhspan(-100 * PARITY, 100 * PARITY, color="#dddddd")
        one.axhline(0.0, color=INK, linewidth=0.8)
        for place, name in enumerate(ways):
            own = [row for row in found.rows if (row.partition, row.method) == (path, name)]
            for i, row in enumerate(own):
                x = place + 0.18 * (i - (len(own) - 1) / 2)
                low, mid, high = (100 * row.metrics[m] for m in ("low", "excess", "high"))
                one.plot([x, x], [low, high], color=INK, linewidth=1.2)
                one.plot([x], [mid], "o", color=INK, markersize=4)
        one.set_xticks(range(len(ways)), ways, fontsize=8)
        one.set_title(path, fontsize=10, color=INK)
    axes[0].set_ylabel("bits over the pooled network's, %", fontsize=9)
    figure.suptitle(given.title, fontsize=11, color=INK)
    file = folder / "parity.png"
    figure.savefig(file, dpi=DPI, facecolor="white")
    return [file]
