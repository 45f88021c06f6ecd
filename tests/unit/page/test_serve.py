"""Where the page listens, and the token that it asks for."""

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from dcfm_node.config.addresses import PagePlace, page_place
from dcfm_node.config.node import load_node
from dcfm_node.errors import ConfigError, Failed
from dcfm_node.page.serve import LEAST_TOKEN, PATIENCE_S, Patient, _listening, _token

LEAST = 'name = "a"\n[data]\nformat = "npz"\npath = "d.npz"\n[page]\n'


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / "token"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_a_token_is_read_without_its_line_break(tmp_path: Path) -> None:
    assert _token(written(tmp_path, "x" * LEAST_TOKEN + "\n")) == b"x" * LEAST_TOKEN
    assert _token(None) is None


@pytest.mark.parametrize(
    ("text", "mode", "told"),
    [
        ("x" * 15, 0o600, "15 characters"),
        ("", 0o600, "0 characters"),
        ("x" * 20, 0o640, "other users"),
        ("x" * 20, 0o604, "other users"),
        ("x" * 5_000, 0o600, "too large"),
    ],
)
def test_a_token_that_protects_nothing_is_refused(
    text: str, mode: int, told: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        _token(written(tmp_path, text, mode))
    assert caught.value.fix


def test_a_token_that_is_missing_is_told_with_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        _token(tmp_path / "absent")
    assert "urandom" in caught.value.fix


def test_an_address_that_is_taken_is_told() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(Failed, match=r"cannot listen on 127.0.0.1:\d+") as caught:
            _listening(PagePlace(None, "127.0.0.1", other.getsockname()[1]))
    assert caught.value.where == "page.listen"


def test_a_socket_that_a_killed_page_left_is_taken_over_and_nothing_else(tmp_path: Path) -> None:
    place = PagePlace(tmp_path / "page.sock", "", 0)
    assert place.socket is not None
    _listening(place).close()
    with _listening(place) as listener:
        assert place.socket.stat().st_mode & 0o777 == 0o660
        listener.listen()
        with pytest.raises(Failed, match="another program listens"):
            _listening(place)
    other = PagePlace(tmp_path / "file", "", 0)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(Failed, match="in use"):
        _listening(other)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "place", "open_"),
    [
        ("127.0.0.1:7480", PagePlace(None, "127.0.0.1", 7480), False),
        ("localhost:1", PagePlace(None, "localhost", 1), False),
        ("[::1]:7480", PagePlace(None, "::1", 7480), False),
        ("127.9.9.9:7480", PagePlace(None, "127.9.9.9", 7480), False),
        ("0.0.0.0:7480", PagePlace(None, "0.0.0.0", 7480), True),
        ("[::]:7480", PagePlace(None, "::", 7480), True),
        ("site.example.org:80", PagePlace(None, "site.example.org", 80), True),
        ("unix:/run/page.sock", PagePlace(Path("/run/page.sock"), "", 0), False),
    ],
)
def test_where_it_listens_and_who_can_reach_that(text: str, place: PagePlace, open_: bool) -> None:
    assert page_place(text) == place
    assert place.open is open_


@pytest.mark.parametrize(
    "text", ["7480", "127.0.0.1", "http://127.0.0.1:7480", "127.0.0.1:0", "h:70000", "unix:", "::1"]
)
def test_what_is_no_address_is_refused_with_the_form(text: str, tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text(f'{LEAST}listen = "{text}"\n')
    with pytest.raises(ConfigError) as caught:
        load_node(tmp_path / "node.toml")
    assert "page.listen" in str(caught.value)


def test_other_machines_get_no_page_without_a_token(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(f'{LEAST}listen = "0.0.0.0:7480"\n')
    with pytest.raises(ConfigError, match="token_file is not set"):
        load_node(file)
    file.write_text(f'{LEAST}listen = "0.0.0.0:7480"\ntoken_file = "t"\n')
    assert load_node(file).page.token_file == tmp_path / "t"
    file.write_text(f'{LEAST}listen = "unix:page.sock"\n')
    assert load_node(file).page.place == PagePlace(tmp_path / "page.sock", "", 0)


class Alarms:
    """The loop of a connection whose alarms the test rings."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self.set = loop, dict[asyncio.TimerHandle, Callable[[], Any]]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_later(self, after_s: float, callback: Callable[[], Any]) -> asyncio.TimerHandle:
        made = self._loop.call_later(3_600, callback)
        if after_s == PATIENCE_S:
            self.set[made] = callback
        return made

    def pending(self) -> list[asyncio.TimerHandle]:
        return [made for made in self.set if not made.cancelled()]


class Line(asyncio.Transport):
    """A client's connection."""

    def __init__(self) -> None:
        super().__init__()
        self.sent, self.gone = b"", False

    def write(self, data: Any) -> None:
        self.sent += bytes(data)

    def is_closing(self) -> bool:
        return self.gone

    def close(self) -> None:
        self.gone = True

    abort = close

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def answer_at_will(goes: asyncio.Event, scope: Any, receive: Any, send: Any) -> None:
    await goes.wait()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def test_who_asks_nothing_is_hung_up_on_before_and_after_each_answer() -> None:
    async def story() -> None:
        goes, line = asyncio.Event(), Line()
        alarms = Alarms(asyncio.get_running_loop())
        app = partial(answer_at_will, goes)
        config = uvicorn.Config(app, interface="asgi3", lifespan="off", log_config=None)
        config.load()
        client = Patient(config, ServerState(), {}, alarms)  # type: ignore[arg-type]
        client.connection_made(line)
        (first,) = alarms.pending()
        client.data_received(b"GET / HT")
        assert alarms.pending() == [first], "bytes do not put it off"
        client.data_received(b"TP/1.1\r\nHost: a\r\n\r\n")
        assert alarms.pending() == [], "an answer takes as long as it takes"
        goes.set()
        for _ in range(20):
            await asyncio.sleep(0)
        assert b"ok" in line.sent
        (second,) = alarms.pending()
        client.data_received(b"G")  # the first byte of a request that never ends
        assert alarms.pending() == [second]
        alarms.set[second]()
        assert line.gone
        client.connection_lost(None)
        assert alarms.pending() == []

    asyncio.run(story())
