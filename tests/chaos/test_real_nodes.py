"""Real nodes on bad machines: killed, parted, with a full or damaged disk and a wrong clock."""

import os
import random
import re
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.chaos.monkey import Plan, leave_stale_things, run, truncate_journals
from tests.integration.cluster import (
    ENVIRONMENT,
    ROOT,
    Site,
    cluster,
    dcfm,
    dcfm_json,
    released,
    until,
)

TEN_YEARS_S = 10 * 365 * 86_400


@pytest.mark.full
def test_ten_kills_at_random_instants_and_the_run_ends_with_the_right_student(
    tmp_path: Path,
) -> None:
    """The small form of `scripts/chaos`."""
    verdict = run(Plan(seed=1, kills=10, rounds=1, steps=250, mischief=0.1), tmp_path)
    assert verdict.failures == []
    assert len([blow for blow in verdict.blows if blow.what.startswith("kill")]) == 10


@pytest.mark.full
def test_in_every_phase_whoever_publishes_first_is_killed_and_the_run_ends_well(
    tmp_path: Path,
) -> None:
    """Stage I and the exchange, election, distillation and its failover, DCFM-A, release."""
    strict = 'participation = "strict"\nstall_s = 3.0\n'
    with cluster(tmp_path, steps=150, distil_steps=600, policy=strict) as sites:
        for site in sites:
            site.start()
        for kind in ("expert", "vote", "checkpoint", "student", "endorse"):
            victim = until(lambda kind=kind: next(publishers(sites, kind), None))
            victim.kill()
            victim.start()
        assert len(set(until(lambda: released(sites)).values())) == 1
        latest = sites[0].ask()["latest"]
        assert latest["outcome"] == "COMPLETE"
        assert len(latest["endorsed_by"]) >= 2
        assert not any(silo["forked"] for site in sites for silo in site.ask()["silos"])


def test_a_full_disk_a_truncated_journal_a_stepped_clock_and_a_stale_reboot_end_nothing(
    tmp_path: Path,
) -> None:
    strict = 'participation = "strict"\nstall_s = 4.0\n'
    with cluster(tmp_path, steps=300, policy=strict) as sites, small_disk(sites[1].state) as disk:
        north, east, south = sites
        for site in (east, south):
            site.environment = with_clock(site)
        for site in sites:
            site.start()
        step_clock(east, TEN_YEARS_S)  # while it runs
        until(lambda: east.ask().get("doing", {}).get("done", 0) > 0)
        disk.fill(east)
        until(lambda: complaints(east))
        assert dcfm("status", "-c", east.folder / "node.toml").returncode == 3
        assert east.process is not None and east.process.poll() is None
        disk.clear(east)
        until(lambda: all(expert_round(site) is not None for site in sites))
        for site in (north, south):
            site.kill()
        truncate_journals(north, random.Random(0))
        leave_stale_things(south, random.Random(0))
        step_clock(south, -TEN_YEARS_S)  # its battery was flat
        for site in (north, south):
            site.start()
        assert len(set(until(lambda: released(sites)).values())) == 1
        # Two release it; the third says so too, a moment later or sooner.
        latest = until(lambda: (s := north.ask()["latest"]) and len(s["endorsed_by"]) == 3 and s)
        assert latest["outcome"] == "COMPLETE"
        assert not complaints(east)
        assert not any(silo["forked"] for site in sites for silo in site.ask()["silos"])
        log = north.log.read_text()
        assert "journals_damaged" in log
        assert "journal_recovered" in log
        assert list(north.state.glob("journals.sqlite.damaged-1"))
        journal = dcfm_json("journal", "-c", south.folder / "node.toml")
        last = journal["entries"][-1]
        assert last["time_ms"] / 1_000 < time.time() - TEN_YEARS_S / 2


# Seams


def publishers(sites: list[Site], kind: str) -> Iterator[Site]:
    """Those that ever published such a record, by their logs."""
    said = re.compile(rf"published .*kind={kind} ")
    return (site for site in sites if said.search(site.log.read_text()))


def complaints(site: Site) -> list[str]:
    """What status says of the disk, or of checkpoints that it does not take."""
    codes = [problem["code"] for problem in site.ask().get("problems", [])]
    return [code for code in codes if code in ("disk-full", "checkpoints-stopped")]


def expert_round(site: Site) -> int | None:
    silos = site.ask().get("silos", [])
    found: int | None = next((s["expert_round"] for s in silos if s["self"]), None)
    return found


def with_clock(site: Site) -> dict[str, str]:
    step_clock(site, 0)
    path = f"{ROOT / 'tests' / 'chaos' / 'clock'}{os.pathsep}{ROOT}"
    return {**ENVIRONMENT, "PYTHONPATH": path, "CHAOS_CLOCK": str(site.folder / "clock")}


def step_clock(site: Site, seconds: int) -> None:
    (site.folder / "clock").write_text(str(seconds))


class Disk:
    """A disk that can be full: a small one of memory, for whoever may mount, or a limit on what the
    node's processes may write to a file."""

    def __init__(self, folder: Path, mounted: bool) -> None:
        self._ballast, self._mounted = folder / "ballast", mounted

    def fill(self, site: Site) -> None:
        if not self._mounted:
            self._limit(site, 0)
            return
        with suppress(OSError), self._ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4_096))

    def clear(self, site: Site) -> None:
        if self._mounted:
            self._ballast.unlink()
        else:
            self._limit(site, resource.RLIM_INFINITY)

    def _limit(self, site: Site, most: int) -> None:
        assert site.process is not None
        for pid in (site.process.pid, site.worker_pid()):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, check=False).returncode == 0
    try:
        yield Disk(folder, mounted)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
