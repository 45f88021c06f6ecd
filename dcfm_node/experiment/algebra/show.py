"""Tables of distances at equal evaluations, and the picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dcfm_node.experiment.algebra.settings import DIGITS, STUDENTS, Algebra
from dcfm_node.experiment.figures import COLOURS, DPI, INK, MARKERS
from dcfm_node.experiment.lines import named
from dcfm_node.experiment.results import Results, Row
from dcfm_node.experiment.tables import cell, head, markdown, measured

WORDS = """\
Eq. 5 of DCFM adds velocities. Its score is that of the law Π_j p_j^w_j, but its flow does not end
there. Every field but that of students is exact, so what is wrong comes from the sampler alone.
`ode` integrates by Euler's rule; `langevin`, `mala` and `smc` also correct after each step
(`flow.correcting`), and `smc-still` draws anew by weights without any move. All get the same
evaluations of the terms: with a move after each step, half the steps. Mean ± standard deviation
over seeds."""
LAWS = """\
Gaussian terms on the line: W2 between the samples and the composed law, in closed form."""
PICTURES = """\
Exact denoisers of 8 × 8 digits in six colours, all combinations. Accuracy: the judge finds digit
and colour. Distance: Fréchet, of pixels and labels together, from the data. Recall: share of the
data near some sample. `joint` asks for both values at once: what composing could reach.
`ode-guided` has the weight 1.5 for both attributes."""
STUDENT = """\
One network that three silos of 8 × 8 digits in six colours trained together (DCFM-B: experts, then
a student), a new split for each seed. Known: combinations that some silo holds, 36 of 60; novel:
those that none holds. Measured as above, against real digits of the same combinations. `joint` is
the student's joint head. Here a sampler also meets the student's own errors."""
DIGIT_METRICS = ("accuracy", "distance", "recall")
KINDS = ("known", "novel")


def document(found: Results, given: Algebra) -> str:
    """The whole page as Markdown."""
    parts = [head(found, given.title), WORDS]
    if laws := _laws(found.rows, given):
        parts += ["## Gaussian laws", LAWS]
        parts += [f"### {name}\n\n{law_table(found.rows, given, name)}" for name in laws]
    if DIGITS in measured(found.rows, given.partitions):
        parts += ["## Coloured digits", PICTURES, digits_table(found.rows, given)]
    if STUDENTS in measured(found.rows, given.partitions):
        parts += ["## Trained students", STUDENT, students_table(found.rows, given)]
    return "\n\n".join(parts) + "\n"


def summary(rows: Sequence[Row], given: Algebra) -> str:
    """The tables alone."""
    pictures = {DIGITS: digits_table, STUDENTS: students_table}
    tables = {
        name: pictures[name](rows, given) if name in pictures else law_table(rows, given, name)
        for name in measured(rows, given.partitions)
    }
    return "\n\n".join(f"{name}\n{table}" for name, table in tables.items())


def law_table(rows: Sequence[Row], given: Algebra, name: str) -> str:
    """A line per way; W2 by evaluations, errors of the moments at the largest budget."""
    lines = []
    for way in _ways(rows, name):
        cells = [_cell(_of(rows, name, f"{way}-{n}"), "w2") for n in given.evaluations]
        most = _of(rows, name, f"{way}-{given.evaluations[-1]}")
        cells += [_cell(most, metric) for metric in ("mean_error", "deviation_error")]
        lines.append([way, *cells, _microseconds(most)])
    budgets = [f"W2, {n}" for n in given.evaluations]
    return markdown(["sampler", *budgets, "mean off by", "deviation off by", "µs a sample"], lines)


def digits_table(rows: Sequence[Row], given: Algebra) -> str:
    """A line per way and budget."""
    return _pictures(rows, DIGITS, given.digit_evaluations, {name: name for name in DIGIT_METRICS})


def students_table(rows: Sequence[Row], given: Algebra) -> str:
    """The same of trained students."""
    assert given.students is not None
    metrics = {f"{name}, {kind}": named(name, kind) for name in DIGIT_METRICS for kind in KINDS}
    return _pictures(rows, STUDENTS, given.students.evaluations, metrics)


def _pictures(
    rows: Sequence[Row], name: str, budgets: Sequence[int], metrics: Mapping[str, str]
) -> str:
    lines = []
    for n in budgets:
        for way in _ways(rows, name):
            if mine := _of(rows, name, f"{way}-{n}"):
                cells = [cell(mine, metric) for metric in metrics.values()]
                lines.append([way, str(n), *cells, _microseconds(mine)])
    return markdown(["sampler", "evaluations", *metrics, "µs a sample"], lines)


def _laws(rows: Sequence[Row], given: Algebra) -> list[str]:
    return [one for one in measured(rows, given.partitions) if one not in (DIGITS, STUDENTS)]


def draw(folder: Path, found: Results, given: Algebra) -> list[Path]:
    """Write the picture: W2 against evaluations, a panel per law."""
    from matplotlib.figure import Figure

    names = _laws(found.rows, given)
    if not names:
        return []
    figure = Figure(figsize=(4.2 * len(names), 3.6), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
    for axes, name in zip(panels, names, strict=True):
        styles = zip(MARKERS, COLOURS, strict=False)
        for way, (marker, colour) in zip(_ways(found.rows, name), styles, strict=False):
            each = [_of(found.rows, name, f"{way}-{n}") for n in given.evaluations]
            points = [
                (n, np.mean(values), np.std(values))
                for n, rows in zip(given.evaluations, each, strict=True)
                if (values := [row.metrics["w2"] for row in rows])
            ]
            where, middle, around = np.array(points).T
            axes.errorbar(where, middle, around, marker=marker, color=colour, ms=4, label=way)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_title(name, fontsize=10, color=INK)
        axes.set_xlabel("evaluations a sample", fontsize=8)
    panels[0].set_ylabel("W2 from the composed law", fontsize=8)
    panels[-1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    path = folder / "algebra.png"
    figure.savefig(path, dpi=DPI * 1.5, facecolor="white")
    return [path]


def _ways(rows: Sequence[Row], name: str) -> list[str]:
    return list(dict.fromkeys(row.rule for row in rows if row.partition == name))


def _of(rows: Sequence[Row], name: str, variant: str) -> list[Row]:
    return [row for row in rows if (row.partition, row.method) == (name, variant)]


def _cell(rows: Sequence[Row], metric: str) -> str:
    values = [row.metrics[metric] for row in rows]
    if not values:
        return "-"
    deviation = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{deviation}"


def _microseconds(rows: Sequence[Row]) -> str:
    return f"{np.mean([row.cost['microseconds'] for row in rows]):.0f}" if rows else "-"
