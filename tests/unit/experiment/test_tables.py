"""Tables: means, spreads, and the paper's figures beside ours."""

from dataclasses import replace
from pathlib import Path

import pytest

from dcfm_node.experiment import settings, tables
from dcfm_node.experiment.results import Results, Row, read, spread
from tests.unit.experiment import tiny


def row(method: str, seed: int, novel: float) -> Row:
    metrics = {"known_accuracy": 1.0, "novel_accuracy": novel}
    cost = {"cpu_seconds": 2.0, "trainings": 3.0, "waiting_seconds": 1.0, "sent": 1.0}
    return Row(
        method=method,
        partition="noniid",
        seed=seed,
        rule="joint",
        metrics=metrics,
        variants={"joint": metrics, "composed": {"novel_accuracy": novel / 2}},
        cost=cost | {"received": 1.0, "parameters": 10.0},
    )


ROWS = (row("dcfm-b", 0, 0.8), row("dcfm-b", 1, 0.6), row("ddm", 0, 0.1), row("ddm", 1, 0.1))


def test_spread_is_the_standard_deviation_of_a_sample() -> None:
    mean, deviation = spread(ROWS[:2], "novel_accuracy")
    assert abs(mean - 0.7) < 1e-12
    assert abs(deviation - 0.2 / 2**0.5) < 1e-12
    assert spread(ROWS[:1], "novel_accuracy") == (0.8, 0.0)


def test_a_line_per_method_with_the_papers_figure_in_brackets(tmp_path: Path) -> None:
    given = settings.load(tiny.write(tmp_path), "cpu")
    lines = tables.main_table(ROWS, given).splitlines()
    assert lines[2] == "| **dcfm-b** | joint | 1.00 ± 0.00 | 0.70 ± 0.14 [0.5] | - |"
    assert lines[3].startswith("| ddm | joint | 1.00 ± 0.00 | 0.10 ± 0.00 |")


def test_shares_of_samples_have_intervals_over_all_seeds() -> None:
    rows = [
        replace(one, metrics=one.metrics | {"samples_known": 60.0, "samples_novel": 20.0})
        for one in ROWS[:2]
    ]
    assert tables.cell(rows, "novel_accuracy", intervals=True) == "0.70 (0.55 to 0.82)"
    assert tables.cell(rows[:1], "novel_accuracy", intervals=True) == "0.80 (0.58 to 0.92)"
    assert tables.cell(rows, "known_accuracy", intervals=True) == "1.00 (0.97 to 1.00)"
    assert tables.cell(rows, "success_novel", intervals=True) == "-"


def test_results_survive_the_disk(tmp_path: Path) -> None:
    found = Results("tiny", "cpu", "abc", "a machine", "dcfm-node experiment run tiny", ROWS)
    found.write(tmp_path)
    assert read(tmp_path) == found


@pytest.mark.parametrize(
    ("objectives", "last"),
    [
        ((3.0, 2.0, 1.0), None),
        ((3.0, 1.0, 0.995), 2),
        ((1.0, 1.0), None),
        ((1.0, 2.0, 1.0, 1.1, 0.5), 3),
    ],
)
def test_training_ends_where_it_stops_paying(objectives: tuple[float, ...], last: int) -> None:
    """SPEC 6.5."""
    assert tables.ends_with(objectives, 0.01) == last


def test_the_round_that_training_ends_with_is_shown() -> None:
    each = {"known_accuracy": 0.9, "novel_accuracy": 0.8}
    rounds = [{"objective": value, **each} for value in (3.0, 1.0, 1.0)]
    line = tables.rounds_table([replace(ROWS[0], rounds=rounds)], 0.01).splitlines()[-1]
    name = "dcfm-b, noniid, seed 0"
    cells = ("0.90 / 0.80, 3.0000", "0.90 / 0.80, 1.0000", "**0.90 / 0.80, 1.0000**")
    assert line == f"| {' | '.join((name, *cells))} |"
