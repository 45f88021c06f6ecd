"""A node killed with -9 in any stage, for good: the run still ends with a student. (Those that come
back are in tests/chaos.)"""

import os
import signal
from pathlib import Path

import pytest

from tests.integration.cluster import PATIENCE_S, Site, cluster, dcfm, dcfm_json, released, until


def busy(site: Site, activity: str) -> bool:
    """Whether a site is in the middle of an activity."""
    doing = site.ask().get("doing", {})
    return doing.get("activity") == activity and doing.get("done", 0) > 0


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


def test_a_killed_worker_resumes_from_its_checkpoint(tmp_path: Path) -> None:
    with cluster(tmp_path, steps=1_500) as sites:
        for site in sites:
            site.start()
        victim = sites[0]
        checkpoints = victim.state / "work"
        until(lambda: busy(victim, "local") and list(checkpoints.glob("*.checkpoint")))
        before, pid = victim.ask()["doing"]["done"], victim.worker_pid()
        os.kill(pid, signal.SIGKILL)
        again = until(lambda: victim.ask()["worker"]["pid"] not in (pid, None) and victim.ask())
        assert again["doing"]["activity"] == "local"
        resumed = until(lambda: (victim.ask()["doing"]["done"] != before) and victim.ask())
        assert resumed["doing"]["done"] >= before // 2 or resumed["doing"]["activity"] != "local"
        assert len(set(until(lambda: released(sites)).values())) == 1


def test_a_killed_daemon_leaves_no_worker_behind(tmp_path: Path) -> None:
    with cluster(tmp_path) as sites:
        sites[0].start()
        until(lambda: busy(sites[0], "local"))
        worker = Path(f"/proc/{sites[0].worker_pid()}")
        sites[0].kill()
        until(lambda: not worker.exists() or "Z" in (worker / "stat").read_text().split()[2])


@pytest.mark.parametrize("schedule", ["alternating", "paper"])
def test_nodes_that_only_dial_out_take_full_part(tmp_path: Path, schedule: str) -> None:
    with cluster(tmp_path, schedule=schedule, dial_only=("east", "south")) as sites:
        for site in sites:
            site.start()
        assert len(set(until(lambda: released(sites)).values())) == 1
        latest = sites[0].ask()["latest"]
        assert latest["outcome"] == "COMPLETE"
        assert sorted(teacher["silo"] for teacher in latest["teachers"]) == [
            "east",
            "north",
            "south",
        ]
        folder = tmp_path / "student"
        config = sites[1].folder / "node.toml"
        assert dcfm("student", "fetch", "--latest", "--out", folder, "-c", config).returncode == 0
        proof = dcfm_json("student", "verify", folder)
        assert proof["verified"]
        assert proof["digest"] == latest["digest"]


def test_two_ranks_train_as_one_silo(tmp_path: Path) -> None:
    with cluster(tmp_path, devices=2, steps=60) as sites:
        for site in sites[:2]:
            site.start()
        until(lambda: all(site.ask().get("silos") for site in sites[:2]))
        assert len(set(until(lambda: released(sites[:2])).values())) == 1


def test_a_node_outlives_its_terminal_and_none_of_its_ranks_outlives_it(tmp_path: Path) -> None:
    with cluster(tmp_path, devices=2, steps=100_000) as sites:
        north = sites[0]
        north.start()
        worker = until(lambda: north.ask().get("worker", {}).get("pid"))
        until(lambda: len(ranks_of(worker)) == 1)
        assert north.process is not None
        north.process.send_signal(signal.SIGHUP)
        until(lambda: "hangup" in north.log.read_text())
        started = [worker, *ranks_of(worker)]
        assert dcfm("stop", "--grace", 0, "-c", north.folder / "node.toml").returncode == 0
        assert north.process.wait(PATIENCE_S) == 0
        until(lambda: all(ended(pid) for pid in started))


def ended(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().split()[2] == "Z"


def ranks_of(worker: int) -> list[int]:
    """Pids of the processes that a worker started."""
    listed = Path(f"/proc/{worker}/task").glob("*/children")
    return [int(pid) for file in listed for pid in file.read_text().split()]
