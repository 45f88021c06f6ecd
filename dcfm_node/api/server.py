"""Answers the operator's requests on a Unix socket that only the node's user may open."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
from pydantic import ValidationError

from dcfm_node.api.client import SOCKET
from dcfm_node.api.document import Document, Model
from dcfm_node.api.requests import REQUEST, AnyRequest, NotReady, Refusal
from dcfm_node.errors import UserError

log = structlog.get_logger()

MAX_REQUEST_BYTES = 64 << 10
PATIENCE_S = 10.0

Reply = Document | NotReady
Handler = Callable[[AnyRequest], Reply | Awaitable[Reply]]


async def serve(state: Path, handler: Handler) -> asyncio.Server:
    """Listen on a socket in a state folder. The folder must be locked: no other daemon may use it.

    Args:
        handler: answers a request. If it raises a UserError, the client gets a `Refusal`.
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
        # The client left or sent no line in time: there is nobody to answer.
        return
    finally:
        writer.close()


async def _line(reader: asyncio.StreamReader) -> bytes:
    """The request line; empty if it is longer than the limit."""
    try:
        return await reader.readline()
    except ValueError:
        return b""


async def _reply(line: bytes, handler: Handler) -> bytes:
    """The answer as JSON. On any failure, the client gets an answer and the node continues."""
    command = ""
    try:
        request = REQUEST.validate_python(_value(line))
        command = request.command
        answer = handler(request)
        return _encoded(await answer if isinstance(answer, Awaitable) else answer)
    except ValidationError as error:
        return _encoded(_misfit(error, command))
    except UserError as error:
        return _encoded(
            Refusal(error=error.what, where=error.where, fix=error.fix, more=error.more)
        )
    except Exception as error:
        log.error("defect", command=command, exc_info=error)
        what = f"the daemon failed at {command!r}: {type(error).__name__}: {error}"
        return _encoded(Refusal(error=what, fix="see its log, and please report this"))


def _value(line: bytes) -> object:
    """The value of a line of JSON; None if it is not JSON. Pydantic's own reader refuses lone
    surrogates, which file names may have."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _misfit(error: ValidationError, command: str) -> Refusal:
    """Says what does not fit in a request, or, if a command was read, in its answer."""
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"])) or "the line"
    match first["type"]:
        case _ if command:
            what = f"the daemon's answer to {command!r} does not fit: {place}: {first['msg']}"
            return Refusal(error=what, fix="please report this")
        case "union_tag_invalid":
            what = f"unknown command {first['ctx']['tag']!r}"
            return Refusal(error=what, fix="use the daemon's own version of dcfm-node")
        case "union_tag_not_found" | "model_attributes_type":
            most = f"of at most {MAX_REQUEST_BYTES} bytes"
            return Refusal(error=f"a request is one line {most} of JSON with a 'command'")
        case _:
            return Refusal(error=f"the arguments do not fit: {place}: {first['msg']}")


def _encoded(answer: Model) -> bytes:
    """JSON in ASCII, which every JSON reader accepts, even with lone surrogates."""
    return json.dumps(answer.model_dump(mode="json")).encode()
