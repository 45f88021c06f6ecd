"""Results as Markdown: mean ± spread over seeds, beside the paper's figures."""

import math
from collections.abc import Iterable, Sequence

from dcfm_node.experiment.results import Results, Row, spread
from dcfm_node.experiment.settings import Experiment

DIGITS = 2


def document(found: Results, settings: Experiment) -> str:
    """The whole page: what was run, a table per partition, every way of sampling, costs."""
    seeds = sorted({row.seed for row in found.rows})
    parts = [
        f"# {settings.title}",
        f"Made by `{found.command}`\n"
        f"at commit {found.commit}, preset `{found.preset}`, seeds {', '.join(map(str, seeds))},\n"
        f"on {found.machine}.",
        "Mean ± standard deviation over seeds. `rule` is how a method is sampled here: `joint` asks"
        "\nthe full label, `composed` goes through Eq. 5. In brackets: the paper's figure.",
    ]
    for partition in settings.partitions:
        rows = [row for row in found.rows if row.partition == partition]
        parts += [f"## {partition}", main_table(rows, settings)]
    parts += ["## Every way of sampling"]
    for partition in settings.partitions:
        rows = [row for row in found.rows if row.partition == partition]
        parts += [f"### {partition}, all rules", variants_table(rows, settings)]
    parts += ["## Training", costs_table(found.rows)]
    return "\n\n".join(parts) + "\n"


def main_table(rows: Sequence[Row], settings: Experiment) -> str:
    """A line per method, its chosen rule."""
    paper = {(str(p.method), p.partition, p.metric): p.value for p in settings.paper}
    lines = []
    for method, of_method in _by_method(rows):
        cells = []
        for metric in settings.columns:
            said = paper.get((method, of_method[0].partition, metric))
            cells.append(cell(of_method, metric) + ("" if said is None else f" [{said:g}]"))
        lines.append([_emphasised(method), of_method[0].rule, *cells])
    return markdown(["method", "rule", *map(_heading, settings.columns)], lines)


def variants_table(rows: Sequence[Row], settings: Experiment) -> str:
    """A line per method and way of sampling."""
    lines = [
        [_emphasised(method), variant, *(cell(of, metric, variant) for metric in settings.columns)]
        for method, of in _by_method(rows)
        for variant in of[0].variants
    ]
    return markdown(["method", "rule", *map(_heading, settings.columns)], lines)


def costs_table(rows: Sequence[Row]) -> str:
    """Process time of all the training that a method needs."""
    lines = []
    for method, of in _by_method(rows):
        seconds = [row.cost["cpu_seconds"] for row in of]
        trainings = of[0].cost["trainings"]
        lines.append(
            [_emphasised(method), f"{trainings:.0f}", f"{sum(seconds) / len(seconds):.0f}"]
        )
    return markdown(["method", "networks trained on the way", "process seconds"], lines)


def cell(rows: Sequence[Row], metric: str, variant: str | None = None) -> str:
    """ "0.94 ± 0.02", without a spread for a single seed, "-" where nothing was measured."""
    mean, deviation = spread(rows, metric, variant)
    if math.isnan(mean):
        return "-"
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
