"""Results as Markdown: mean ± standard deviation over seeds, beside the paper's values."""

import math
from collections.abc import Iterable, Sequence

from dcfm_node.domains.shares import wilson
from dcfm_node.experiment.results import Results, Row, spread
from dcfm_node.experiment.settings import Experiment

DIGITS = 2


def document(found: Results, settings: Experiment) -> str:
    """The whole page: command, a table per partition, all ways of sampling, costs."""
    partitions = measured(found.rows, settings.partitions)
    parts = [
        head(found, settings.title),
        (_INTERVALS if settings.intervals else _DEVIATIONS)
        + "`rule` is how a method is sampled here: `joint` asks"
        "\nthe full label, `composed` goes through Eq. 5. In brackets: the paper's figure.",
    ]
    given = settings.guidance
    (compared, least), *_ = (problem.made.compared for problem, _ in settings.posed.values())
    if given is not None:
        weights = ", ".join(f"{w:g}" for w in given.weights)
        parts.append(_CHOICE.format(weights=weights, given=given, least=least))
    for partition in partitions:
        rows = [row for row in found.rows if row.partition == partition]
        parts += [f"## {partition}", main_table(rows, settings)]
        if given is not None:
            null = main_table(rows, settings, null=True)
            parts += [f"### {partition}, all weights 1", null]
            parts += [f"### {partition}, {compared}", choice_table(rows)]
    parts += ["## Every way of sampling"]
    for partition in partitions:
        rows = [row for row in found.rows if row.partition == partition]
        parts += [f"### {partition}, all rules", variants_table(rows, settings)]
    judged = [row for row in found.rows if any("objective" in r for r in row.rounds)]
    if judged:
        tolerance = settings.method.tolerance
        parts += [
            "## Round by round",
            "Known and novel accuracy of the student after each round, and the objective on"
            "\nhold-out data by which nodes end a run (SPEC 6.5). It would end with the round in"
            f"\nbold, the first that lowers it by no more than {tolerance:.0%}.",
            rounds_table(judged, tolerance),
        ]
    parts += ["## Training", costs_table(found.rows)]
    return "\n\n".join(parts) + "\n"


def head(found: Results, title: str, more: str = "") -> str:
    """The title, how the rows were made, and how many are missing.

    Args:
        more: another sentence about how.
    """
    seeds = ", ".join(map(str, sorted({row.seed for row in found.rows})))
    made = (
        f"Made by `{found.command}`\n"
        f"at commit {found.commit}, preset `{found.preset}`, seeds {seeds},\n"
        f"on {found.machine}."
    )
    return f"# {title}\n\n" + " ".join(filter(None, (made, more, found.missing)))


def measured(rows: Sequence[Row], partitions: Iterable[str]) -> list[str]:
    """Those of the partitions that have rows; others show only when they have."""
    have = {row.partition for row in rows}
    return [partition for partition in partitions if partition in have]


_DEVIATIONS = "Mean ± standard deviation over seeds. "
_INTERVALS = "Shares of the samples of all seeds, with 95 % intervals (Wilson, 1927).\n"
_CHOICE = """\
Guidance weights are chosen for each method and seed by one rule: of `joint` and `composed`, and of
the weights w = {weights}, the way whose samples of known combinations are
{least}. Novel combinations then have the weight
1 + {given.novel_factor:g} (w - 1). `joint 1.3/1.6` has 1.3 for known and 1.6 for novel ones.
No novel sample and no test sample takes part in the choice."""


def main_table(rows: Sequence[Row], settings: Experiment, *, null: bool = False) -> str:
    """A line per method, as it was chosen to be sampled; `null` is its rule at weights of 1."""
    lineup = settings.lineup
    paper = {(str(p.method), p.partition, p.metric): p.value for p in settings.paper}
    lines = []
    for method, of_method in _by_method(rows):
        kind, own = lineup.get(method, (None, settings))
        variant = own.rule(kind) if null and kind is not None else None
        cells = []
        for metric in settings.columns:
            said = paper.get((method, of_method[0].partition, metric))
            text = cell(of_method, metric, variant, intervals=settings.intervals)
            cells.append(text + ("" if said is None else f" [{said:g}]"))
        rules = variant or ", ".join(dict.fromkeys(row.rule for row in of_method))
        lines.append([_emphasised(method), rules, *cells])
    return markdown(["method", "rule", *map(_heading, settings.columns)], lines)


