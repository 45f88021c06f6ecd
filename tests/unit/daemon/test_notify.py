"""sd_notify: what the service manager hears."""

import asyncio
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from dcfm_node.daemon.daemon import Daemon
from dcfm_node.daemon.notify import notify, state_line, watchdog_interval_s
from dcfm_node.errors import Failed
from dcfm_node.swarm.effects import Train
from dcfm_node.swarm.rounds import Phase
from tests.unit.daemon.rig import STEP_S, rigged


def test_lines_reach_the_service_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notify("READY=1", "STATUS=well")
        assert manager.recv(100) == b"READY=1\nSTATUS=well"


def test_nothing_happens_without_a_service_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")


def test_a_vanished_manager_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify("WATCHDOG=1")


@pytest.mark.parametrize(("usec", "seconds"), [("4000000", 2.0), ("", None), ("soon", None)])
def test_the_watchdog_is_fed_twice_as_often_as_asked(
    monkeypatch: pytest.MonkeyPatch, usec: str, seconds: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    assert watchdog_interval_s() == seconds


def test_the_service_manager_hears_from_a_loop_that_turns_and_from_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watchdog is fed after an event is handled, so one that hangs is not fed for."""
    said: list[str] = []
    monkeypatch.setattr("dcfm_node.daemon.notify.notify", said.append)
    monkeypatch.setenv("WATCHDOG_USEC", "8000000")
    with rigged(tmp_path, monkeypatch) as rig:
        handle_one = Daemon.handle

        async def handle(daemon: Daemon, patience_s: float) -> None:
            if rig.now >= 120.0:
                before, rig.now = len(said), rig.now + 1_000.0
                for _turn in range(100):  # the loop of asyncio turns, ours does not
                    await asyncio.sleep(0)
                assert len(said) == before
                raise Failed("over")
            rig.now += STEP_S
            await handle_one(daemon, 0.0)

        monkeypatch.setattr(Daemon, "handle", handle)
        with pytest.raises(Failed, match="over"):
            asyncio.run(rig.daemon.serve())
    assert said.count("WATCHDOG=1") == 5, said
    assert any(line.startswith("STATUS=") for line in said)


def test_the_line_says_round_stage_and_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rigged(tmp_path, monkeypatch) as rig:
        node = rig.node
        name, last = node.manifest.name, node.manifest.method.last_round
        assert state_line(node) == f"{name}: starting"
        asyncio.run(rig.daemon.handle(0.0))
        assert node.step is not None
        assert state_line(node) == f"{name}: round 0 of {last}, local, begun"
        node.work, node.progress = Train("refine", 2), (41, 100)
        node.step = replace(node.step, phase=Phase("refine", 2))
        assert state_line(node) == f"{name}: round 2 of {last}, refine, 41 %"
        node.step = replace(node.step, phase=Phase("distil", 2))
        assert state_line(node) == f"{name}: round 2 of {last}, distil, refine 41 %"
        node.step = replace(node.step, phase=Phase("done", 2))
        node.work = None
        assert state_line(node) == f"{name}: finished after round 2 of {last}, idle"
