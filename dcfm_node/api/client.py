"""Sends requests to a running daemon."""

import json
import os
import shlex
import socket
import sys
from pathlib import Path

from pydantic import ValidationError

from dcfm_node.api.requests import ANSWERED_OTHERWISE, Answer, NotReady, Request
from dcfm_node.api.status import StartingStatus
from dcfm_node.errors import Failed, Unreachable
from dcfm_node.files import owner_of
from dcfm_node.store.lock import MOVED

SOCKET = "control.sock"
MAX_ANSWER_BYTES = 64 << 20


class Starting(Unreachable):
    """The daemon runs but is not ready yet. `status` says what it waits for."""

    exit_code = 3

    def __init__(self, status: StartingStatus) -> None:
        super().__init__(f"the node is starting: {status.doing.why}", fix="try again later")
        self.status = status


def call(state: Path, request: Request[Answer], *, timeout_s: float = 30.0) -> Answer:
    """Send one request to the daemon that runs in a state folder.

    Raises:
        Unreachable: no daemon answers there.
        Starting: the daemon is not ready yet.
        Failed: the daemon answered that it could not, or its socket belongs to another user.
    """
    line = json.dumps(request.model_dump(mode="json")).encode() + b"\n"
    try:
        data = _ask(state, line, timeout_s)
    except TimeoutError as error:
        raise Unreachable(
            f"a daemon holds this folder and did not answer within {timeout_s:g} s",
            where=str(state / SOCKET),
            fix="see its log, and 'ps': its process is suspended, or the machine is too busy",
        ) from error
    except PermissionError as error:
        raise _not_ours(state) from error
    except (OSError, ValueError) as error:
        how = "start it with 'dcfm-node start'"
        if os.path.lexists(state / MOVED):
            how = "this node was exported to another machine: ask it there"
        raise Unreachable(
            f"no daemon answers ({error})",
            where=str(state / SOCKET),
            fix=f"{how}, or name another node with --config",
        ) from error
    return _read(data, request.answer(), str(state / SOCKET))


def _not_ours(state: Path) -> Failed:
    """The socket, or a folder on the way to it, belongs to another user."""
    owner = owner_of(state)
    again = shlex.join([str(Path(sys.argv[0]).absolute()), *sys.argv[1:]])
    return Failed(
        f"the daemon's socket belongs to the user {owner}, so only that user and root may ask it",
        where=str(state / SOCKET),
        fix=f"sudo -u {shlex.quote(owner)} {again}",
    )


def _read(data: bytes, kind: type[Answer], where: str) -> Answer:
    try:
        return kind.read(data)
    except ValidationError as error:
        misread = error
    try:
        other = ANSWERED_OTHERWISE.validate_json(data, extra="ignore")
    except ValidationError:
        raise Unreachable(
            f"the daemon's answer cannot be read ({misread.errors()[0]['msg']})",
            where=where,
            fix="use the daemon's own version of dcfm-node, or restart the daemon with this one",
        ) from misread
    if isinstance(other, NotReady):
        raise Starting(other.starting)
    raise Failed(other.error, where=other.where, fix=other.fix, more=other.more)


def _ask(state: Path, request: bytes, timeout_s: float) -> bytes:
    # A Unix socket's path has at most 107 bytes: go through the folder's descriptor instead.
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
            if not answer:
                raise ValueError("the connection closed without an answer")
            return bytes(answer)
    finally:
        os.close(folder)
