"""What breaks is made small, told, and repeated by a command."""

import json

import pytest
from typer.testing import CliRunner

from dcfm_node.cli.main import app
from dcfm_node.records.manifest import Manifest
from dcfm_node.simulation import sweep
from dcfm_node.simulation.run import Found, find
from dcfm_node.simulation.scenario import load
from dcfm_node.simulation.trace import LINES


@pytest.fixture
def minority_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Manifest, "quorum", property(lambda self: len(self.roster) // 2))


@pytest.mark.usefixtures("minority_rules")
def test_only_the_faults_that_it_takes_are_left() -> None:
    """Two leaders take a split network; power cuts and lost messages have nothing to do with it."""
    scenario = load("split:tolerant", {"nodes": 5, "crashes": 4, "stall_s": 40.0})
    found = next(f for seed in range(20) if isinstance(f := find(scenario, seed), Found))
    assert found.rule == "one leader per term"
    assert {fault.kind for fault in found.faults} <= {"split", "crash"}
    assert len(found.faults) < 5
    assert 0 < len(found.lines()) <= LINES
    assert any("FAULT" in line for line in found.lines())


@pytest.mark.usefixtures("minority_rules")
def test_a_violation_is_a_failure_with_the_command_that_repeats_it() -> None:
    command = [
        "simulate",
        "split:tolerant",
        "--nodes",
        "5",
        "--seeds",
        "2",
        "--jobs",
        "1",
        "--json",
    ]
    ran = CliRunner().invoke(app, command)
    document = json.loads(ran.stdout)
    assert (ran.exit_code, document["schema"]) == (1, "dcfm-node/simulation/1")
    first = document["violations"][0]
    again = first["repeat"].split()[1:]
    repeated = json.loads(CliRunner().invoke(app, [*again, "--json"]).stdout)
    assert repeated["violations"] == [first]
    told = CliRunner().invoke(app, again)
    assert told.exit_code == 1
    assert f"repeat: {first['repeat']}" in told.stdout


def test_a_sweep_over_processes_counts_every_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "PIECE", 3)
    pieces = sweep.sweep(sweep.Request("few:two", None, 5, 5, jobs=2), lambda done, broken: None)
    alone = sweep.sweep(sweep.Request("few:two", None, 5, 5, jobs=1), lambda done, broken: None)
    assert (pieces.runs, pieces.violations) == (5, [])
    assert (pieces.messages, alone.runs) == (alone.messages, 5)


def test_without_a_scenario_all_are_listed() -> None:
    listed = json.loads(CliRunner().invoke(app, ["simulate", "--json"]).stdout)
    assert {"power-cuts", "disks-lost:paper"} <= {row["name"] for row in listed["scenarios"]}
