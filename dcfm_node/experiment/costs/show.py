"""Both tables as Markdown, with the paper's values beside ours, and one picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dcfm_node.experiment.costs import formulas
from dcfm_node.experiment.costs.settings import (
    COMMUNICATION,
    COMPUTE,
    SHIPPED,
    STAGES,
    Communication,
    Costs,
    MethodName,
)
from dcfm_node.experiment.figures import COLOURS, DPI, INK
from dcfm_node.experiment.results import Results, Row, spread
from dcfm_node.experiment.tables import cell, head, markdown, measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BYTES = """\
In units of one network's parameters, {size:.1f} MB, as the mean of {silos} silos.

- `paper`: what one client sends and receives; what it publishes counts once, whoever takes it,
  and of DDM and DFD the one client counts that draws samples.
- `sent`, `received`: payload as the nodes count it, gossip included, every copy sent. What one
  sends another receives, so both means are alike. `per round`: both, each time that experts are
  published, Stage I included. `busiest`: both, of the silo that does most.
- `formula`, `records`, `kernel`: what should be received by what our nodes do; by the snapshots
  that the run's signed records name, each fetched once by everyone else; and by the kernel's count
  of the loopback interface, with headers, encryption and whatever else used it.

The local penalty (+L) costs no bytes. Why our nodes differ from the paper's formula:"""
PASSES = """\
Evaluations of the network by a row of the batch, forward and backward, counted by hooks; `frozen`
are those of the forward ones that a peer's expert, the anchor or a teacher makes. `work` is
(forward + 2 backward) / 3. Times are medians, stages in turns, on a CPU of one thread's own time;
beside evaluations a step also makes its rows and moves the optimiser. In brackets: the paper's
figure.

- `dcfm-a`: a routing vector z may name more own terms than one, and a marginal label that is
  matched where the penalty takes a peer's term is asked for beside.
- `anchored`, the alternating schedule's penalty, is ours: half of its three terms are the anchor's.
- `dcfm-b`: the paper's five, and the teachers' own paths: each step of the solver along one
  gives two points."""
PAPER = "#c9c9c9"
PARTITIONS = (COMPUTE, SHIPPED)


def document(found: Results, given: Costs) -> str:
    """The whole page as Markdown."""
    communication, compute = given.communication, given.compute
    names = f"K = {communication.silos} silos, T = {communication.averagings} averagings,"
    sent = [row for row in found.rows if row.partition == COMMUNICATION]
    methods = _measured(found.rows, communication)
    parts = [head(found, given.title)]
    if methods:
        size = mean(sent, "unit_bytes") / 1e6
        parts += [
            f"## Table 3: communication, {names} R = {communication.rounds} rounds",
            traffic_table(found.rows, communication),
            BYTES.format(size=size, silos=communication.silos),
            "\n".join(f"- `{method}`: {formulas.NOTES[method]}" for method in methods),
        ]
    if partitions := measured(found.rows, PARTITIONS):
        parts += [f"## Table 4: compute, {compute.silos} silos, batches of {compute.batch}"]
        for partition in partitions:
            parts += [f"### {heading(partition, given)}", passes_table(found.rows, partition)]
        parts += [PASSES]
    return "\n\n".join(parts) + "\n"


def summary(rows: Sequence[Row], given: Costs) -> str:
    """Only the tables, for the terminal."""
    return "\n\n".join(
        [traffic_table(rows, given.communication)]
        + [
            f"{heading(partition, given)}\n{passes_table(rows, partition)}"
            for partition in measured(rows, PARTITIONS)
        ]
    )


def heading(partition: str, given: Costs) -> str:
    """Heading: the rows of a batch with the penalty."""
    if partition == "compute":
        return "The penalty on every row"
    return f"The penalty on {given.compute.shipped} rows of {given.compute.batch}, as shipped"


def traffic_table(rows: Sequence[Row], given: Communication) -> str:
    """Table 3: a line per method."""
    lines = []
    for method in _measured(rows, given):
        mine = _of(rows, COMMUNICATION, method)
        paper, ours = formulas.PAPER.get(method), formulas.OURS[method]
        each = mean(mine, "sent_units") + mean(mine, "received_units")
        lines.append(
            [
                method,
                "-" if paper is None else paper.said(given),
                cell(mine, "sent_units"),
                cell(mine, "received_units"),
                f"{each / formulas.EXCHANGES[method](given):.2f}",
                cell(mine, "most_units"),
                ours.said(given),
                cell(mine, "recorded_units"),
                cell(mine, "loopback_units"),
            ]
        )
    header = ("method", "paper", "sent", "received", "per round", "busiest")
    return markdown((*header, "formula", "records", "kernel"), lines)


def passes_table(rows: Sequence[Row], partition: str) -> str:
    """Table 4: a line per stage, with the paper's values if every row has the penalty."""
    lines = []
    for stage in STAGES:
        mine = _of(rows, partition, stage)
        paper = formulas.TABLE_4.get(stage) if partition == "compute" else None
        lines.append(
            [
                stage,
                cell(mine, "forward_passes") + ("" if paper is None else f" [{paper.forward:g}]"),
                cell(mine, "frozen_forward_passes"),
                cell(mine, "backward_passes") + ("" if paper is None else f" [{paper.backward:g}]"),
                f"{work(mine):.2f}",
                cell(mine, "step_ms"),
                cell(mine, "time_ratio"),
            ]
        )
    header = ("stage", "forward", "frozen", "backward", "work", "ms a step", "time over plain")
    return markdown(header, lines)


