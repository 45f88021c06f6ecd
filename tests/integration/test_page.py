"""The page as a process over a real control socket, in a real browser where there is one."""

import asyncio
import os
import shutil
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from dcfm_node.api.problems import Code
from dcfm_node.api.server import serve
from dcfm_node.daemon.page import command
from dcfm_node.records.entries import Withdraw
from tests.unit.page.made import Daemon, ways

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
EVIL = '<img src=x onerror="document.title=1"><script>document.title=1</script>'
PATIENCE_S = 120.0


@contextmanager
def answering(daemon: Daemon, state: Path) -> Iterator[None]:
    """The made-up daemon on a real control socket."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    handler = lambda request: daemon(state, request, timeout_s=1.0)  # noqa: E731
    server = asyncio.run_coroutine_threadsafe(serve(state, handler), loop).result(30)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def page(folder: Path, more: str = "", stdin: Any = subprocess.PIPE) -> Iterator[tuple[str, Any]]:
    """The page's process over a node's folder, once it listens: its address."""
    listen = f"127.0.0.1:{free_port()}"
    (folder / "node.toml").write_text(
        'name = "a"\n[data]\nformat = "npz"\npath = "d.npz"\n'
        f'[page]\nlisten = "{listen}"\ndraw = false\n{more}'
    )
    process = subprocess.Popen(
        [*command(folder / "node.toml")],
        stdin=stdin,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert '"ready"' in process.stdout.readline()
        yield f"http://{listen}", process
    finally:
        process.kill()
        process.wait(30)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


def got(url: str, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_page_is_served_with_and_without_a_daemon(tmp_path: Path, state: Path) -> None:
    with page(tmp_path) as (url, process):
        assert got(f"{url}/healthz") == (200, "ok\n")
        assert got(f"{url}/readyz")[0] == 503
        assert "\ndcfm_up 0.0\n" in got(f"{url}/metrics")[1]
        with answering(Daemon(), state):
            while "\ndcfm_up 1.0\n" not in got(f"{url}/metrics")[1]:
                assert process.poll() is None
        assert got(f"{url}/", Host="evil.example")[0] == 421
        process.stdin.close()  # the daemon that started it is gone
        assert process.wait(PATIENCE_S) == 0


def test_a_token_is_asked_for(tmp_path: Path, state: Path) -> None:
    (tmp_path / "token").write_text("a-token-of-some-length\n")
    (tmp_path / "token").chmod(0o600)
    with page(tmp_path, 'token_file = "token"\n') as (url, _):
        assert got(f"{url}/metrics")[0] == 401
        assert got(f"{url}/metrics", Authorization="Bearer a-token-of-some-length")[0] == 200


def test_nonsense_on_the_port_is_hung_up_on(tmp_path: Path, state: Path) -> None:
    with page(tmp_path) as (url, process):
        host, port = url.removeprefix("http://").split(":")
        for nonsense in (b"\x00" * 100, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 100_000, b"\r\n\r\n"):
            place = host, int(port)
            # The page may hang up at any byte; what counts is that it serves afterwards. Without a
            # connection it does not, so that `healthz` fails.
            with suppress(ConnectionError), socket.create_connection(place, PATIENCE_S) as link:
                link.sendall(nonsense)
                while link.recv(65_536):
                    pass
        assert process.poll() is None
        assert got(f"{url}/healthz") == (200, "ok\n")


# In a browser


@pytest.fixture
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no browser is installed: apt install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with sync_api.sync_playwright() as started:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        found = started.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield found
        found.close()


def opened(browser: Any, url: str, width: int, complaints: list[str], scheme: str = "light") -> Any:
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce"
    )
    context.set_default_timeout(PATIENCE_S * 1_000)
    tab = context.new_page()
    tab.on("console", lambda said: complaints.append(said.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
    tab.goto(url)
    tab.wait_for_selector("[data-part=journal] li")
    return tab


def test_in_a_browser(browser: Any, tmp_path: Path, state: Path) -> None:
    """What a peer says stays text; what happens is shown; it fits a phone and a keyboard."""
    daemon = Daemon()
    daemon.around["ways"] = ways(daemon, 1, bulk="")
    author = daemon.run.authors[1]
    for sealed in (author.join(), author.say(Withdraw(reason=EVIL))):
        daemon.node.replica.journals.offer(sealed)
    silos = daemon.status.silos
    evil = tuple(s.model_copy(update={"activity": EVIL, "trouble": EVIL}) for s in silos)
    daemon.changed["silos"] = evil
    complaints: list[str] = []
    with answering(daemon, state), page(tmp_path) as (url, _):
        for width, scheme in ((360, "dark"), (1_280, "light")):
            tab = opened(browser, url, width, complaints, scheme)
            assert "<img src=x" in tab.inner_text("[data-part=journal]")
            assert EVIL in tab.inner_text("[data-part=silos]")
            assert tab.locator("img[src=x], main script").count() == 0
            assert tab.title().endswith("dcfm-node")
            # The page scrolls down only; wide tables scroll inside, and a keyboard reaches them.
            assert tab.locator("html").evaluate("e => e.scrollWidth") <= width
            wide = tab.locator(".wide")
            assert wide.count() > 1
            assert wide.evaluate_all("all => all.every(e => e.tabIndex === 0)")
        tab.keyboard.press("Tab")
        assert tab.locator(":focus").inner_text() == "Skip to problems"
        tab.keyboard.press("Enter")
        assert tab.locator("#problems:focus").count() == 1
        daemon.changed["problems"] = (Code.DISK_FULL.problem("this node", "the disk is full"),)
        tab.wait_for_selector(".problem.error >> text=the disk is full")
        assert "make room on the disk" in tab.inner_text("#problems")
        tab.select_option("#of-kind", "withdraw")
        assert tab.locator("[data-part=journal] li").count() == 1
        assert complaints == []


def test_a_browser_is_told_when_nothing_answers(browser: Any, tmp_path: Path, state: Path) -> None:
    complaints: list[str] = []
    with page(tmp_path) as (url, process):
        with answering(Daemon(), state):
            tab = opened(browser, url, 1_280, complaints)
        tab.wait_for_selector("#health >> text=no daemon answers")
        assert "daemon-unreachable" in tab.inner_text("#problems")
        process.kill()
        tab.wait_for_selector("#health >> text=the page's process does not answer")
