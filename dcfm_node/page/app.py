"""The routes of the page. All of them only read."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.responses import StreamingResponse as Streaming
from starlette.routing import Route

from dcfm_node.api.document import Document
from dcfm_node.page.drawing import Drawing
from dcfm_node.page.exposition import MEDIA_TYPE, exposition
from dcfm_node.page.metrics import samples
from dcfm_node.page.reader import Reader, Seen
from dcfm_node.store.download import MEDIA_TYPE as TAR
from dcfm_node.store.download import folder_parts, tar, tar_size

log = structlog.get_logger()

STATIC = Path(__file__).parent / "static"
FILES = {
    "/": ("index.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/charts.js": ("charts.js", "text/javascript"),
    "/derived.js": ("derived.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""Every file of the package that is served, by its path."""
MAX_WATCHERS = 16
"""Most clients that are sent events. Further ones ask for the documents from time to time."""
EVERY_S, IDLE_S = 2.0, 15.0
"""Seconds between two looks at the daemon while somebody watches, and while nobody does."""
FOR_GOOD = {"cache-control": "private, max-age=86400, immutable"}


class Page:
    """The page of one node.

    Attributes:
        watchers: how many clients are sent events.
    """

    def __init__(self, reader: Reader, drawing: Drawing) -> None:
        self._reader, self._drawing = reader, drawing
        self.watchers = 0

    @property
    def app(self) -> Starlette:
        """The application, without what guards it."""
        routes: dict[str, Callable[[Request], Awaitable[Response]]] = {
            **{path: _file(*file) for path, file in FILES.items()},
            "/healthz": self._health,
            "/readyz": self._ready,
            "/metrics": self._metrics,
            "/now": self._now,
            "/past": self._past,
            "/events": self._events,
            "/cells/{student}/{name}.png": self._cell,
            "/student/{student}.tar": self._archive,
            "/student/{student}/{name}": self._student,
        }
        made = [Route(path, endpoint, methods=["GET"]) for path, endpoint in routes.items()]
        return Starlette(routes=made, lifespan=self._living)

    @asynccontextmanager
    async def _living(self, _: Starlette) -> AsyncIterator[None]:
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            await self._drawing.close()

    async def _watch(self) -> None:
        """Look at the daemon from time to time, so that losses are kept and students are drawn."""
        while True:
            try:
                await self._look()
            except Exception as error:  # a defect of ours must be seen, and not be the last look
                log.error("defect", exc_info=error)
            await asyncio.sleep(EVERY_S if self.watchers else IDLE_S)

    async def _look(self) -> Seen:
        seen = await self._reader.look()
        if (status := seen.status) is not None:
            latest = status.latest.digest if status.latest is not None else ""
            self._drawing.want(latest, seen.past.run)
        return seen

    async def _health(self, _: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _ready(self, _: Request) -> Response:
        ready = (await self._look()).now.ready
        return JSONResponse(ready.plain(), 200 if ready.ready else 503)

    async def _metrics(self, _: Request) -> Response:
        found = samples(await self._look(), self.watchers)
        return Response(exposition(found), media_type=MEDIA_TYPE)

    async def _now(self, _: Request) -> Response:
        return _json((await self._look()).now)

    async def _past(self, _: Request) -> Response:
        return _json((await self._look()).past)

    async def _events(self, request: Request) -> Response:
        if self.watchers >= MAX_WATCHERS:
            headers = {"retry-after": "30"}
            return PlainTextResponse("too many watch already; ask for /now\n", 503, headers)
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        self.watchers += 1  # here and not in the stream: clients that come at once are counted
        return _Counted(self._stream(), self._left)

    def _left(self) -> None:
        self.watchers -= 1

    async def _stream(self) -> AsyncIterator[bytes]:
        """What is so now, every EVERY_S; what the records say, when it changes. A client that does
        not read holds up only itself: the next event is made when the last one was taken."""
        version = None
        yield b"retry: 3000\n\n"
        while True:
            seen = await self._look()
            if seen.version != version:
                yield _event("past", seen.past)
                version = seen.version
            yield _event("now", seen.now)
            await asyncio.sleep(EVERY_S)

    async def _cell(self, request: Request) -> Response:
        found = request.path_params
        drawn = self._drawing.drawn
        picture = self._drawing.pictures.get(found["name"])
        if picture is None or drawn.student != found["student"]:
            return PlainTextResponse("no such picture\n", 404)
        return Response(picture, media_type="image/png", headers=FOR_GOOD)

    async def _student(self, request: Request) -> Response:
        """A file of the released student's folder. Its lineage, beside it, proves it."""
        wish = request.path_params
        folder = self._drawing.files(wish["student"])
        names = [p.name for p in folder.iterdir() if p.is_file()] if folder is not None else []
        if folder is None or wish["name"] not in names:
            return PlainTextResponse("no such file\n", 404)
        saved = {"content-disposition": "attachment", **FOR_GOOD}
        return FileResponse(folder / wish["name"], headers=saved)

    async def _archive(self, request: Request) -> Response:
        """The same folder as one file, for machines that only use it: `student verify` reads it."""
        folder = self._drawing.files(request.path_params["student"])
        if folder is None:
            return PlainTextResponse("no such student\n", 404)
        parts = await asyncio.to_thread(folder_parts, folder)
        headers = {
            "content-disposition": 'attachment; filename="student.tar"',
            "content-length": str(tar_size(parts)),
            **FOR_GOOD,
        }
        return Streaming(tar(parts), media_type=TAR, headers=headers)


class _Counted(Streaming):
    """A stream of events that says when its client left, however it left."""

    def __init__(self, stream: AsyncIterator[bytes], left: Callable[[], None]) -> None:
        super().__init__(stream, media_type="text/event-stream")
        self._left = left

    async def __call__(self, *arguments: object) -> None:
        try:
            await super().__call__(*arguments)  # type: ignore[arg-type]
        finally:
            self._left()


def _file(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    content = (STATIC / name).read_bytes()

    async def serve(_: Request) -> Response:
        return Response(content, media_type=kind)

    return serve


def _json(document: Document) -> Response:
    return Response(_line(document), media_type="application/json")


def _event(name: str, document: Document) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + _line(document) + b"\n\n"


def _line(document: Document) -> bytes:
    """JSON in ASCII on one line. JSON has no NaN: a loss that is none is null."""
    return json.dumps(_finite(document.plain()), allow_nan=False).encode()


def _finite(value: object) -> object:
    match value:
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
    return value
