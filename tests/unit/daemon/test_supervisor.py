"""The worker's lives, each listened to as the first; with one that trains nothing."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dcfm_node.daemon import supervisor as supervising
from dcfm_node.daemon.supervisor import (
    PUT_BACK,
    WorkerSupervisor,
    changes,
    environment,
    next_pause,
)
from dcfm_node.daemon.worker_log import WorkerLog
from dcfm_node.data.oddities import DataWarning
from dcfm_node.data.spec import BuiltinData
from dcfm_node.errors import Failed, UserError
from dcfm_node.records.moments import Moments
from dcfm_node.worker.messages import WORKER, Broken, Done, Job, Line, Progress, Ready, Setup

FAKE = Path(__file__).with_name("fake_worker.py")
DATA = BuiltinData(format="builtin", name="gaussians", silo=0, silos=2)
SETUP = Setup(manifest="", data=DATA)


class Stage:
    """A fake worker's folder, its supervisor, and what was heard of it."""

    def __init__(self, folder: Path, silent_s: float = 60.0) -> None:
        self.folder, self.heard = folder, list[Line]()
        (folder / "data").write_text("abc")
        (folder / "on-job").write_text("wait")
        self.supervisor = WorkerSupervisor(
            SETUP,
            1,
            folder / "worker.log",
            command=(sys.executable, str(FAKE), str(folder)),
            pauses=(0.01, 0.02),
            silent_s=silent_s,
        )

    def job(self, key: str = "local-0-a") -> Job:
        folder = self.folder
        return Job(key=key, kind="train", silo="a", seed=0, output=folder, checkpoint=folder)

    @property
    def problem(self) -> str:
        return "; ".join(problem.sentence for problem in self.supervisor.problems())

    @property
    def fix(self) -> str:
        return "; ".join(problem.fix for problem in self.supervisor.problems())

    async def until(self, what: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not what():
                await asyncio.sleep(0.005)

    async def killed(self) -> None:
        """Killed from outside, and seen to be."""
        pid = self.supervisor.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await self.until(lambda: self.supervisor.pid != pid)


@asynccontextmanager
async def started(folder: Path) -> AsyncIterator[Stage]:
    stage = Stage(folder)
    await stage.supervisor.start()
    try:
        yield stage
    finally:
        await stage.supervisor.close()


def play(scene: Callable[[Stage], object], folder: Path) -> None:
    async def run() -> None:
        async with started(folder) as stage:
            await scene(stage)  # type: ignore[misc]

    asyncio.run(run())


def test_data_that_is_gone_at_a_later_start_is_told_until_it_is_back(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        assert stage.problem == ""
        (tmp_path / "data").unlink()
        await stage.killed()
        await stage.until(lambda: "cannot start: data: there is no such file" in stage.problem)
        assert stage.fix == PUT_BACK
        stage.supervisor.submit(stage.job(), stage.heard.append)
        (tmp_path / "on-job").write_text("done")
        (tmp_path / "data").write_text("abc")
        await stage.until(lambda: stage.heard)
        assert stage.problem == ""

    play(scene, tmp_path)


@pytest.mark.parametrize(("other", "said"), [("abcd", "now 4 samples"), ("xyz", "other ones")])
def test_other_data_gets_no_job_until_it_is_as_it_was(
    tmp_path: Path, other: str, said: str
) -> None:
    async def scene(stage: Stage) -> None:
        (tmp_path / "on-job").write_text("progress 5 wait")
        stage.supervisor.submit(stage.job(), stage.heard.append)
        await stage.until(lambda: stage.heard)
        (tmp_path / "on-job").write_text("done")
        (tmp_path / "data").write_text(other)
        await stage.killed()
        await stage.until(lambda: "is not what this node was started with" in stage.problem)
        assert said in stage.problem
        assert stage.fix == PUT_BACK
        assert not any(isinstance(line, Done | Broken) for line in stage.heard)
        (tmp_path / "data").write_text("abc")
        await stage.until(lambda: isinstance(stage.heard[-1], Done))
        assert stage.problem == ""
        assert len((tmp_path / "jobs").read_text().splitlines()) == 2

    play(scene, tmp_path)


def test_what_a_first_start_finds_wrong_is_the_operators(tmp_path: Path) -> None:
    async def scene() -> Stage:
        stage = Stage(tmp_path)
        (tmp_path / "data").unlink()
        with pytest.raises(UserError, match="there is no such file") as caught:
            await stage.supervisor.start()
        assert caught.value.exit_code == 2
        return stage

    assert asyncio.run(scene()).supervisor.pid is None


@pytest.mark.parametrize(
    ("what", "why"),
    [
        (f"kill {signal.SIGSEGV}", "crashed with signal 11 (SIGSEGV)"),
        (f"kill {signal.SIGKILL}", "was killed by signal 9 (SIGKILL)"),
        ("exit 1", "ended with exit code 1: IndexError: label 1000"),
        ("exit 0", "ended with exit code 0"),
        ("progress 7 exit 1", "ended with exit code 1"),
    ],
)
def test_a_job_that_ends_its_worker_fails_with_the_cause(
    tmp_path: Path, what: str, why: str
) -> None:
    """Once it is given another try; twice in the same place, it is the job."""

    async def scene(stage: Stage) -> None:
        (tmp_path / "on-job").write_text(what)
        stage.supervisor.submit(stage.job(), stage.heard.append)
        await stage.until(lambda: any(isinstance(line, Broken) for line in stage.heard))
        broken = stage.heard[-1]
        assert isinstance(broken, Broken)
        assert (broken.key, why in broken.reason) == ("local-0-a", True), broken.reason
        (tmp_path / "on-job").write_text("done")
        stage.supervisor.submit(stage.job("local-0-b"), stage.heard.append)
        await stage.until(lambda: isinstance(stage.heard[-1], Done))
        assert stage.problem == ""

    play(scene, tmp_path)


def test_a_job_that_comes_farther_in_each_life_goes_on(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        stage.supervisor.submit(stage.job(), stage.heard.append)
        for step in (5, 9, 20):
            (tmp_path / "on-job").write_text(f"progress {step} wait")
            await stage.killed()
            steps = [line.done for line in stage.heard if isinstance(line, Progress)]
            await stage.until(
                lambda step=step: step in [getattr(x, "done", 0) for x in stage.heard]
            )
            assert steps == sorted(steps)
        assert not any(isinstance(line, Broken) for line in stage.heard)

    play(scene, tmp_path)


def test_a_cancel_is_no_death(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def scene(stage: Stage) -> None:
        (tmp_path / "on-job").write_text("progress 1 wait")
        stage.supervisor.submit(stage.job(), stage.heard.append)
        await stage.until(lambda: stage.heard)
        pid = stage.supervisor.pid
        stage.supervisor.cancel()
        (tmp_path / "on-job").write_text("done")
        stage.supervisor.submit(stage.job("local-0-b"), stage.heard.append)
        await stage.until(lambda: stage.supervisor.pid != pid)
        assert stage.problem == ""
        await stage.until(lambda: isinstance(stage.heard[-1], Done))

    play(scene, tmp_path)
    assert "worker_died" not in capsys.readouterr().out


def test_nothing_that_it_started_outlives_it(tmp_path: Path) -> None:
    """Its children hold its pipes: neither a restart nor `close` waits for them."""

    async def scene() -> None:
        (tmp_path / "children").touch()
        async with started(tmp_path) as stage:
            first = int((tmp_path / "children").read_text())
            (tmp_path / "children").write_text("")
            await stage.killed()
            await stage.until(lambda: not alive(first))
            await stage.until((tmp_path / "children").read_text)
            second = int((tmp_path / "children").read_text())
        await stage.until(lambda: not alive(second))

    asyncio.run(scene())


def test_one_that_says_nothing_is_ended(tmp_path: Path) -> None:
    async def scene() -> None:
        stage = Stage(tmp_path, silent_s=0.2)
        (tmp_path / "silent").touch()
        with pytest.raises(Failed, match=r"hung: it starts, and said nothing for 0\.2 s"):
            await stage.supervisor.start()
        assert stage.supervisor.pid is None

    asyncio.run(scene())


def test_a_program_that_is_gone_is_told(tmp_path: Path) -> None:
    async def scene() -> None:
        stage = Stage(tmp_path)
        stage.supervisor._command = (str(tmp_path / "none"),)
        with pytest.raises(Failed, match="cannot be started"):
            await stage.supervisor.start()

    asyncio.run(scene())


def test_short_lives_are_started_ever_more_seldom() -> None:
    bounds = (1.0, 60.0)
    pause, found = bounds[0] / 2, []
    for _ in range(8):
        pause = next_pause(pause, well=False, pauses=bounds)
        found.append(pause)
    assert found == [1, 2, 4, 8, 16, 32, 60, 60]
    assert next_pause(60.0, well=True, pauses=bounds) == 1


def test_coming_up_is_not_enough_to_be_started_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lives that end over a job at the same place, but for one that came farther."""
    found: list[bool] = []

    def note(last: float, *, well: bool, pauses: tuple[float, float]) -> float:
        found.append(well)
        return 0.01

    monkeypatch.setattr(supervising, "next_pause", note)

    async def scene(stage: Stage) -> None:
        stage.supervisor._pauses = (0.01, 600.0)
        for what in ("progress 5 exit 1", "progress 9 exit 1", "done"):
            (tmp_path / "on-job").write_text(what)
            stage.heard.clear()
            stage.supervisor.submit(stage.job(), stage.heard.append)
            await stage.until(lambda: any(isinstance(x, Broken | Done) for x in stage.heard))

    play(scene, tmp_path)
    assert found == [True, False, True, False]


@pytest.mark.parametrize(("written", "fix"), [(False, "see the node's log"), (True, "worker.log")])
def test_the_workers_log_is_named_only_where_there_is_one(
    tmp_path: Path, written: bool, fix: str
) -> None:
    async def scene(stage: Stage) -> None:
        stage.supervisor._pauses = (600.0, 600.0)
        if written:
            (tmp_path / "worker.log").write_text("odd")
        assert stage.supervisor.pid is not None
        os.kill(stage.supervisor.pid, signal.SIGKILL)
        await stage.until(lambda: stage.problem)
        assert fix in stage.fix

    play(scene, tmp_path)


@pytest.mark.parametrize("unscaled", [True, False])
def test_the_start_says_nothing_of_a_scale_that_the_run_mends(
    tmp_path: Path, unscaled: bool
) -> None:
    odd = {"code": "data-scale", "what": "far", "fix": "scale it", "unscaled": unscaled}
    (tmp_path / "warnings").write_text(json.dumps([odd]))

    async def scene(stage: Stage) -> None:
        assert stage.problem == ""

    with capture_logs() as logs:
        play(scene, tmp_path)
    assert any(line["event"] == "private_data" for line in logs) != unscaled


def test_every_difference_from_the_first_start_is_named() -> None:
    first = Ready(device="cuda:0", counts=(((0,), 3),), data="a", tensors={})
    words = {"warnings": (DataWarning("data-alike", "odd"),), "notes": ("read",)}
    words |= {"moments": Moments(mean=(0.0,), deviation=(1.0,))}
    assert changes(first, first.model_copy(update=words)) == ""
    changed = {
        "data": "b",
        "counts": (((0,), 4),),
        "whole": (((0,), 5),),
        "device": "cpu",
        "tensors": {"w": ("F32", (1,))},
        "beside_experts": {"w": ("F32", (1,))},
        "checkpoint": {"w": ("F32", (1,))},
    }
    assert changed.keys() | words.keys() | {"event"} == Ready.model_fields.keys()
    for field, value in changed.items():
        assert changes(first, first.model_copy(update={field: value})) != "", field


def test_a_module_in_the_current_folder_is_not_the_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real worker, with all that it may import first beside the data."""
    for name in ("queue", "threading", "structlog", "torch", "numpy", "json"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w'); raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)

    async def scene() -> None:
        stage = Stage(tmp_path)
        stage.supervisor._command = WORKER
        with pytest.raises(UserError):  # no run is named by an empty manifest
            await stage.supervisor.start()

    asyncio.run(scene())
    assert not (tmp_path / "ran").exists()


def test_ranks_are_named_in_the_workers_environment() -> None:
    assert environment(SETUP, 2)["WORLD_SIZE"] == "2"
    assert environment(SETUP, 2)["OMP_NUM_THREADS"] == "1"
    assert environment(SETUP.model_copy(update={"threads": 3}), 2)["OMP_NUM_THREADS"] == "3"
    assert environment(SETUP, 1)["RANK"] == "0"


def test_the_log_keeps_the_newest_and_never_more_than_twice_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    log = WorkerLog(path, limit=1_000)
    for number in range(200):
        log.write(f"complaint {number} of many\n".encode())
    older = tmp_path / "worker.log.1"
    assert path.stat().st_size <= 1_000
    assert older.stat().st_size <= 1_000
    assert path.read_text().splitlines()[-1] == log.last_line == "complaint 199 of many"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["worker.log", "worker.log.1"]


def test_the_last_line_is_fit_for_a_message(tmp_path: Path) -> None:
    log = WorkerLog(tmp_path / "worker.log")
    log.write(b"fine\n\x1b[31mred\xff " + b"x" * 900 + b"\n\n")
    assert log.last_line.startswith("?[31mred\ufffd xxx")
    assert len(log.last_line) == 300
    log.forget()
    assert log.last_line == ""


def test_a_log_that_cannot_be_written_costs_lines_alone(tmp_path: Path) -> None:
    log = WorkerLog(tmp_path / "no-folder" / "worker.log")
    log.write(b"lost on the disk\n")
    assert log.last_line == "lost on the disk"


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False
