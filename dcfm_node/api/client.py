"""Asking a running daemon. Standard library alone, so that `status` answers at once."""

import json
import os
import socket
from pathlib import Path
from typing import Any

from dcfm_node.errors import Failed, Starting, Unreachable

SOCKET = "control.sock"
MAX_ANSWER_BYTES = 64 << 20


def call(state: Path, command: str, *, timeout_s: float = 30.0, **arguments: Any) -> dict[str, Any]:
    """Send one command to the daemon that runs in a state folder.

    Raises:
        Unreachable: no daemon answers there.
        Starting: one answers that is not ready yet.
        Failed: the daemon answered that it could not.
    """
    request = json.dumps({"command": command, **arguments}).encode() + b"\n"
    try:
        answer: dict[str, Any] = json.loads(_ask(state, request, timeout_s))
    except TimeoutError as error:
        raise Unreachable(
            f"a daemon holds this folder and did not answer within {timeout_s:g} s",
            where=str(state / SOCKET),
            fix="it is stopped, or its machine too busy: see its log, and its process with 'ps'",
        ) from error
    except (OSError, ValueError) as error:
        raise Unreachable(
            f"no daemon answers ({error})",
            where=str(state / SOCKET),
            fix="start it with 'dcfm-node start', or name another node with --config",
        ) from error
    if "starting" in answer:
        raise Starting(answer["starting"])
    if "error" in answer:
        place = {"where": answer.get("where", ""), "fix": answer.get("fix", "")}
        raise Failed(answer["error"], **place, more=answer.get("more", ()))
    return answer


def _ask(state: Path, request: bytes, timeout_s: float) -> bytes:
    # A Unix socket's path may hold 107 bytes: go through the folder's descriptor instead.
    folder = os.open(state, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(f"/proc/self/fd/{folder}/{SOCKET}")
            connection.sendall(request)
            answer = bytearray()
            while chunk := connection.recv(1 << 16):
                answer += chunk
                if len(answer) > MAX_ANSWER_BYTES:
                    raise ValueError("the answer is too long")
            return bytes(answer)
    finally:
        os.close(folder)
