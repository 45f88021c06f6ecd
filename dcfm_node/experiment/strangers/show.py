"""Announced beside true quality, as Markdown, and pictures of real beside drawn samples."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dcfm_node.experiment.figures import DPI, INK
from dcfm_node.experiment.results import Results, Row, load_samples, spread
from dcfm_node.experiment.strangers import suite
from dcfm_node.experiment.strangers.problem import Problem, needed
from dcfm_node.experiment.strangers.settings import DEFAULTS, Strangers
from dcfm_node.experiment.tables import cell, head, markdown, measured
from dcfm_node.samples import Floats, unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KNOWN, NOVEL, ERROR = 0.95, 0.90, 0.10
"""A problem is solved at these rates or above, announced within this error."""
UNMEASURED = "unmeasured"
MOST, EACH = 6, 6
"""Novel combinations in a picture, and samples of each."""
LIMIT = 3.5
"""Largest value in a picture of curves, in deviations of real samples."""
COLUMNS = {
    "known": "known_accuracy",
    "novel": "novel_accuracy",
    "worst novel": "novel_worst_accuracy",
    "announced known": "announced_known",
    "announced novel": "announced_novel",
    "off by": "announced_error",
    "distance known": "distance_known",
    "distance novel": "distance_novel",
    "variety known": "variety_known",
    "variety novel": "variety_novel",
}
WORDS = """\
`known` and `novel`: share of drawn samples in which the exact judge finds every value, means over
combinations that some silo holds and that none holds; `worst novel`: of the worst of the latter.
`announced`: the quorum-th highest of what the silos publish of the student, without the judge;
`off by`: its difference to the true novel share. `distance`: energy distance from real samples,
in units of their spread, 0 is none. `variety`: spread of drawn over spread of real samples,
1 is as varied. `CPU-s`: process seconds of all silos' jobs."""


def document(found: Results, given: Strangers) -> str:
    """The whole page as Markdown."""
    less = "" if given.share == 1 else f"Only {given.share:.0%} of the default steps."
    parts = [
        head(found, given.title, less),
        summary(found.rows, given),
        WORDS,
        "## The problems",
        problems_table(found.rows, given),
        "## Other ways of sampling",
        "The joint head, and the composition (Eq. 5 of DCFM), both without guidance.",
        variants_table(found.rows, given),
        "## Round by round",
        "Known / novel share of the student after each round.",
        rounds_table(found.rows, given),
    ]
    return "\n\n".join(parts) + "\n"


def summary(rows: Sequence[Row], given: Strangers) -> str:
    """The main table and how many problems are solved."""
    lines, problems = [], measured(rows, given.problems)
    for name in problems:
        mine = _of(rows, name)
        cells = [_announced(mine, metric) for metric in COLUMNS.values()]
        seconds = np.mean([row.cost["cpu_seconds"] for row in mine])
        lines.append([name, *cells, f"{seconds:.0f}"])
    solved = [name for name in problems if _solved(_of(rows, name))]
    honest = [name for name in problems if _honest(_of(rows, name))]
    said = (
        f"Known ≥ {KNOWN} and novel ≥ {NOVEL}: {len(solved)} of {len(problems)} problems."
        f" Announced within {ERROR:.2f}: {len(honest)}."
    )
    return markdown(["problem", *COLUMNS, "CPU-s"], lines) + "\n\n" + said


def problems_table(rows: Sequence[Row], given: Strangers) -> str:
    """What each problem is, for the first seed."""
    lines, seed = [], min(row.seed for row in rows)
    for name in measured(rows, given.problems):
        made = suite.make(name, seed)
        held = ", ".join(str(sum(silo.values())) for silo in made.silos)
        shape, sizes = (" x ".join(map(str, of)) for of in (made.sample_shape, made.sizes))
        room = f"{len(made.known)} of {len(made.known) + len(made.novel)}, {needed(made.sizes)}"
        lines.append([name, suite.about(name), shape, sizes, room, held])
    header = ["problem", "what", "shape", "values", "held of all, Eq. 2", f"samples, seed {seed}"]
    return markdown(header, lines)


def variants_table(rows: Sequence[Row], given: Strangers) -> str:
    """Known / novel share of every way of sampling."""
    variants = list(rows[0].variants)
    lines = [
        [
            name,
            *(
                " / ".join(
                    cell(_of(rows, name), f"{kind}_accuracy", v) for kind in ("known", "novel")
                )
                for v in variants
            ),
        ]
        for name in measured(rows, given.problems)
    ]
    return markdown(["problem", *variants], lines)


