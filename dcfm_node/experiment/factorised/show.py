"""Tables of distance and accuracy by number of samples, and the picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dcfm_node.experiment.factorised.settings import TRUTH, Factorised
from dcfm_node.experiment.figures import COLOURS, DPI, INK, MARKERS
from dcfm_node.experiment.results import Results, Row
from dcfm_node.experiment.tables import cell, head, markdown, measured

WORDS = """\
A sample of combination c is Σ_i e_i[c_i] + σ ε: an effect of length 1 for each of n attributes
with three values, and noise. A model sees some combinations (*known*), each with as many samples as
the column says, and draws all. All models have the same network and number of steps.

- `one-label`: one flow, to which a combination is a label of its own; a novel one says nothing.
- `monolithic`: one flow of full labels, the sum of embeddings of their values; by its joint head.
- `factorised`: one network of no label and of each attribute alone, composed by Eq. 5 of DCFM.
- `penalised`: a network of both, with the independence penalty of DCFM on all combinations,
  composed by Eq. 5.
- `truth`: as many draws from the exact laws. No model can be expected to do better.

Accuracy: share of draws whose likeliest combination is the one that was asked for. W2: from the
combination's exact law, of the Gaussian with the draws' mean and covariance; root of the mean
square over combinations. Off by: the part of W2 that is the mean's. Mean ± standard deviation over
seeds, which draw effects and known combinations anew. The least W2 of a column is in bold."""
METRICS = {
    "w2_known": "W2, known",
    "w2_novel": "W2, novel",
    "mean_error_known": "mean off by, known",
    "mean_error_novel": "mean off by, novel",
    "known_accuracy": "accuracy, known",
    "novel_accuracy": "accuracy, novel",
}
DRAWN = {"w2_known": "known: W2", "w2_novel": "novel: W2", "novel_accuracy": "novel: accuracy"}


def document(found: Results, given: Factorised) -> str:
    """The whole page as Markdown."""
    parts = [head(found, given.title), WORDS]
    for problem in given.problem:
        if problem.name in measured(found.rows, given.partitions):
            where = f"{problem.dims} shared dimensions" if problem.dims else "planes of their own"
            known, all_ = problem.seen, 3**problem.attributes
            parts += [
                f"## {problem.name}",
                f"{problem.attributes} attributes with {where}; {known} of {all_} are known.",
                table(found.rows, given, problem.name),
            ]
    return "\n\n".join(parts) + "\n"


def summary(rows: Sequence[Row], given: Factorised) -> str:
    """The tables alone."""
    names = measured(rows, given.partitions)
    return "\n\n".join(f"{name}\n{table(rows, given, name)}" for name in names)


def table(rows: Sequence[Row], given: Factorised, name: str) -> str:
    """A line per metric and model, a column per number of samples."""
    lines = []
    truth = _of(rows, name, TRUTH)
    for metric, said in METRICS.items():
        best = {size: _best(rows, given, name, metric, size) for size in given.sizes}
        for kind in given.model:
            cells = []
            for size in given.sizes:
                text = cell(_of(rows, name, f"{kind.name}-{size}"), metric)
                cells.append(f"**{text}**" if best[size] == kind.name else text)
            lines.append([said, kind.name, *cells])
        if truth:
            lines.append([said, TRUTH, *[cell(truth, metric)] * len(given.sizes)])
    return markdown(["", "model", *map(str, given.sizes)], lines)


def draw(folder: Path, found: Results, given: Factorised) -> list[Path]:
    """Write the picture: a column per problem, metrics against the number of samples."""
    from matplotlib.figure import Figure

    names = measured(found.rows, given.partitions)
    figure = Figure(figsize=(3.4 * len(names), 2.6 * len(DRAWN)), layout="constrained")
    panels = figure.subplots(len(DRAWN), len(names), squeeze=False, sharex=True, sharey="row")
    for line, (metric, said) in zip(panels, DRAWN.items(), strict=True):
        for axes, name in zip(line, names, strict=True):
            for kind, marker, colour in zip(given.model, MARKERS, COLOURS, strict=False):
                each = [_values(found.rows, name, f"{kind.name}-{n}", metric) for n in given.sizes]
                points = [
                    (size, np.mean(values), np.std(values))
                    for size, values in zip(given.sizes, each, strict=True)
                    if values
                ]
                if points:
                    where, middle, around = np.array(points).T
                    style = {"marker": marker, "color": colour, "ms": 4, "capsize": 2}
                    axes.errorbar(where, middle, around, label=kind.name, **style)
            if truth := _values(found.rows, name, TRUTH, metric):
                axes.axhline(np.mean(truth), color=INK, ls=":", lw=1, label=TRUTH)
            axes.set_xscale("log", base=2)
            axes.set_xticks(given.sizes, [str(size) for size in given.sizes])
            if metric.startswith("w2"):
                axes.set_yscale("log")
            axes.grid(color="#e5e5e5", linewidth=0.6)
        line[0].set_ylabel(said, fontsize=9)
    for axes, name in zip(panels[0], names, strict=True):
        axes.set_title(name, fontsize=10, color=INK)
    for axes in panels[-1]:
        axes.set_xlabel("samples of each known combination", fontsize=8)
    panels[0][-1].legend(fontsize=7)
    path = folder / "factorised.png"
    figure.savefig(path, dpi=DPI * 1.5, facecolor="white")
    return [path]


def _best(rows: Sequence[Row], given: Factorised, name: str, metric: str, size: int) -> str:
    """The model with the least W2; empty for other metrics."""
    if not metric.startswith("w2"):
        return ""
    found = {
        kind.name: np.mean(values)
        for kind in given.model
        if (values := _values(rows, name, f"{kind.name}-{size}", metric))
    }
    return min(found, key=lambda kind: found[kind]) if len(found) == len(given.model) else ""


def _of(rows: Sequence[Row], name: str, variant: str) -> list[Row]:
    return [row for row in rows if (row.partition, row.method) == (name, variant)]


def _values(rows: Sequence[Row], name: str, variant: str, metric: str) -> list[float]:
    return [row.metrics[metric] for row in _of(rows, name, variant)]
