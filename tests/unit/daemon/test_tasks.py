"""Tasks beside the loop, callbacks and threads that fail: told, and nothing waits for ever."""

import asyncio
import errno
from pathlib import Path

import pytest

from dcfm_node.daemon import vetting as module
from dcfm_node.daemon.forms import Forms
from dcfm_node.daemon.vetting import Vetting
from dcfm_node.errors import Failed
from dcfm_node.store.snapshots import SnapshotStore
from dcfm_node.swarm.effects import Event, Held, Tick, Train, WorkFailed
from dcfm_node.worker.messages import Done
from tests.unit.daemon.rig import RUN, rigged


async def broken() -> None:
    raise LookupError("of ours")


def test_a_task_that_fails_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        rig.ground.tasks.spawn(broken())
        while rig.ground.tasks.running:
            await asyncio.sleep(0.0)
        await rig.take(Tick())

    with rigged(tmp_path, monkeypatch) as rig:
        asyncio.run(story())
        assert not rig.ground.ending.begun
        assert any("a task of this node failed" in told for told in rig.told)


def test_a_callback_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(rig.ground.tasks.unhandled)
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
        rig.ground.ending.transfers_ended()
        with pytest.raises(Failed, match="moves snapshots"):
            asyncio.run(rig.daemon.serve())


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
        monkeypatch.setattr(SnapshotStore, "path", lambda self, digest: tmp_path)
        forms = Forms(RUN.manifest, rig.daemon.restoring.ready, rig.ground.snapshots)
        vetting = Vetting(forms, rig.ground.troubles, rig.daemon.present, put.append)
        asyncio.run(vetting.check(b"d" * 32))
        assert put == [Held(b"d" * 32)]
        assert len(rig.ground.troubles.problems()) == 2


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
        failed = rig.ground.inbox._events.get_nowait()
    assert isinstance(failed, WorkFailed) and failed.work == work