def rounds_table(rows: Sequence[Row], given: Strangers) -> str:
    """A line per problem and seed, a column per round."""
    most = max(len(row.rounds) for row in rows)
    lines = []
    for name in measured(rows, given.problems):
        for row in _of(rows, name):
            cells = [f"{r['known_accuracy']:.2f} / {r['novel_accuracy']:.2f}" for r in row.rounds]
            lines.append([name, str(row.seed), *cells, *[""] * (most - len(cells))])
    return markdown(["problem", "seed", *map(str, range(most))], lines)


def draw(folder: Path, found: Results, given: Strangers) -> list[Path]:
    """Write a picture per problem of the first seed: novel combinations, real and drawn."""
    written = []
    shown = given.problems if (folder / "samples").is_dir() else ()
    for name in measured(found.rows, shown):
        seed = min(row.seed for row in _of(found.rows, name))
        drawn, _ = load_samples(folder / "samples" / f"{name}-{seed}-{DEFAULTS}.npz")
        problem = suite.make(name, seed)
        rows = [drawn.x[(drawn.c == c).all(axis=1)][:EACH] for c in problem.novel[:MOST]]
        written.append(sheet(folder / f"samples-{name}.png", problem, rows))
    return written


def sheet(path: Path, problem: Problem, rows: Sequence[Floats]) -> Path:
    """Draw a row per novel combination: real samples at the left, drawn ones at the right."""
    from matplotlib.figure import Figure

    shown = problem.novel[: len(rows)]
    real = problem.real(shown, EACH)
    pictures = len(problem.sample_shape) == 3
    figure = Figure(figsize=(8.4, (1.0 if pictures else 1.5) * len(shown) + 0.6))
    panels = figure.subplots(len(shown), 2, squeeze=False, sharey="row")
    centre, scale = real.x.mean(axis=0), real.x.std(axis=0) + 1e-12
    for axes, c, drawn in zip(panels, shown, rows, strict=True):
        values = (a.values[v] for a, v in zip(problem.attributes, c, strict=True))
        axes[0].set_ylabel("\n".join(values), rotation=0, ha="right", va="center", color=INK)
        for one, x in zip(axes, (real.x[(real.c == c).all(axis=1)], drawn), strict=True):
            if pictures:
                _tiles(one, x)
            else:
                _curves(one, (x - centre) / scale)
    for axes, title in zip(panels[0], ("real", "drawn; no silo has these"), strict=True):
        axes.set_title(title, fontsize=11, color=INK)
    figure.suptitle(f"{problem.name}, seed {problem.seed}", fontsize=12, color=INK)
    figure.savefig(path, dpi=DPI, facecolor="white", bbox_inches="tight")
    return path


def _tiles(axes: "Axes", x: Floats) -> None:
    """Pictures side by side."""
    pixels = (np.clip(unit(x), -1, 1) + 1) / 2
    padded = np.pad(pixels, ((0, 0), (0, 0), (0, 0), (0, 1)), constant_values=1)
    strip = np.concatenate(list(padded), axis=2).transpose(1, 2, 0)
    axes.imshow(np.broadcast_to(strip, (*strip.shape[:2], 3)), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])


def _curves(axes: "Axes", x: Floats) -> None:
    """Samples, scaled by real ones, as curves over their index. Far ones run along the edge."""
    axes.plot(x.reshape(len(x), -1).clip(-LIMIT, LIMIT).T, linewidth=0.9, alpha=0.8)
    axes.set_ylim(-1.05 * LIMIT, 1.05 * LIMIT)
    axes.tick_params(labelsize=7)


def _announced(rows: Sequence[Row], metric: str) -> str:
    """A cell; what silos did not announce is named so."""
    told = cell(rows, metric)
    return UNMEASURED if told == "-" and metric.startswith("announced") else told


def _solved(rows: Sequence[Row]) -> bool:
    known, novel = (spread(rows, f"{kind}_accuracy")[0] for kind in ("known", "novel"))
    return known >= KNOWN and novel >= NOVEL


def _honest(rows: Sequence[Row]) -> bool:
    """Whether every seed announced its novel quality within the error."""
    return all(row.metrics.get("announced_error", 1.0) <= ERROR for row in rows)


def _of(rows: Sequence[Row], name: str) -> list[Row]:
    return [row for row in rows if row.partition == name]
