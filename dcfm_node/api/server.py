"""Answering the operator: a Unix socket that only the node's own user may open."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import structlog

from dcfm_node.api.client import SOCKET
from dcfm_node.errors import UserError

log = structlog.get_logger()

MAX_REQUEST_BYTES = 64 << 10
PATIENCE_S = 10.0

Answer = dict[str, Any]
Handler = Callable[[str, dict[str, Any]], Answer | Awaitable[Answer]]


async def serve(state: Path, handler: Handler) -> asyncio.Server:
    """Listen in a state folder; the folder's lock makes the socket ours alone.

    Args:
        handler: gets the command's name and arguments, returns the answer. A UserError it raises
            is told to the client.
    """
    folder = os.open(state, os.O_PATH)
    try:
        path = f"/proc/self/fd/{folder}/{SOCKET}"
        (state / SOCKET).unlink(missing_ok=True)
        server = await asyncio.start_unix_server(
            lambda reader, writer: _answer(reader, writer, handler), path, limit=MAX_REQUEST_BYTES
        )
        (state / SOCKET).chmod(0o600)
        return server
    finally:
        os.close(folder)


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler
) -> None:
    try:
        writer.write(await _reply(await asyncio.wait_for(_line(reader), PATIENCE_S), handler))
        await writer.drain()
    except (OSError, TimeoutError):
        # The client left, or sent no line in time: there is nobody to tell.
        return
    finally:
        writer.close()


async def _line(reader: asyncio.StreamReader) -> bytes:
    """The request; empty if it is longer than any may be."""
    try:
        return await reader.readline()
    except ValueError:
        return b""


async def _reply(line: bytes, handler: Handler) -> bytes:
    """The answer as JSON, whatever befalls: the client hears of it, and the node lives on."""
    try:
        request = json.loads(line)
        command = request.pop("command")
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        most = f"of at most {MAX_REQUEST_BYTES} bytes"
        return _encoded({"error": f"a request is one line {most} of JSON with a 'command'"})
    try:
        answer = handler(command, request)
        return _encoded(answer if isinstance(answer, dict) else await answer)
    except UserError as error:
        place = {"where": error.where, "fix": error.fix}
        return _encoded({"error": error.what, **place, "more": list(error.more)})
    except (TypeError, ValueError) as error:
        return _encoded({"error": f"the arguments of {command!r} do not fit: {error}"})
    except Exception as error:
        log.error("defect", command=str(command), exc_info=error)
        what = f"the daemon failed at {command!r}: {type(error).__name__}: {error}"
        return _encoded({"error": what, "fix": "its log has more; please report it"})


def _encoded(answer: Answer) -> bytes:
    return json.dumps(answer).encode()
