"""Serves the page until it is told to stop."""

import asyncio
import resource
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from dcfm_node.config.addresses import PagePlace
from dcfm_node.config.node import NodeConfig
from dcfm_node.errors import ConfigError, Failed
from dcfm_node.files import private_folder, read_bounded
from dcfm_node.page.app import Page
from dcfm_node.page.drawing import Drawing
from dcfm_node.page.guard import LOCAL, Guard
from dcfm_node.page.reader import Reader

log = structlog.get_logger()

LEAST_TOKEN, MOST_TOKEN = 16, 4_096
MAX_CONNECTIONS = 64
MAX_HEAD_BYTES = 16 << 10
PATIENCE_S = 10.0
"""A client that has not asked, in whole, after so many seconds is hung up on."""
OPEN_FILES = 512


class Patient(H11Protocol):
    """HTTP/1.1 that hangs up on a client who asks nothing, or never ends its request: before the
    first answer and after each."""

    _alarm: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A client came."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Some bytes of a request."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """An answer was given."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left."""
        self._calm()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Set the alarm unless an answer is being given. Bytes that come do not put it off."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._calm()
        elif self._alarm is None:
            # Not `close`, which waits until the client has read the answer.
            self._alarm = self.loop.call_later(PATIENCE_S, self.transport.abort)

    def _calm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None


async def serve(config: NodeConfig, file: Path, *, ready: Callable[[], None] | None = None) -> None:
    """Serve the page of a node.

    Args:
        file: the node.toml.
        ready: called once the page listens, by a daemon's page: it also stops once stdin ends.

    Raises:
        UserError: it cannot listen, or its token is missing.
    """
    place = config.page.place
    if place is None:
        raise ConfigError(
            "the node has no page",
            where=f"{file}: page.listen",
            fix='write [page] and listen = "127.0.0.1:7480"',
        )
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    token = _token(config.page.token_file)
    private_folder(config.state)
    drawing = Drawing(config.state / "page", file, wanted=config.page.draw)
    reader = Reader(config.state, lambda: drawing.drawn)
    hosts = None if place.socket is not None or place.open else LOCAL
    guarded = Guard(Page(reader, drawing).app, token, hosts)
    with _listening(place) as listener:
        listener.listen(MAX_CONNECTIONS)
        server = uvicorn.Server(
            uvicorn.Config(
                guarded,
                http=Patient,
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=MAX_CONNECTIONS,
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=1,
            )
        )
        said = str(place.socket) if place.socket is not None else f"http://{config.page.listen}/"
        log.info("page_ready", at=said, token=token is not None)
        if ready is not None:
            await _until_left(server)
            ready()
        await server.serve(sockets=[listener])
    if place.socket is not None:
        place.socket.unlink(missing_ok=True)


async def _until_left(server: uvicorn.Server) -> None:
    """Stop the server once stdin ends: the daemon that started it is gone."""

    class Left(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            server.should_exit = True

    await asyncio.get_running_loop().connect_read_pipe(Left, sys.stdin)


def _token(file: Path | None) -> bytes | None:
    """The token of a file.

    Raises:
        ConfigError: it cannot be read, others can read it, or it is too short.
    """
    if file is None:
        return None
    make = f"head -c 24 /dev/urandom | base64 > {file}; chmod 600 {file}"
    try:
        mode = file.stat().st_mode
        token = read_bounded(file, MOST_TOKEN).strip()
    except OSError as error:
        what = f"the page's token cannot be read: {error.strerror}"
        raise ConfigError(what, where=str(file), fix=make) from error
    if mode & 0o077:
        what = "other users may read the page's token"
        raise ConfigError(what, where=str(file), fix=f"chmod 600 {file}")
    if len(token) < LEAST_TOKEN:
        what = f"the page's token has {len(token)} characters; {LEAST_TOKEN} are the least"
        raise ConfigError(what, where=str(file), fix=make)
    return token


def _listening(place: PagePlace) -> socket.socket:
    """A socket that listens there.

    Raises:
        Failed: the address cannot be used.
    """
    try:
        if place.socket is not None:
            return _at_path(place.socket)
        family, kind, number, _, address = socket.getaddrinfo(
            place.host, place.port, type=socket.SOCK_STREAM
        )[0]
        listener = socket.socket(family, kind, number)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
        return listener
    except OSError as error:
        said = str(place.socket) if place.socket is not None else f"{place.host}:{place.port}"
        raise Failed(
            f"the page cannot listen on {said}: {(error.strerror or str(error)).lower()}",
            where="page.listen",
            fix="name another address in node.toml, or stop the program that uses this one",
        ) from error


def _at_path(path: Path) -> socket.socket:
    """A Unix socket that its owner and its group may open. One that nobody listens on any more is
    replaced; anything else at that path is not."""
    if path.is_socket():
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:
                raise OSError(98, "another program listens there")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        path.chmod(0o660)
    except OSError:
        listener.close()
        raise
    return listener
