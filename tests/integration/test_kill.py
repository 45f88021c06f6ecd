"""A node killed with -9 in any stage, for good: the run still ends with a student. And the life of
one node: its terminal, its worker, its ranks. (Nodes that come back are in tests/chaos, a leader
that is lost in test_failover, a silo that is missing in test_change.)"""

import os
import signal
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from tests.integration.cluster import (
    PATIENCE_S,
    Site,
    cluster,
    dcfm,
    dcfm_json,
    dcfm_process,
    released,
    until,
)


def busy(site: Site, activity: str) -> bool:
    """Whether a site is in the middle of an activity."""
    doing = site.ask().get("doing", {})
    return doing.get("activity") == activity and doing.get("done", 0) > 0


@pytest.mark.full
@pytest.mark.parametrize("stage", ["local", "refine", "distil"])
def test_the_run_survives_the_loss_of_a_node(tmp_path: Path, stage: str) -> None:
    with cluster(tmp_path, steps=400) as sites:
        for site in sites:
            site.start()
        victim = until(lambda: next((site for site in sites if busy(site, stage)), None))
        victim.kill()
        remaining = [site for site in sites if site is not victim]
        digests = until(lambda: released(remaining))
        assert len(set(digests.values())) == 1
        latest = remaining[0].ask()["latest"]
        if stage == "local":
            assert latest["outcome"] == "DEGRADED"
            assert latest["missing"] == [victim.name]
        status = dcfm("status", "--config", remaining[0].folder / "node.toml")
        assert status.returncode == 3
        assert victim.name in status.stdout


def test_the_life_of_a_node_and_its_ranks(tmp_path: Path) -> None:
    """It trains alone, for the others are not there, and nothing that befalls it loses its work."""
    with cluster(tmp_path, devices=2, steps=1_000_000) as (north, *_):
        config = ("--config", north.folder / "node.toml")
        # Without a preparation, which waits for the others.
        text = north.run.read_text().replace('standardise = "feature"', 'standardise = "none"')
        north.run.write_text(text.replace("share = 0.15", "share = 0.0"))
        north.start()
        until(lambda: checkpointed(north) > 100)
        assert north.process is not None

        # One state folder has one daemon.
        again = dcfm_process("start", "--peers", north.peers, "--run", north.run, *config)
        assert again.returncode == 1
        assert str(north.process.pid) in again.stderr

        # It outlives its terminal.
        north.process.send_signal(signal.SIGHUP)
        until(lambda: "hangup" in north.log.read_text())

        # A killed worker goes on from its checkpoint.
        pid = north.worker_pid()
        first = [pid, *until(lambda: ranks_of(pid))]
        came = checkpointed(north), told(north)  # either may be behind
        os.kill(pid, signal.SIGKILL)
        until(lambda: north.ask().get("worker", {}).get("pid") not in (pid, None))
        assert least_until_beyond(north, max(came)) >= min(came)

        # To stop is to drain; no rank of any worker outlives it, and the next start goes on.
        second = [north.worker_pid(), *ranks_of(north.worker_pid())]
        assert dcfm_json("stop", "--grace", 0, *config)["stopped"]
        assert north.process.wait(PATIENCE_S) == 0
        until(lambda: all(ended(process) for process in (*first, *second)))
        step = checkpointed(north)
        north.start()
        assert least_until_beyond(north, step) >= step

        # A killed daemon leaves nothing behind.
        third = [north.worker_pid(), *until(lambda: ranks_of(north.worker_pid()))]
        north.kill()
        until(lambda: all(ended(process) for process in third))


@pytest.mark.full
def test_nodes_that_only_dial_out_take_full_part(tmp_path: Path) -> None:
    """As in test_delta, by the other schedule."""
    with cluster(tmp_path, schedule="paper", dial_only=("east", "south")) as sites:
        for site in sites:
            site.start()
        assert len(set(until(lambda: released(sites)).values())) == 1
        latest = sites[0].ask()["latest"]
        assert latest["outcome"] == "COMPLETE"
        names = sorted(teacher["silo"] for teacher in latest["teachers"])
        assert names == ["east", "north", "south"]


@pytest.mark.full
def test_two_ranks_train_as_one_silo(tmp_path: Path) -> None:
    with cluster(tmp_path, devices=2, steps=60) as sites:
        for site in sites[:2]:
            site.start()
        until(lambda: all(site.ask().get("silos") for site in sites[:2]))
        assert len(set(until(lambda: released(sites[:2])).values())) == 1


def checkpointed(site: Site) -> int:
    """The step of a site's checkpoint; 0 while there is none."""
    steps = [
        int(load_file(path)["step"].item()) for path in (site.state / "work").glob("*.checkpoint")
    ]
    return max(steps, default=0)


def told(site: Site) -> int:
    """The step that a site says it is at; 0 while it says nothing."""
    done: int = site.ask().get("doing", {}).get("done", 0)
    return done


def least_until_beyond(site: Site, step: int) -> int:
    """The least step that a site tells until it is beyond one: a small one if it began anew."""
    seen: list[int] = []
    until(lambda: seen.append(told(site)) or seen[-1] > step)
    return min(filter(None, seen))


def ended(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().split()[2] == "Z"


def ranks_of(worker: int) -> list[int]:
    """Pids of the processes that a worker started."""
    listed = Path(f"/proc/{worker}/task").glob("*/children")
    return [int(pid) for file in listed for pid in file.read_text().split()]
