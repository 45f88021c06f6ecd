"""The tables: formulas at the run's numbers, rows that are kept, a line for each, the picture."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dcfm_node.experiment import run, settings, show
from dcfm_node.experiment.costs import formulas, traffic
from dcfm_node.experiment.costs.formulas import Passes
from dcfm_node.experiment.costs.settings import STAGES, Communication
from dcfm_node.experiment.costs.show import passes_table, traffic_table
from dcfm_node.experiment.results import Results, Row, read
from tests.unit.experiment.costs import tiny

UNITS = {"sent_units": 2.0, "received_units": 2.5, "recorded_units": 2.4, "most_units": 5.0}


def communication(silos: int, averagings: int, rounds: int) -> Communication:
    given = settings.load_costs("costs", "cpu").communication
    return given.model_copy(update={"silos": silos, "averagings": averagings, "rounds": rounds})


@pytest.mark.parametrize(
    ("silos", "averagings", "rounds", "expected"),
    [(3, 4, 2, [8, 2, 2, 6, 2]), (10, 300, 1, [600, 9, 9, 10, 2])],
)
def test_the_paper_s_formulas(
    silos: int, averagings: int, rounds: int, expected: list[float]
) -> None:
    given = communication(silos, averagings, rounds)
    assert [formula(given) for formula in formulas.PAPER.values()] == expected


def test_our_nodes_formulas() -> None:
    given = communication(3, 4, 2)
    found = {name: round(formula(given), 2) for name, formula in formulas.OURS.items()}
    assert found == {
        "fedflow": 8.67,
        "ddm": 4,
        "dfd": 4,
        "dcfm-a": 6.67,
        "dcfm-b": 2.67,
        "dcfm-alternating": 8,
    }
    assert set(formulas.NOTES) == set(formulas.OURS) == set(formulas.EXCHANGES)


def test_a_row_without_the_penalty_needs_less() -> None:
    assert formulas.needed("dcfm-a", 1.0) == Passes(4, 2)
    assert formulas.needed("dcfm-a", 0.25) == Passes(1.75, 1.25)
    assert formulas.needed("dcfm-b", 0.25) == Passes(2.75, 1.75)
    assert Passes(4, 2).work == pytest.approx(8 / 3)


def traffic_row(method: str, **metrics: float) -> Row:
    return Row(method, "communication", 0, "release", UNITS | metrics)


def test_a_line_of_bytes_per_method_beside_the_formulas() -> None:
    given = communication(3, 4, 2)
    rows = [traffic_row(method) for method in given.methods]
    lines = traffic_table(rows, given).splitlines()[2:]
    assert lines[0] == (
        "| fedflow | 2 T = 8 | 2.00 | 2.50 | 1.12 | 5.00 | (T + 1/K) (K - 1) = 8.67 | 2.40 | - |"
    )
    assert [line.split(" | ")[1] for line in lines[1:]] == [
        "K - 1 = 2",
        "K - 1 = 2",
        "R (K - 1) + R = 6",
        "2",
        "-",
    ]


def test_a_line_of_passes_per_stage_with_the_paper_s_in_brackets() -> None:
    metrics = {
        "forward_passes": 4.1,
        "frozen_forward_passes": 1.9,
        "backward_passes": 2.2,
        "step_ms": 10.0,
        "time_ratio": 2.0,
    }
    rows = [
        Row(stage, partition, 0, "", metrics)
        for partition in ("compute", "compute-shipped")
        for stage in STAGES
    ]
    line = passes_table(rows, "compute").splitlines()[4]
    assert line == "| dcfm-a | 4.10 [4] | 1.90 | 2.20 [2] | 2.83 | 10.00 | 2.00 |"
    line = passes_table(rows, "compute-shipped").splitlines()[4]
    assert line == "| dcfm-a | 4.10 | 1.90 | 2.20 | 2.83 | 10.00 | 2.00 |"


class Measured:
    """Stands in for real nodes, and remembers who was measured."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.methods: list[str] = []
        monkeypatch.setattr(traffic, "measure", self)

    def __call__(
        self, folder: Path, given: Communication, method: str, seed: int, tell: Any
    ) -> dict[str, float]:
        self.methods.append(method)
        tell("local, round 0", 0.5)
        return UNITS | {"unit_bytes": 1e6}


def carry_out(folder: Path, path: str) -> tuple[Results, list[dict[str, Any]]]:
    told: list[dict[str, Any]] = []
    request = run.Request(path, "cpu", 1, folder / "found", None, "cpu", 1)
    found = run.run(request, "a command", lambda unit, line: told.append({"unit": unit} | line))
    return found, told


def test_what_was_measured_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = Measured(monkeypatch)
    first, told = carry_out(tmp_path, tiny.write(tmp_path, methods='"ddm", "fedflow"'))
    assert nodes.methods == ["ddm", "fedflow"]
    assert {line["total"] for line in told if line["unit"] == "communication 0"} == {2}
    again, _ = carry_out(tmp_path, tiny.write(tmp_path, methods='"ddm", "fedflow"'))
    assert nodes.methods == ["ddm", "fedflow"]
    # Times too: nothing was trained again.
    assert again == first
    third, _ = carry_out(tmp_path, tiny.write(tmp_path, methods='"dfd", "ddm"', shipped=4))
    assert nodes.methods == ["ddm", "fedflow", "dfd"]
    assert {row.rule for row in third.rows if row.partition == "compute-shipped"} == {
        "penalty on 4 of 8"
    }


def test_results_become_a_page_and_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Measured(monkeypatch)
    found, _ = carry_out(tmp_path, tiny.write(tmp_path, methods='"ddm", "dcfm-alternating"'))
    out = tmp_path / "found"
    assert read(out) == found
    given = settings.of_results(found.settings)
    written = show.write(out, found, given)
    assert [path.name for path in written] == ["results.json", "table.md", "costs.png"]
    page = (out / "table.md").read_text()
    for method in ("ddm", "dcfm-alternating"):
        assert f"- `{method}`: {formulas.NOTES[method]}" in page  # type: ignore[index]
    assert "fedflow" not in page
    assert "K = 2 silos, T = 2 averagings, R = 1 rounds" in page
    assert show.summary(found, given).count("| plain |") == 2
    with Image.open(out / "costs.png") as image:
        assert min(image.size) > 300