def draw(folder: Path, found: Results, given: Costs) -> list[Path]:
    """Write the picture into the folder: bytes by method, evaluations by stage, and times."""
    from matplotlib.figure import Figure

    path = folder / "costs.png"
    figure = Figure(figsize=(14, 4.4))
    bytes_, evaluations, times = figure.subplots(1, 3)
    _draw_traffic(bytes_, found.rows, given.communication)
    _draw_passes(evaluations, found.rows)
    _draw_times(times, found.rows, given)
    for axes in (bytes_, evaluations, times):
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylim(0, 1.35 * axes.get_ylim()[1])
        axes.legend(fontsize=8, frameon=False, loc="upper left")
    figure.tight_layout()
    figure.savefig(path, dpi=DPI, facecolor="white", bbox_inches="tight")
    return [path]


def _draw_traffic(axes: "Axes", rows: Sequence[Row], given: Communication) -> None:
    methods = _measured(rows, given)
    places = range(len(methods))
    received, sent = (
        [mean(_of(rows, COMMUNICATION, method), name) for method in methods]
        for name in ("received_units", "sent_units")
    )
    paper = [formulas.PAPER[m](given) if m in formulas.PAPER else 0 for m in methods]
    axes.bar([p - 0.2 for p in places], paper, 0.38, color=PAPER, label="the paper's formula")
    own = [p + 0.2 for p in places]
    axes.bar(own, received, 0.38, color=COLOURS[0], label="received")
    axes.bar(own, sent, 0.38, bottom=received, color=COLOURS[1], label="sent")
    axes.set_xticks(places, _names(methods))
    axes.set_ylabel("networks a silo", fontsize=9)
    axes.set_title(
        f"Communication: K = {given.silos}, T = {given.averagings}, R = {given.rounds}",
        fontsize=10,
        color=INK,
    )


def _draw_passes(axes: "Axes", rows: Sequence[Row]) -> None:
    def of(name: str) -> list[float]:
        return [mean(_of(rows, "compute", stage), name) for stage in STAGES]

    places, frozen = range(len(STAGES)), of("frozen_forward_passes")
    own = [f - z for f, z in zip(of("forward_passes"), frozen, strict=True)]
    left, right = [p - 0.2 for p in places], [p + 0.2 for p in places]
    axes.bar(left, own, 0.38, color=COLOURS[0], label="forward")
    axes.bar(left, frozen, 0.38, bottom=own, color=COLOURS[5], label="forward, frozen networks")
    axes.bar(right, of("backward_passes"), 0.38, color=COLOURS[1], label="backward")
    known = [
        (place, formulas.TABLE_4[s]) for place, s in enumerate(STAGES) if s in formulas.TABLE_4
    ]
    ticks = [(place - 0.2, p.forward) for place, p in known]
    ticks += [(place + 0.2, p.backward) for place, p in known]
    axes.hlines(
        [height for _, height in ticks],
        [place - 0.19 for place, _ in ticks],
        [place + 0.19 for place, _ in ticks],
        color=INK,
        label="the paper's",
    )
    axes.set_xticks(places, _names(STAGES))
    axes.set_ylabel("evaluations of a row", fontsize=9)
    axes.set_title("Compute: the penalty on every row", fontsize=10, color=INK)


def _draw_times(axes: "Axes", rows: Sequence[Row], given: Costs) -> None:
    for side, partition, colour in zip(
        (-0.2, 0.2), PARTITIONS, (COLOURS[0], COLOURS[2]), strict=True
    ):
        mine = [_of(rows, partition, stage) for stage in STAGES]
        places = [place + side for place in range(len(STAGES))]
        label = heading(partition, given).lower()
        axes.bar(places, [mean(m, "time_ratio") for m in mine], 0.38, color=colour, label=label)
        axes.hlines(
            [work(m) for m in mine],
            [place - 0.19 for place in places],
            [place + 0.19 for place in places],
            color=INK,
            label="by evaluations" if side > 0 else "_",
        )
    axes.set_xticks(range(len(STAGES)), _names(STAGES))
    axes.set_ylabel("over plain flow matching", fontsize=9)
    axes.set_title("Time of a step", fontsize=10, color=INK)


def _names(methods: Sequence[str]) -> list[str]:
    return [name.replace("dcfm-alternating", "dcfm-\nalternating") for name in methods]


def _measured(rows: Sequence[Row], given: Communication) -> list[MethodName]:
    """The methods that have rows."""
    return [method for method in given.methods if _of(rows, COMMUNICATION, method)]


def _of(rows: Sequence[Row], partition: str, method: str) -> list[Row]:
    return [row for row in rows if (row.partition, row.method) == (partition, method)]


def mean(rows: Sequence[Row], metric: str) -> float:
    """Over seeds."""
    return spread(rows, metric)[0]


def work(rows: Sequence[Row]) -> float:
    """Evaluations of a step relative to plain flow matching."""
    return formulas.Passes(mean(rows, "forward_passes"), mean(rows, "backward_passes")).work
