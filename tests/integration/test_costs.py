"""`dcfm-node experiment run costs` as its user runs it: real nodes, and none left behind."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dcfm_node.api.client import call
from dcfm_node.api.requests import StatusRequest
from dcfm_node.errors import Unreachable
from tests.integration.cluster import DCFM, ENVIRONMENT, PATIENCE_S, dcfm_process, until
from tests.unit.experiment.costs import tiny


@pytest.mark.full
def test_real_nodes_send_what_the_records_say(tmp_path: Path) -> None:
    found = tmp_path / "found"
    ran = dcfm_process("experiment", "run", tiny.write(tmp_path), "--out", found, "--json")
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    assert document["schema"] == "dcfm-node/experiment/1"
    (row,) = (row for row in document["rows"] if row["partition"] == "communication")
    metrics = row["metrics"]
    # Two silos: a peer's expert for each, and the student for the one that did not distil it;
    # snapshots have headers beside their parameters.
    assert metrics["recorded_units"] == pytest.approx(1.5, rel=0.02)
    # Beside them gossip, which weighs more the smaller the network is.
    assert 1 <= metrics["received_units"] / metrics["recorded_units"] < 1.5
    assert metrics["sent_units"] == pytest.approx(metrics["received_units"], rel=0.05)
    assert metrics["loopback_units"] > metrics["received_units"]
    compute = {r["method"]: r["metrics"] for r in document["rows"] if r["partition"] == "compute"}
    assert compute["+l"]["forward_passes"] == compute["+l"]["backward_passes"]
    assert not (found / "nodes").exists()
    assert (found / "costs.png").stat().st_size > 0
    assert "| dcfm-b | 2 |" in (found / "table.md").read_text()


@pytest.mark.full
def test_an_interrupted_run_ends_its_nodes(tmp_path: Path) -> None:
    found, quiet = tmp_path / "found", subprocess.DEVNULL
    endless = tiny.write(tmp_path, steps=1_000_000)
    command = [*DCFM, "experiment", "run", endless, "--out", str(found)]
    # A shell has what it starts in the background ignore interrupts, and so would this.
    heeding = ["env", "--default-signal=INT", *command]
    running = subprocess.Popen(heeding, stdout=quiet, stderr=quiet, env=ENVIRONMENT)
    try:
        states = [found / "nodes" / "nodes" / name / "state" for name in ("east", "north")]
        workers = [until(lambda s=state: ask(s))["worker"]["pid"] for state in states]
        running.send_signal(signal.SIGINT)
        assert running.wait(PATIENCE_S) != 0
    finally:
        running.kill()
        running.wait()
    assert not (found / "nodes").exists()
    for pid in workers:
        until(lambda p=pid: ended(p))


def ask(state: Path) -> dict[str, Any]:
    """A node's status; an empty one while it does not answer."""
    try:
        return call(state, StatusRequest()).plain()
    except (Unreachable, OSError):
        return {}


def ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
