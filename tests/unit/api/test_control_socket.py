"""Asking and answering over the control socket."""

import asyncio
import os
import pwd
from pathlib import Path

import pytest

from dcfm_node.api.client import SOCKET, Starting, call
from dcfm_node.api.document import Document, RunName
from dcfm_node.api.requests import (
    Answer,
    AnyRequest,
    JournalRequest,
    NotReady,
    PeersRequest,
    Refusal,
    Request,
    StatusRequest,
    Stopping,
    StopRequest,
    WithdrawRequest,
)
from dcfm_node.api.server import Handler, serve
from dcfm_node.api.status import StartingDoing, StartingStatus
from dcfm_node.errors import Failed, Unreachable


def answer(request: AnyRequest) -> Document:
    match request:
        case StopRequest(grace_s=grace):
            return Stopping(grace_s=grace)
        case JournalRequest():
            raise AttributeError("no such thing")
        case PeersRequest():
            raise Failed("it cannot be done", fix="do something else")
        case _:
            return Stopping.model_validate({"grace_s": "seven"})


def ask(state: Path, request: Request[Answer], handler: Handler = answer) -> Answer:
    """One call against a server that lives as long as the call."""

    async def both() -> Answer:
        server = await serve(state, handler)
        try:
            return await asyncio.to_thread(call, state, request)
        finally:
            server.close()

    return asyncio.run(both())


def test_arguments_arrive_and_the_answer_comes_back(tmp_path: Path) -> None:
    assert ask(tmp_path, StopRequest(grace_s=2.0)) == Stopping(grace_s=2.0)


def test_a_deep_state_folder_is_no_obstacle(tmp_path: Path) -> None:
    """A Unix socket's path may hold 107 bytes; a state folder's may be longer."""
    deep = tmp_path.joinpath(*["a-rather-long-folder-name"] * 8)
    deep.mkdir(parents=True)
    assert ask(deep, StopRequest()) == Stopping(grace_s=30.0)


def test_a_refusal_carries_its_fix(tmp_path: Path) -> None:
    with pytest.raises(Failed) as caught:
        ask(tmp_path, PeersRequest())
    assert caught.value.what == "it cannot be done"
    assert caught.value.fix == "do something else"


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (JournalRequest(), "the daemon failed at 'journal': AttributeError: no such"),
        (StatusRequest(), "the daemon's answer to 'status' does not fit: grace_s"),
    ],
)
def test_whatever_goes_wrong_is_an_answer(
    tmp_path: Path, request_: Request[Document], told: str
) -> None:
    with pytest.raises(Failed, match=told):
        ask(tmp_path, request_)


def test_what_an_answer_waits_for_may_go_wrong_too(tmp_path: Path) -> None:
    async def later() -> Document:
        raise KeyError("silo")

    with pytest.raises(Failed, match="the daemon failed at 'withdraw': KeyError"):
        ask(tmp_path, WithdrawRequest(reason="x"), lambda _: later())


def test_a_request_that_is_too_long_is_told(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="a request is one line of at most 65536 bytes"):
        ask(tmp_path, WithdrawRequest(reason="x" * 100_000))


def test_an_answer_of_another_version_is_told_or_read(tmp_path: Path) -> None:
    """Fields that this version does not know are no obstacle; what it misses is."""

    class Newer(Stopping):
        extra: int = 7

    assert ask(tmp_path, StopRequest(), lambda _: Newer(grace_s=1.0)) == Stopping(grace_s=1.0)
    with pytest.raises(Unreachable, match="answer cannot be read") as caught:
        ask(tmp_path, StopRequest(), lambda _: Newer.model_construct())
    assert "version" in caught.value.fix


def test_the_socket_is_its_owners_alone(tmp_path: Path) -> None:
    ask(tmp_path, StopRequest())

    async def mode() -> int:
        server = await serve(tmp_path, answer)
        try:
            return (tmp_path / SOCKET).stat().st_mode & 0o777
        finally:
            server.close()

    assert asyncio.run(mode()) == 0o600


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"\n", "a request is one line"),
        (b"[]\n", "a request is one line"),
        (b"no json\n", "a request is one line"),
        (b'{"no": "command"}\n', "a request is one line"),
        (b'{"command": "dance"}\n', "unknown command 'dance'"),
        (b'{"command": "stop", "grace_s": "soon"}\n', "the arguments do not fit: stop.grace_s"),
        (b'{"command": "stop", "when": 1}\n', "the arguments do not fit: stop.when"),
    ],
)
def test_what_is_no_request_gets_an_error(tmp_path: Path, line: bytes, told: str) -> None:
    async def both() -> bytes:
        server = await serve(tmp_path, answer)
        reader, writer = await asyncio.open_unix_connection(tmp_path / SOCKET)
        writer.write(line)
        reply = await reader.read()
        writer.close()
        server.close()
        return reply

    assert Refusal.model_validate_json(asyncio.run(both())).error.startswith(told)


def test_a_missing_daemon_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(Unreachable) as caught:
        call(tmp_path, StatusRequest())
    assert caught.value.exit_code == 4
    assert "dcfm-node start" in caught.value.fix


def test_a_node_that_is_starting_says_so(tmp_path: Path) -> None:
    doing = StartingDoing(why="it reads the private data")
    status = StartingStatus(node="east", version="1", run=RunName(name="r", id="00"), doing=doing)
    with pytest.raises(Starting, match="is starting: it reads the private data") as caught:
        ask(tmp_path, StatusRequest(), lambda _: NotReady(starting=status))
    assert caught.value.status == status
    assert caught.value.exit_code == 3


def test_an_answer_may_take_its_time(tmp_path: Path) -> None:
    async def later() -> Document:
        await asyncio.sleep(0)
        return Stopping(grace_s=5.0)

    assert ask(tmp_path, StopRequest(), lambda _: later()) == Stopping(grace_s=5.0)


def test_a_socket_of_another_user_names_the_user_and_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon may be well, so the answer must not be that none runs."""
    monkeypatch.setattr("sys.argv", ["/opt/dcfm-node", "status", "--config", "my node.toml"])
    tmp_path.chmod(0o000)
    me = os.geteuid()
    try:
        if me == 0:
            os.seteuid(65_534)
        with pytest.raises(Failed, match="belongs to the user") as caught:
            call(tmp_path, StatusRequest())
    finally:
        os.seteuid(me)
        tmp_path.chmod(0o700)
    owner = pwd.getpwuid(me).pw_name
    assert caught.value.fix == f"sudo -u {owner} /opt/dcfm-node status --config 'my node.toml'"
    assert caught.value.exit_code == 1


def test_a_node_that_moved_away_is_not_to_be_started(tmp_path: Path) -> None:
    with pytest.raises(Unreachable) as caught:
        call(tmp_path, StatusRequest())
    assert "dcfm-node start" in caught.value.fix
    (tmp_path / "moved").touch()
    with pytest.raises(Unreachable) as caught:
        call(tmp_path, StatusRequest())
    assert "exported to another machine" in caught.value.fix
    assert "dcfm-node start" not in caught.value.fix
