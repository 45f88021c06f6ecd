"""Bits per byte of experts and of one pooled network: tables, and one picture."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dcfm_node.experiment.figures import DPI, INK
from dcfm_node.experiment.parity.settings import POOLED, Parity
from dcfm_node.experiment.results import Results, Row
from dcfm_node.experiment.tables import cell, head, markdown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#2a6f97", "#c8553d", "#7a7a7a")
PARITY = 0.02
"""Parity is less than this share of the pooled network's bits apart."""
LEARNED = 0.9
"""A pooled network with more than this share of the bits of byte frequencies has learned too little
to compare with."""
WORDS = """\
Texts: the docstrings of the standard library of the Python that ran this, clustered by their words
into silos of equal size. `pooled`: one network of all texts, with the compute of all experts
together: {equal}. `all experts`: u_t = Σ_k p(k | x_t) u_t^k with a router that was learnt from the
experts' own draws (arXiv 2601.03184). `top-1`: the likeliest expert alone, at every step. `own
expert`: the expert of the cluster that a text is known to come from. Bits a token on held-out
docstrings: exact where places come in order (`autoregressive`), an upper bound for `discrete`.
`excess`: bits over those of `pooled`, less 1; in brackets its 95 % interval over held-out texts
(paired bootstrap), by seed. Parity means a mean excess within ±2 %. `token frequencies`: bits
without any network; where the pooled network is not 10 % below them, it has learned too little for
a verdict. `digits` and `digits-masked` are pictures and their words, in order and masked."""
EQUAL = {
    "steps": "it takes as many steps as all experts together",
    "batch": "it takes the steps of one expert, with batches as large as those of all together",
}
PICTURES = """\
Digits of 4 x 4 grey levels, each followed by the word that says what it shows, clustered by their
pixels. `right`: how often the likeliest word after a held-out picture is the right one; in brackets
Wilson's 95 % interval, by seed."""
DRAWS = """\
2 to the power of the bits a token that an n-gram of further held-out text (Witten and Bell's
interpolation) gives to draws, and to real text; in brackets 95 % intervals, by seed."""


def document(found: Results, given: Parity) -> str:
    """The whole page as Markdown."""
    parts = [head(found, given.title), WORDS.format(equal=EQUAL[given.equal])]
    for path in given.partitions:
        rows = [row for row in found.rows if row.partition == path]
        if rows:
            parts += [f"## {path}", table(rows, given)]
        if any("accuracy" in row.metrics for row in rows):
            parts += [PICTURES, intervals(rows, given, "right", "accuracy", share)]
        if any("judged" in row.metrics for row in rows):
            parts += [DRAWS, intervals(rows, given, "perplexity", "judged", perplexity)]
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
    lines.append(["token frequencies", cell(list(rows), "unigram"), *["-"] * 5])
    titles = ["model", "bits a token", "excess", "by seed", "parity", "router's accuracy"]
    return markdown([*titles, "seconds of training"], lines)


def intervals(
    rows: Sequence[Row], given: Parity, title: str, metric: str, word: Callable[[float], str]
) -> str:
    """A line per way with the mean of a metric and its interval by seed; and of real text."""
    ways = dict.fromkeys(given.lineup(""), metric)
    if any("real" in row.metrics for row in rows):
        ways["real text"] = "real"
    lines = []
    for name, key in ways.items():
        own = [row.metrics for row in rows if row.method == (POOLED if key == "real" else name)]
        if not (own := [one for one in own if key in one]):
            continue
        mean = word(float(np.mean([one[key] for one in own])))
        each = (f"[{word(one[f'{key}_low'])}, {word(one[f'{key}_high'])}]" for one in own)
        told = (f"{word(one[key])} {span}" for one, span in zip(own, each, strict=True))
        lines.append([name, mean, "; ".join(told)])
    return markdown(["model", title, "by seed"], lines)


def share(value: float) -> str:
    """As per cent."""
    return f"{value:.0%}"


def perplexity(bits: float) -> str:
    """2 to the power of bits."""
    return f"{2.0**bits:.1f}"


def interval(row: Row) -> str:
    """The excess of one seed and its interval."""
    found = row.metrics
    return f"{found['excess']:+.1%} [{found['low']:+.1%}, {found['high']:+.1%}]"


def draw(folder: Path, found: Results, given: Parity) -> list[Path]:
    """Write the excess of every way and seed, with its interval; of several numbers of steps, as
    curves."""
    from matplotlib.figure import Figure

    paths = [p for p in given.paths if any(row.partition == p for row in found.rows)]
    figure = Figure(figsize=(4.2 * max(1, len(paths)), 3.2), layout="constrained")
    axes = figure.subplots(1, max(1, len(paths)), squeeze=False)[0]
    for one, path in zip(axes, paths, strict=False):
        rows = [row for row in found.rows if given.asked(row.partition)[0] == path]
        one.axhspan(-100 * PARITY, 100 * PARITY, color="#dddddd")
        one.axhline(0.0, color=INK, linewidth=0.8)
        curved = len({row.partition for row in rows}) > 1
        (_curves if curved else _dots)(one, rows, given)
        one.set_title(path, fontsize=10, color=INK)
    axes[0].set_ylabel("bits over the pooled network's, %", fontsize=9)
    figure.suptitle(given.title, fontsize=11, color=INK)
    file = folder / "parity.png"
    figure.savefig(file, dpi=DPI, facecolor="white")
    return [file]


def _dots(axes: "Axes", rows: Sequence[Row], given: Parity) -> None:
    ways = [name for name in given.lineup("") if name != POOLED]
    for place, name in enumerate(ways):
        own = [row for row in rows if row.method == name]
        for i, row in enumerate(own):
            x = place + 0.18 * (i - (len(own) - 1) / 2)
            low, mid, high = (100 * row.metrics[m] for m in ("low", "excess", "high"))
            axes.plot([x, x], [low, high], color=INK, linewidth=1.2)
            axes.plot([x], [mid], "o", color=INK, markersize=4)
    axes.set_xticks(range(len(ways)), ways, fontsize=8)


def _curves(axes: "Axes", rows: Sequence[Row], given: Parity) -> None:
    """The mean over seeds, and each seed as a dot, by the steps of an expert."""
    for name, colour in zip(given.lineup("")[1:], COLOURS, strict=False):
        by: dict[int, list[float]] = {}
        for row in (row for row in rows if row.method == name):
            steps = round(given.asked(row.partition)[1] * given.local.steps)
            by.setdefault(steps, []).append(100 * row.metrics["excess"])
        told = sorted(by)
        axes.plot(told, [np.mean(by[n]) for n in told], color=colour, label=name, linewidth=1.4)
        for n in told:
            axes.plot([n] * len(by[n]), by[n], "o", color=colour, markersize=3)
    axes.set_xscale("log", base=2)
    ticks = sorted({round(given.asked(row.partition)[1] * given.local.steps) for row in rows})
    axes.set_xticks(ticks, [str(n) for n in ticks], fontsize=8)
    axes.set_xlabel("steps of an expert", fontsize=9)
    axes.legend(fontsize=7, frameon=False)
