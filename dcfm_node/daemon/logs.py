"""structlog, for people on a console or as JSON lines for a collector."""

import logging
import sys
from contextlib import suppress
from typing import Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, WrappedLogger

from dcfm_node.words import clean, plain


class _Stderr:
    """stderr, where a full disk or a closed pipe behind it costs lines and not the node."""

    def write(self, text: str) -> None:
        with suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()


def configure(form: Literal["console", "json"], level: str) -> None:
    """Log to stderr; every line bears the run, and the round and peer where there is one."""
    set_level(level)
    rendered: list[structlog.typing.Processor] = [structlog.processors.JSONRenderer()]  # ASCII
    if form == "console":
        rendered = [harmless, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    structlog.configure(
        processors=[
            _least,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *rendered,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Stderr())),
    )
    logging.basicConfig(handlers=[_Libraries()], level=logging.WARNING, force=True)


class _Least:
    """Drops lines below a level, which may change while the loggers stand."""

    def __init__(self) -> None:
        self.level = logging.INFO

    def __call__(self, _: WrappedLogger, method: str, event: EventDict) -> EventDict:
        if _LEVELS.get(method.upper(), logging.ERROR) < self.level:
            raise structlog.DropEvent
        return event


_LEVELS = logging.getLevelNamesMapping()
_least = _Least()


def set_level(level: str) -> None:
    """Log nothing below this level from now on: debug, info, warning or error."""
    _least.level = _LEVELS[level.upper()]


class _Libraries(logging.Handler):
    """What libraries log by themselves, asyncio among them, in the same lines."""

    def emit(self, record: logging.LogRecord) -> None:
        said = structlog.get_logger()
        said.log(
            record.levelno,
            "library",
            name=record.name,
            says=record.getMessage(),
            exc_info=record.exc_info,
        )


def harmless(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A line for people, in which a peer's words can neither steer a terminal nor pass for another
    line. (That they do not pass for a field, the renderer sees to: it quotes what has spaces.)"""
    trace = event.pop("exception", None)
    shown: EventDict = clean(event)
    if isinstance(trace, str):
        # Indented, since the message of an exception may have lines of its own.
        shown["exception"] = "\n".join(f"  {plain(line)}" for line in trace.split("\n"))
    return shown
