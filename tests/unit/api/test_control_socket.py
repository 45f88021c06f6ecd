"""Asking and answering over the control socket."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from dcfm_node.api.client import SOCKET, call
from dcfm_node.api.server import serve
from dcfm_node.errors import Failed, Starting, Unreachable


def answer(command: str, arguments: dict[str, Any]) -> dict[str, Any]:
    match command:
        case "echo":
            return {"arguments": arguments}
        case "defect":
            raise AttributeError("no such thing")
        case "unsaid":
            return {"answer": b"bytes are no JSON"}
        case "fail":
            raise Failed("it cannot be done", fix="do something else")
        case _:
            return {"number": float(arguments["number"])}


def ask(state: Path, command: str, **arguments: Any) -> dict[str, Any]:
    """One call against a server that lives as long as the call."""

    async def both() -> dict[str, Any]:
        server = await serve(state, answer)
        try:
            return await asyncio.to_thread(call, state, command, **arguments)
        finally:
            server.close()

    return asyncio.run(both())


def test_arguments_arrive_and_the_answer_comes_back(tmp_path: Path) -> None:
    assert ask(tmp_path, "echo", digest="ab", n=2) == {"arguments": {"digest": "ab", "n": 2}}


def test_a_deep_state_folder_is_no_obstacle(tmp_path: Path) -> None:
    """A Unix socket's path may hold 107 bytes; a state folder's may be longer."""
    deep = tmp_path.joinpath(*["a-rather-long-folder-name"] * 8)
    deep.mkdir(parents=True)
    assert ask(deep, "echo") == {"arguments": {}}


def test_a_refusal_carries_its_fix(tmp_path: Path) -> None:
    with pytest.raises(Failed) as caught:
        ask(tmp_path, "fail")
    assert caught.value.what == "it cannot be done"
    assert caught.value.fix == "do something else"


def test_arguments_that_do_not_fit_are_told(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="do not fit"):
        ask(tmp_path, "number", number="seven")


@pytest.mark.parametrize("command", ["defect", "unsaid"])
def test_whatever_goes_wrong_is_an_answer(tmp_path: Path, command: str) -> None:
    with pytest.raises(Failed, match=r"failed at 'defect': AttributeError: no such|do not fit"):
        ask(tmp_path, command)


def test_what_an_answer_waits_for_may_go_wrong_too(tmp_path: Path) -> None:
    async def later() -> dict[str, Any]:
        raise KeyError("silo")

    async def both() -> None:
        server = await serve(tmp_path, lambda command, arguments: later())
        try:
            await asyncio.to_thread(call, tmp_path, "withdraw")
        finally:
            server.close()

    with pytest.raises(Failed, match="the daemon failed at 'withdraw': KeyError"):
        asyncio.run(both())


def test_a_request_that_is_too_long_is_told(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="a request is one line of at most 65536 bytes"):
        ask(tmp_path, "echo", reason="x" * 100_000)


def test_the_socket_is_its_owners_alone(tmp_path: Path) -> None:
    ask(tmp_path, "echo")

    async def mode() -> int:
        server = await serve(tmp_path, answer)
        try:
            return (tmp_path / SOCKET).stat().st_mode & 0o777
        finally:
            server.close()

    assert asyncio.run(mode()) == 0o600


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b"no json\n", b'{"no": "command"}\n'])
def test_what_is_no_request_gets_an_error(tmp_path: Path, line: bytes) -> None:
    async def both() -> bytes:
        server = await serve(tmp_path, answer)
        reader, writer = await asyncio.open_unix_connection(tmp_path / SOCKET)
        writer.write(line)
        reply = await reader.read()
        writer.close()
        server.close()
        return reply

    assert b"error" in asyncio.run(both())


def test_a_missing_daemon_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(Unreachable) as caught:
        call(tmp_path, "status")
    assert caught.value.exit_code == 4
    assert "dcfm-node start" in caught.value.fix


def test_a_node_that_is_starting_says_so(tmp_path: Path) -> None:
    document = {"health": "starting", "doing": {"why": "it reads the private data"}}

    async def both() -> None:
        server = await serve(tmp_path, lambda command, arguments: {"starting": document})
        try:
            await asyncio.to_thread(call, tmp_path, "status")
        finally:
            server.close()

    with pytest.raises(Starting, match="is starting: it reads the private data") as caught:
        asyncio.run(both())
    assert caught.value.document == document
    assert caught.value.exit_code == 3


def test_an_answer_may_take_its_time(tmp_path: Path) -> None:
    async def later() -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"done": True}

    async def both() -> dict[str, Any]:
        server = await serve(tmp_path, lambda command, arguments: later())
        try:
            return await asyncio.to_thread(call, tmp_path, "import")
        finally:
            server.close()

    assert asyncio.run(both()) == {"done": True}