def variants_table(rows: Sequence[Row], settings: Experiment) -> str:
    """A line per method and way of sampling."""
    lines = [
        [
            _emphasised(method),
            variant,
            *(
                cell(of, metric, variant, intervals=settings.intervals)
                for metric in settings.columns
            ),
        ]
        for method, of in _by_method(rows)
        for variant in dict.fromkeys(variant for row in of for variant in row.variants)
    ]
    return markdown(["method", "rule", *map(_heading, settings.columns)], lines)


def choice_table(rows: Sequence[Row]) -> str:
    """A line per method: the mean distance of each way that was compared, the least in bold."""
    names = list(dict.fromkeys(name for row in rows for name in row.compared))
    lines = []
    for method, of in _by_method(rows):
        found = [sum(row.compared[name] for row in of) / len(of) for name in names]
        told = [f"**{each:.4g}**" if each == min(found) else f"{each:.4g}" for each in found]
        lines.append([_emphasised(method), *told])
    return markdown(["method", *names], lines)


def rounds_table(rows: Sequence[Row], tolerance: float) -> str:
    """A line per row that has rounds, a column per round."""
    lines, most = [], max(len(row.rounds) for row in rows)
    for row in rows:
        last = ends_with([found["objective"] for found in row.rounds], tolerance)
        cells = []
        for number, found in enumerate(row.rounds):
            known, novel = (f"{found[f'{of}_accuracy']:.2f}" for of in ("known", "novel"))
            text = f"{known} / {novel}, {found['objective']:.4f}"
            cells.append(f"**{text}**" if number == last else text)
        lines.append([f"{row.method}, {row.partition}, seed {row.seed}", *cells])
    return markdown(["method", *map(str, range(most))], lines)


def ends_with(objectives: Sequence[float], tolerance: float) -> int | None:
    """The round that training ends with (SPEC 6.5, every silo in every round), if any does: the
    first after two of refining that lowered the objective by no more than `tolerance`."""
    later = range(2, len(objectives))
    found = (n for n in later if objectives[n] >= (1 - tolerance) * objectives[n - 1])
    return next(found, None)


def costs_table(rows: Sequence[Row]) -> str:
    """Process seconds of all training that a method needs, and, where measured, of each sample."""
    lines = []
    heads = ["method", "networks trained on the way", "process seconds"]
    for method, of in _by_method(rows):
        seconds = [row.cost["cpu_seconds"] for row in of]
        trainings = of[0].cost["trainings"]
        lines.append(
            [_emphasised(method), f"{trainings:.0f}", f"{sum(seconds) / len(seconds):.0f}"]
        )
        drawing_s, _ = spread(of, "drawing_s_novel")
        if not math.isnan(drawing_s):
            lines[-1].append(f"{drawing_s:.2g}")
    if any(len(line) > len(heads) for line in lines):
        heads.append("for each sample")
        lines = [[*line, *["-"] * (len(heads) - len(line))] for line in lines]
    return markdown(heads, lines)


def cell(
    rows: Sequence[Row], metric: str, variant: str | None = None, *, intervals: bool = False
) -> str:
    """A cell such as "0.94 ± 0.02"; one seed has no deviation, "-" means not measured.

    Args:
        intervals: the metric is a share of samples: "0.94 (0.92 to 0.95)", over all of them.
    """
    mean, deviation = spread(rows, metric, variant)
    if math.isnan(mean):
        return "-"
    if intervals:
        each, _ = spread(rows, "samples_novel" if "novel" in metric else "samples_known", variant)
        have = sum(
            metric in (row.metrics if variant is None else row.variants.get(variant, {}))
            for row in rows
        )
        low, high = wilson(round(mean * each * have), round(each * have))
        return f"{mean:.{DIGITS}f} ({low:.{DIGITS}f} to {high:.{DIGITS}f})"
    digits = 1 if metric.startswith("fid") and mean >= 10 else DIGITS
    text = f"{mean:.{digits}f}"
    return text if len(rows) == 1 else f"{text} ± {deviation:.{digits}f}"


def markdown(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *lines))


def _by_method(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    names = list(dict.fromkeys(row.method for row in rows))
    return [(name, [row for row in rows if row.method == name]) for name in names]


def _heading(metric: str) -> str:
    return metric.replace("_", " ").replace("fid", "FID").replace("w2", "W2")


def _emphasised(method: str) -> str:
    return f"**{method}**" if method.startswith("dcfm") else method
