"""Errors of `start` as JSON lines, where the node's log is JSON: its collector reads no text."""

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from dcfm_node.config.text import text_of
from dcfm_node.errors import UserError


@contextmanager
def failures_logged(config: Path) -> Iterator[None]:
    """Log what ends a start as one event, `cannot_start`, if `[log] format` is "json".

    Args:
        config: the node.toml. If it is no TOML at all, its errors are text.

    Raises:
        Exit: with the error's exit code, after it was logged.
        UserError: the log is for people: the program shows the error.
    """
    try:
        yield
    except UserError as error:
        if not _json_wanted(config):
            raise
        _log("cannot_start", error)
        raise typer.Exit(error.exit_code) from None
    except typer.Exit:
        raise
    except Exception as error:
        if not _json_wanted(config):
            raise
        _log("defect", error)
        raise typer.Exit(1) from None


def _log(event: str, error: Exception) -> None:
    import structlog

    from dcfm_node.daemon.logs import configure

    configure("json", "info")
    log = structlog.get_logger()
    if isinstance(error, UserError):
        why = "\n".join([error.what, *error.more])
        log.error(event, why=why, where=error.where, fix=error.fix, exit_code=error.exit_code)
    else:
        log.error(event, exc_info=error)


def _json_wanted(config: Path) -> bool:
    """Whether a node.toml asks for a JSON log, though the rest of it may be wrong."""
    try:
        table = tomllib.loads(text_of(config, "")).get("log")
    except (UserError, ValueError, RecursionError):
        return False
    return isinstance(table, dict) and table.get("format") == "json"
