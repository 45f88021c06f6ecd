"""What an experiment that was stopped leaves: the rows so far, and tables and pictures of them."""

import asyncio
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from dcfm_node.errors import Failed
from dcfm_node.experiment import run as running
from dcfm_node.experiment import settings, show
from dcfm_node.experiment.costs import traffic
from dcfm_node.experiment.results import Results, Row, read, save_samples, write_json
from dcfm_node.experiment.run import Request
from dcfm_node.experiment.strangers.settings import Strangers
from tests.unit.cli.running import run
from tests.unit.experiment.costs import tiny as tiny_costs

METRICS = {"known_accuracy": 1.0, "novel_accuracy": 0.5, "announced_error": 0.0}
COST = {"cpu_seconds": 2.0, "trainings": 1.0, "sent": 1.0, "received": 1.0}


def row(partition: str, seed: int, method: str) -> Row:
    rounds = [METRICS | COST | {"round": 0.0, "objective": 1.0}]
    return Row(method, partition, seed, "joint", METRICS, {"joint": METRICS}, rounds, COST)


def test_a_failed_trial_leaves_the_rows_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also while it runs, so also where it is killed."""
    given = settings.load("gaussians", "cpu")
    first, other = given.partitions[:2]
    methods = list(given.lineup)
    folder = tmp_path / "found"
    seen: list[str] = []

    async def trial(request: Request, partition: str, seed: int, watch: running.Watch) -> None:
        if (partition, seed) != (first, 0):
            await asyncio.Event().wait()  # until the other's failure ends it
        for method in methods[:2]:
            path = folder / "rows" / f"{partition}-{seed}-{method}.json"
            path.parent.mkdir(exist_ok=True)
            write_json(path, {"row": asdict(row(partition, seed, method))})
            watch(f"{partition} {seed}", {"event": "measured", "method": method, "done": 1})
        # Made by other code: the trial has not come to it.
        stale = folder / "rows" / f"{partition}-{seed}-{methods[2]}.json"
        write_json(stale, {"row": asdict(row(partition, seed, methods[2]))})
        raise Failed("no more")

    def watch(trial: str, line: dict[str, object]) -> None:
        seen.append(next(s for s in (folder / "table.md").read_text().split("\n") if "Incom" in s))

    monkeypatch.setattr(running, "_trial", trial)
    with pytest.raises(Failed, match="no more"):
        running.run(Request("gaussians", "cpu", 2, folder, None, "cpu", 1), "a command", watch)
    whole = 2 * len(given.partitions) * len(methods)
    assert [said.partition("Incomplete: ")[2] for said in seen] == [
        f"1 of {whole} rows.",
        f"2 of {whole} rows.",
    ]
    assert [(r.partition, r.seed, r.method) for r in read(folder).rows] == [
        (first, 0, method) for method in methods[:2]
    ]
    assert read(folder).planned == whole

    written = (folder / "table.md").read_text()
    assert f"## {first}" in written
    assert f"## {other}" not in written
    _keep_samples(folder, first, methods[:2])
    assert run(monkeypatch, "experiment", "show", folder) == 0
    assert f"Incomplete: 2 of {whole} rows." in capsys.readouterr().out
    assert (folder / "table.md").read_text() == written
    assert (folder / f"samples-{first}.png").stat().st_size > 0
    assert not (folder / f"samples-{other}.png").exists()


def _keep_samples(folder: Path, partition: str, methods: list[str]) -> None:
    """Samples of these methods alone, as their trial leaves them."""
    problem, name = settings.load("gaussians", "cpu").posed[partition]
    split = problem.split(name, 0)
    for method in methods:
        path = folder / "samples" / f"{partition}-0-{method}.npz"
        save_samples(path, split.silos[0], split.space)


def test_an_interrupted_measurement_of_costs_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    units = dict.fromkeys(
        ("sent_units", "received_units", "recorded_units", "most_units", "unit_bytes"), 2.0
    )
    monkeypatch.setattr(traffic, "measure", lambda *_: units)
    path = tiny_costs.write(tmp_path, methods='"ddm", "fedflow"')
    folder = tmp_path / "found"

    def interrupted(_: str, line: dict[str, object]) -> None:
        if line["event"] == "measured":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        running.run(Request(path, "cpu", 1, folder, None, "cpu", 1), "a command", interrupted)
    assert run(monkeypatch, "experiment", "show", folder) == 0
    shown = capsys.readouterr().out
    assert "Incomplete: 1 of 12 rows." in shown
    assert "| ddm |" in shown
    assert "fedflow" not in shown
    assert "Table 4" not in shown
    assert (folder / "costs.png").stat().st_size > 0


def test_problems_without_rows_are_left_out() -> None:
    given = settings.read("strangers", "cpu")
    assert isinstance(given, Strangers)
    names = ("units", "series")
    rows = tuple(row(name, 0, "defaults") for name in names)
    found = Results("s", "cpu", "", "", "", rows, planned=len(given.problems))
    page = show.page(found, given)
    assert f"Incomplete: 2 of {len(given.problems)} rows." in page
    assert "0 of 2 problems. Announced within 0.10: 2." in page
    told = {line.split(" | ")[0] for line in page.split("\n") if line.startswith("| ")}
    assert told == {"| problem", "| ---", *(f"| {name}" for name in names)}
    assert "- / -" not in page


@pytest.mark.parametrize("planned", [None, 1])
def test_what_is_complete_says_nothing(planned: int | None) -> None:
    """Files of earlier versions do not say how many rows were planned."""
    found = Results("s", "cpu", "", "", "", (row("units", 0, "defaults"),), planned=planned)
    assert found.missing == ""
    assert replace(found, planned=2).missing == "Incomplete: 1 of 2 rows."
    document = json.loads(json.dumps(found.document().plain()))
    assert document["planned"] == planned
