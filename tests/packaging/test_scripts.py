"""The scripts, as far as they can be checked without a network."""

import json
import os
import subprocess

import pytest

from tests.packaging.tree import ROOT

SHELL = [ROOT / "scripts" / name for name in ("demo", "docs", "test")] + [ROOT / ".ci" / "run"]
# The command line, run in this process by other tests, sets it for its workers.
ENVIRONMENT = {name: text for name, text in os.environ.items() if name != "PYTHONSAFEPATH"}


@pytest.mark.parametrize("path", SHELL, ids=lambda path: path.name)
def test_they_are_portable_shell(path):
    assert os.access(path, os.X_OK)
    assert path.read_text().startswith("#!/bin/sh\n")
    for script in (path, ROOT / "scripts" / "environment.sh"):
        done = subprocess.run(["sh", "-n", script], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def run(*arguments: str) -> str:
    """What a script prints; it must succeed."""
    done = subprocess.run(
        [os.sys.executable, *arguments],
        cwd=ROOT,
        env=ENVIRONMENT | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_bench_sets_every_stage_beside_its_floor():
    """Its form, and what counting evaluations gives; times are the machine's."""
    rows = json.loads(run("scripts/bench_training", "--steps", "2", "--json"))["rows"]
    floors = {row["name"]: round(row["floor"], 2) for row in rows}
    assert floors == {
        "plain": 1.0,
        "+L": 4.0,
        "DCFM-A, K = 2": 2.67,
        "DCFM-A, K = 5": 2.67,
        "DCFM-A, K = 10": 2.67,
        "anchored": 3.0,
        "DCFM-B, K = 5": 4.33,
        "+L, shipped": 1.75,
        "DCFM-A, K = 5, shipped": 1.42,
        "anchored, shipped": 1.5,
        "DCFM-B, K = 5, shipped": 2.08,
    }
    drawn = {row["name"]: round(row["drawn"], 2) for row in rows}
    for name in ("plain", "+L", "+L, shipped"):
        assert drawn[name] == floors[name], "asked for as few velocities as can be"
    for name in floors:
        assert drawn[name] >= floors[name] or "anchored" in name


def test_the_bench_of_the_network_counts_what_crosses_the_wire():
    """Bytes on the sockets, over (K - 1) S a node; times are the machine's."""
    only = ("--only", "gather", "--silos", "3", "--megabytes", "4", "--repeats", "1")
    (row,) = json.loads(run("scripts/bench_network", "--json", *only))["gather"]
    assert (row["silos"], row["megabytes"]) == (3, 4)
    assert 1 < row["bytes_over_bound"] < 1.03


def test_gossip_is_measured_by_size():
    """Every record arrives everywhere; how fast it grows is fitted."""
    found = json.loads(run("scripts/measure_gossip", "--sizes", "4", "6", "8", "--json"))
    assert [row["nodes"] for row in found["rows"]] == [4, 6, 8]
    assert not any(row["unheard"] for row in found["rows"])
    assert set(found["fits"]) == {"last_s over log2(n)", "last_s over n", "bytes_s over n"}
