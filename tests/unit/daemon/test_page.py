"""The page's process: started again when it ends, told of in status, and gone with the daemon."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

import pytest

from dcfm_node.api.problems import Code
from dcfm_node.daemon import page
from dcfm_node.daemon.page import PageKeeper, command

READY = 'print(\'{"page": "ready"}\', flush=True); import sys; sys.stdin.read()'
FAILED = 'print(\'{"page": "failed", "why": "no such package", "fix": "install it"}\'); exit(1)'


def keeper(code: str) -> PageKeeper:
    clock = asyncio.get_running_loop().time
    return PageKeeper((sys.executable, "-c", code), clock, pauses=(0.01, 0.02))


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not what():
            await asyncio.sleep(0.01)


def kept(code: str, meanwhile: Callable[[PageKeeper], Awaitable[None]]) -> None:
    async def both() -> None:
        made = keeper(code)
        made.start()
        try:
            await meanwhile(made)
        finally:
            await made.close()

    asyncio.run(both())


def test_why_a_page_failed_is_a_problem_with_its_fix() -> None:
    async def look(made: PageKeeper) -> None:
        await until(made.problems)
        (problem,) = made.problems()
        assert problem.code is Code.PAGE_DOWN
        assert "no such package" in problem.sentence
        assert problem.fix == "install it"

    kept(FAILED, look)


def test_one_that_says_nothing_is_told_by_how_it_ended() -> None:
    async def look(made: PageKeeper) -> None:
        await until(made.problems)
        assert "ended with exit code 7" in made.problems()[0].sentence

    kept("exit(7)", look)


def test_what_cannot_be_started_is_told() -> None:
    async def look() -> None:
        made = PageKeeper(("/nonexistent/program",), asyncio.get_running_loop().time)
        made.start()
        await until(made.problems)
        assert "cannot be started" in made.problems()[0].sentence
        await made.close()

    asyncio.run(look())


def test_it_is_started_again_and_the_problem_goes() -> None:
    async def look(made: PageKeeper) -> None:
        await until(lambda: made._process is not None)
        first = made._process
        assert first is not None
        first.kill()
        await until(made.problems)
        await until(lambda: not made.problems())
        assert made._process is not None
        assert made._process.pid != first.pid

    kept(READY, look)


def test_it_ends_with_the_daemon() -> None:
    pids = []

    async def look(made: PageKeeper) -> None:
        await until(lambda: made._process is not None)
        assert made._process is not None
        pids.append(made._process.pid)

    kept(READY, look)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_one_that_does_not_leave_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "END_S", 0.05)
    pids = []

    async def look(made: PageKeeper) -> None:
        await until(lambda: made._process is not None)
        assert made._process is not None
        pids.append(made._process.pid)

    kept("import time; time.sleep(3600)", look)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_it_gets_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/x")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    code = (
        "import json, os; held = {'CREDENTIALS_DIRECTORY', 'NOTIFY_SOCKET'} & set(os.environ);"
        "print(json.dumps({'page': 'failed', 'why': f'held {len(held)}'}))"
    )

    async def look(made: PageKeeper) -> None:
        await until(made.problems)
        assert "held 0" in made.problems()[0].sentence

    kept(code, look)


def test_a_line_that_is_no_message_does_not_end_it() -> None:
    code = "print('x' * 1000); print('{\"page\": 3}'); print('\\xff'); " + FAILED

    async def look(made: PageKeeper) -> None:
        await until(made.problems)
        assert "no such package" in made.problems()[0].sentence

    kept(code, look)


def test_it_is_the_package_of_this_interpreter() -> None:
    from pathlib import Path

    assert command(Path("/n/node.toml"))[:4] == (sys.executable, "-P", "-m", "dcfm_node.page")
