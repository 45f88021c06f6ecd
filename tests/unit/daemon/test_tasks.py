"""Tasks beside the loop, callbacks and threads that fail: told, and nothing waits for ever."""

import asyncio
import errno
from pathlib import Path

import pytest

from dcfm_node.daemon import intake as module
from dcfm_node.daemon.forms import Forms
from dcfm_node.daemon.intake import Intake
from dcfm_node.errors import Failed
from dcfm_node.store.snapshots import SnapshotStore
from dcfm_node.swarm.effects import Event, Held, Tick, Train, WorkFailed
from dcfm_node.worker.messages import Done
from tests.unit.daemon.rig import rigged


async def broken() -> None:
    raise LookupError("of ours")


def test_a_task_that_fails_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        rig.daemon._spawn(broken())
        while rig.daemon._tasks:
            await asyncio.sleep(0.0)
        await rig.take(Tick())

    with rigged(tmp_path, monkeypatch) as rig:
        asyncio.run(story())
        assert not rig.daemon._stopped.is_set()
        assert any("a task of this node failed" in told for told in rig.told)


def test_a_callback_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(rig.daemon._unhandled)
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(0.0)

    with rigged(tmp_path, monkeypatch) as rig:
        asyncio.run(story())
        assert "ZeroDivisionError" in rig.status().problems[0].sentence


def test_without_transfers_it_ends_as_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a service manager, which restarts on failure, does."""
    with rigged(tmp_path, monkeypatch) as rig:
        rig.daemon._end()
        with pytest.raises(Failed, match="moves snapshots"):
            asyncio.run(rig.daemon._serve())


def test_a_snapshot_that_cannot_be_read_now_is_checked_later_and_not_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: list[Event] = []
    faults = [OSError(errno.EIO, "Input/output error"), MemoryError()]

    def flaw(self, digest, form):
        if faults:
            raise faults.pop()
        return ""

    monkeypatch.setattr(module, "RETRY_S", 0.0)
    monkeypatch.setattr(Forms, "flaw", flaw)
    monkeypatch.setattr(SnapshotStore, "path", lambda self, digest: tmp_path)
    with rigged(tmp_path, monkeypatch) as rig:
        daemon = rig.daemon
        monkeypatch.setattr(SnapshotStore, "path", lambda self, digest: tmp_path)
        intake = Intake(daemon.forms, daemon.troubles, node=lambda: daemon.node, put=put.append)
        asyncio.run(intake.check(b"d" * 32))
        assert put == [Held(b"d" * 32)]
        assert len(daemon.troubles.problems()) == 2


def test_what_a_worker_made_and_cannot_be_taken_over_is_a_failed_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the reason: else the work would be waited for until the node is stopped."""

    def adopt(self, path):
        raise MemoryError

    monkeypatch.setattr(SnapshotStore, "adopt", adopt)
    work = Train("local", 0)
    with rigged(tmp_path, monkeypatch) as rig:
        done = Done(key="k", metrics={})
        asyncio.run(rig.daemon.runner._adopt(work, tmp_path / "made", done))
        failed = rig.daemon._events.get_nowait()
    assert isinstance(failed, WorkFailed) and failed.work == work
