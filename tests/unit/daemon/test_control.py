"""Commands are answered once what they say is on the disk, or with what keeps it from there."""

import asyncio
from collections.abc import Awaitable
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from dcfm_node.api.requests import Stopping, StopRequest, Withdrawn, WithdrawRequest
from dcfm_node.daemon import control
from dcfm_node.daemon.control import Control
from dcfm_node.daemon.disk import Disk
from dcfm_node.daemon.eta import Rates
from dcfm_node.daemon.registry import Registry
from dcfm_node.daemon.troubles import Troubles
from dcfm_node.errors import Failed, UserError
from dcfm_node.records.entries import Withdraw
from dcfm_node.swarm.effects import Event, Leave, Persist, Tick
from dcfm_node.swarm.node import Node
from tests.unit.swarm.builders import Run
from tests.unit.swarm.nodes import node, started

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
            registry=Registry(lambda: 0.0),
            rates=Rates(),
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

    def withdraw(self, reason: str) -> Withdrawn:
        async def answered() -> Withdrawn:
            answer = self.control.handle(WithdrawRequest(reason=reason))
            assert isinstance(answer, Awaitable)
            found = await answer
            assert isinstance(found, Withdrawn)
            return found

        return asyncio.run(answered())


def test_a_withdrawal_is_answered_once_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(started(RUN), monkeypatch)
    answer = desk.withdraw("consent ended")
    assert (answer.withdrawn, answer.already) == (True, False)
    assert desk.reasons == ["consent ended"]
    again = desk.withdraw("other")
    assert (again.already, again.reason) == (True, "consent ended")
    assert desk.reasons == ["consent ended"]


def test_a_node_that_may_not_write_yet_has_not_withdrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is left behind either: what was not said is not said later."""
    made = node(RUN)
    desk = Desk(made, monkeypatch)
    desk.put(Tick())
    with pytest.raises(Failed, match="has not withdrawn, since its node may not write yet") as told:
        desk.withdraw("consent ended")
    assert "2 peers must tell what they hold" in told.value.what
    assert made.unsaid == ()


def test_a_key_that_signs_elsewhere_cannot_withdraw(monkeypatch: pytest.MonkeyPatch) -> None:
    made = started(RUN)
    made.exchange.usurped = True
    with pytest.raises(Failed, match="another node signs with this node's key"):
        Desk(made, monkeypatch).withdraw("x")


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
        desk.withdraw("consent ended")
    desk.writes = True
    assert desk.withdraw("consent ended").already is True


def test_a_reason_that_no_record_bears_is_refused_by_field(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(started(RUN), monkeypatch)
    with pytest.raises(UserError, match="the reason does not fit a record") as told:
        desk.withdraw("x" * 501)
    assert (told.value.exit_code, told.value.where) == (2, "--reason")
    assert desk.reasons == []


@pytest.mark.parametrize("reason", [None, 7, ["a"], b"x"])
def test_a_reason_that_is_not_text_is_no_request(reason: object) -> None:
    with pytest.raises(ValidationError, match="reason"):
        WithdrawRequest.model_validate({"reason": reason}, strict=True)


@pytest.mark.parametrize("reason", ["x" * 9_999, "caf\udce9", "\ud800", "é" * 500])
def test_no_reason_ends_the_loop(reason: str) -> None:
    made = started(RUN)
    effects = made.handle(Leave(reason), 0.0)
    bodies = [effect.sealed.entry.body for effect in effects if isinstance(effect, Persist)]
    assert [body.kind for body in bodies] == ["withdraw"]


@pytest.mark.parametrize("grace", [float("nan"), float("inf"), -1.0, 1e9])
def test_a_grace_that_never_ends_is_no_request(grace: float) -> None:
    with pytest.raises(ValidationError, match="grace_s"):
        StopRequest(grace_s=grace)


def test_stopping_is_answered_with_its_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(started(RUN), monkeypatch)
    assert desk.control.handle(StopRequest(grace_s=3.0)) == Stopping(grace_s=3.0)
    assert desk.stopped == [3.0]
