"""Commands are answered once what they say is on the disk, or with what keeps it from there."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from dcfm_node.daemon import control
from dcfm_node.daemon.control import Control
from dcfm_node.daemon.disk import Disk
from dcfm_node.daemon.troubles import Troubles
from dcfm_node.errors import Failed, UserError
from dcfm_node.records.entries import Withdraw
from dcfm_node.swarm.effects import Event, Leave, Persist, Tick
from dcfm_node.swarm.node import Node
from tests.unit.swarm.builders import Run
from tests.unit.swarm.test_node import node, started

RUN = Run(3)


class Desk:
    """Control over a node whose events are taken in at once; `stopped` are the asked graces."""

    def __init__(self, made: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(control, "PATIENCE_S", 0.3)
        self.node, self.said, self.stopped = made, list[Any](), list[float]()
        self.writes = True
        self.disk = Disk(self._never)
        others = dict.fromkeys(
            ("network", "runner", "supervisor", "snapshots", "ready", "importer"), SimpleNamespace()
        )
        self.control = Control(
            node=made,
            disk=self.disk,
            put=self.put,
            kept=lambda said: said in self.said and self.writes,
            own_troubles=Troubles(lambda: 0.0),
            started_at=0.0,
            clock=lambda: asyncio.get_running_loop().time(),
            earlier=lambda: None,
            stop=self.stopped.append,
            **others,  # type: ignore[arg-type]
        )

    @staticmethod
    async def _never() -> None:
        raise AssertionError

    def put(self, event: Event) -> None:
        effects = self.node.handle(event, 0.0)
        self.said += [effect.sealed for effect in effects if isinstance(effect, Persist)]

    @property
    def reasons(self) -> list[str]:
        bodies = [sealed.entry.body for sealed in self.said]
        return [body.reason for body in bodies if isinstance(body, Withdraw)]

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        async def answered() -> dict[str, Any]:
            answer = self.control.handle(command, arguments)
            return answer if isinstance(answer, dict) else await answer

        return asyncio.run(answered())


def test_a_withdrawal_is_answered_once_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(started(RUN), monkeypatch)
    answer = desk.ask("withdraw", reason="consent ended")
    assert (answer["withdrawn"], answer["already"]) == (True, False)
    assert desk.reasons == ["consent ended"]
    again = desk.ask("withdraw", reason="other")
    assert (again["already"], again["reason"]) == (True, "consent ended")
    assert desk.reasons == ["consent ended"]


def test_a_node_that_may_not_write_yet_has_not_withdrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is left behind either: what was not said is not said later."""
    made = node(RUN)
    desk = Desk(made, monkeypatch)
    desk.put(Tick())
    with pytest.raises(Failed, match="has not withdrawn, since its node may not write yet") as told:
        desk.ask("withdraw", reason="consent ended")
    assert "2 peers must tell what they hold" in told.value.what
    assert made.unsaid == ()


def test_a_key_that_signs_elsewhere_cannot_withdraw(monkeypatch: pytest.MonkeyPatch) -> None:
    made = started(RUN)
    made.exchange.usurped = True
    with pytest.raises(Failed, match="another node signs with this node's key"):
        Desk(made, monkeypatch).ask("withdraw", reason="x")


@pytest.mark.parametrize("before", [False, True])
def test_what_the_disk_has_not_taken_is_not_said_to_be_done(
    monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    """Asked for the first time, or again."""
    desk = Desk(started(RUN), monkeypatch)
    if before:
        desk.put(Leave("first"))
    desk.writes = False
    desk.disk.refused("the journals", "No space left on device")
    with pytest.raises(Failed, match="has not withdrawn yet: the disk refuses the journals: No sp"):
        desk.ask("withdraw", reason="consent ended")
    desk.writes = True
    assert desk.ask("withdraw", reason="consent ended")["already"] is True


@pytest.mark.parametrize("reason", ["x" * 501, "caf\udce9", None, 7, ["a"], b"x"])
def test_a_reason_that_no_record_bears_is_refused_by_field(
    monkeypatch: pytest.MonkeyPatch, reason: object
) -> None:
    desk = Desk(started(RUN), monkeypatch)
    with pytest.raises(UserError, match="the reason does not fit a record") as told:
        desk.ask("withdraw", reason=reason)
    assert (told.value.exit_code, told.value.where) == (2, "--reason")
    assert desk.reasons == []


@pytest.mark.parametrize("reason", ["x" * 9_999, "caf\udce9", "\ud800", "é" * 500])
def test_no_reason_ends_the_loop(reason: str) -> None:
    made = started(RUN)
    effects = made.handle(Leave(reason), 0.0)
    bodies = [effect.sealed.entry.body for effect in effects if isinstance(effect, Persist)]
    assert [body.kind for body in bodies] == ["withdraw"]


@pytest.mark.parametrize("grace", [float("nan"), float("inf"), -1.0, 1e9])
def test_a_grace_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch, grace: float) -> None:
    desk = Desk(started(RUN), monkeypatch)
    with pytest.raises(Failed, match="is no time to wait"):
        desk.ask("stop", grace_s=grace)
    assert desk.stopped == []
    assert desk.ask("stop", grace_s=3)["stopping"] is True
    assert desk.stopped == [3.0]
