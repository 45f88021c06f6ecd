"""The end of a node that is still starting."""

import asyncio
import os
import signal
from typing import Any

import pytest

from dcfm_node.daemon import compose


async def slow(_: object) -> None:
    asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
    await asyncio.sleep(60.0)


def test_a_signal_ends_a_starting_node_without_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "_take_part", slow)
    settings: Any = None
    asyncio.run(compose.run(settings))


def test_a_caller_that_cancels_a_starting_node_learns_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def waits(_: object) -> None:
        await asyncio.sleep(60.0)

    monkeypatch.setattr(compose, "_take_part", waits)

    async def cancelled() -> None:
        settings: Any = None
        running = asyncio.create_task(compose.run(settings))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancelled())
