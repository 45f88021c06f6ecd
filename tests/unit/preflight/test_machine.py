"""Whether a machine suffices."""

import sys
from pathlib import Path

from dcfm_node.preflight.machine import (
    LOGS_BYTES,
    Probe,
    available_memory,
    disk_finding,
    free_disk,
    memory_finding,
    torch_findings,
)
from dcfm_node.worker.messages import Machine

ROOT = Path("/")


def test_a_disk_that_is_nearly_full_is_told_with_what_the_run_needs() -> None:
    def look(free: int) -> str:
        return disk_finding(ROOT, free, numbers=10**6, width=4, silos=3).state

    need = 16 * 4 * 10**6 + LOGS_BYTES
    assert look(need) == "ok"
    assert look(need - 1) == "degraded"


def test_memory_is_not_called_enough_without_knowing_what_is_needed() -> None:
    assert memory_finding(0, 3, 0, 10**10).state == "unknown"
    assert memory_finding(10**6, 3, 0, None).state == "unknown"
    assert memory_finding(10**6, 3, 0, 10**10).state == "ok"
    assert memory_finding(10**9, 3, 0, 10**10).state == "degraded"


def test_what_torch_found_is_told() -> None:
    gpu = Machine(torch="2.9", device="cuda:0", gpu="H200", gpu_free_bytes=139 * 10**9)
    assert [one.finding for one in torch_findings(gpu)] == ["2.9", "cuda:0: H200, 139.0 GB free"]
    lacks = Machine(torch="2.9", error="there is no GPU that torch can use", fix='set "cpu"')
    assert [one.state for one in torch_findings(lacks)] == ["ok", "wrong"]


def test_a_probe_that_hangs_is_ended_and_not_called_a_failure() -> None:
    hangs = (sys.executable, "-c", "import time; time.sleep(60)")
    probe = Probe("auto", None, hangs)
    answer = probe.answer(bound_s=0.05)
    assert answer == ""
    assert probe._process.wait(10.0) != 0
    assert [one.state for one in torch_findings(answer)] == ["unknown"]


def test_a_probe_that_fails_gives_its_last_line() -> None:
    fails = (sys.executable, "-c", "raise ImportError('libcudart is missing')")
    answer = Probe("auto", None, fails).answer(60.0)
    assert answer == "ImportError: libcudart is missing"
    assert [one.state for one in torch_findings(answer)] == ["degraded"]


def test_free_room_is_that_of_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    place, free = free_disk(tmp_path / "state" / "deeper")
    assert place == tmp_path
    assert free > 0
    assert available_memory() is None or available_memory() != 0
