"""Answering the operator: a Unix socket that only the node's own user may open."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from dcfm_node.api.client import SOCKET
from dcfm_node.errors import UserError

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
        line = await asyncio.wait_for(reader.readline(), PATIENCE_S)
        reply = await _reply(line, handler)
        writer.write(json.dumps(reply).encode())
        await writer.drain()
    except (OSError, ValueError, TimeoutError):
        # The client left, or sent no line in time: there is nobody to tell.
        return
    finally:
        writer.close()


async def _reply(line: bytes, handler: Handler) -> Answer:
    try:
        request = json.loads(line)
        command = request.pop("command")
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return {"error": "a request is one line of JSON with a 'command'"}
    try:
        answer = handler(command, request)
        return answer if isinstance(answer, dict) else await answer
    except UserError as error:
        place = {"where": error.where, "fix": error.fix}
        return {"error": error.what, **place, "more": list(error.more)}
    except (TypeError, ValueError) as error:
        return {"error": f"the arguments of {command!r} do not fit: {error}"}
