"""Commands that ask a running daemon: status, stop, withdraw."""

import sys
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from dcfm_node.api.client import Starting, call
from dcfm_node.api.problems import exit_code
from dcfm_node.api.requests import StatusRequest, StopRequest, WithdrawRequest
from dcfm_node.api.status import StartingStatus, Status
from dcfm_node.cli.options import DEFAULT_CONFIG, AsJson, Config, state_folder
from dcfm_node.cli.output import answer, ask, clear, print_json, redraw, say, screen_width
from dcfm_node.cli.overview import status_text, style_of
from dcfm_node.cli.shown import starting_text
from dcfm_node.errors import ConfigError, Unreachable
from dcfm_node.words import clean

EVERY_S = 1.0
"""Seconds between two looks of --watch."""


def register(app: typer.Typer) -> None:
    """Add these commands to the app."""
    for command in (status, stop, withdraw):
        app.command()(command)


def status(
    config: Config = DEFAULT_CONFIG,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Repeat every second until interrupted.")
    ] = False,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Add reasons, all problems and codes, coverage, links."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what is wrong and what to do, where the run stands, and how each silo takes part.

    Exit codes: 0 healthy; 3 degraded, or the node is starting; 4 no daemon answers.
    """
    state = state_folder(config)
    if watch:
        raise typer.Exit(_watch(state, explain, as_json))
    try:
        found = call(state, StatusRequest())
    except Starting as starting:
        answer(starting.status, as_json, starting_text)
        raise typer.Exit(Starting.exit_code) from None
    text = partial(status_text, explain=explain, width=screen_width())
    answer(found, as_json, text, style=style_of)
    raise typer.Exit(exit_code(found.problems))


def _watch(state: Path, explain: bool, as_json: bool) -> int:
    """Show the status again and again until interrupted. A daemon that restarts is waited for.

    Returns: the exit code of the last status.
    """
    code = 0
    if not as_json:
        clear()
    try:
        while True:
            code = _watched(state, explain, as_json)
            time.sleep(EVERY_S)
    except KeyboardInterrupt:
        return code


def _watched(state: Path, explain: bool, as_json: bool) -> int:
    """Show the status once, in place of the last one."""
    try:
        found: Status | StartingStatus = call(state, StatusRequest())
        code = exit_code(found.problems)
    except Starting as starting:
        found, code = starting.status, Starting.exit_code
    except Unreachable as error:
        if as_json:
            raise
        redraw(error.lines)
        return error.exit_code
    if as_json:
        print_json(found.plain())
        return code
    cleaned = clean(found)
    text = (
        starting_text(cleaned)
        if isinstance(cleaned, StartingStatus)
        else status_text(cleaned, explain=explain, width=screen_width())
    )
    redraw(text.split("\n"), style_of)
    return code


def stop(
    config: Config = DEFAULT_CONFIG,
    grace: Annotated[
        float,
        typer.Option(min=0, max=86_400, help="Seconds that the current work may take to end."),
    ] = 10.0,
    as_json: AsJson = False,
) -> None:
    """Stop the daemon. It takes no new work; the next start continues where it stopped. Exits with
    1 if the daemon still runs 30 s after the grace period."""
    state = state_folder(config)
    found = call(state, StopRequest(grace_s=grace))
    deadline = time.monotonic() + grace + 30.0
    stopped = False
    while not stopped and time.monotonic() < deadline:
        try:
            call(state, StatusRequest(), timeout_s=5.0)
            time.sleep(0.2)
        except Unreachable:
            stopped = True
    found = found.model_copy(update={"stopped": stopped})
    text = "stopped" if stopped else "still stopping: see its log for the reason"
    answer(found, as_json, lambda _: text)
    if not stopped:
        raise typer.Exit(1)


def withdraw(
    reason: Annotated[str, typer.Option(help="Sent to all peers and kept in the journal.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask; required without a terminal.")
    ] = False,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Leave the run for good. This silo cannot come back, and its experts no longer teach."""
    from dcfm_node.records.entries import check_reason

    reason = check_reason(reason)
    state = state_folder(config)
    before = call(state, StatusRequest())
    own = next(silo for silo in before.silos if silo.own)
    if not own.withdrawn and not yes:
        say(
            "This silo's experts will no longer teach. What other silos' experts learned from it",
            "in earlier rounds stays in them. Only a new run without this silo has none of it.",
            err=True,
        )
        _confirm(f"{before.node} leaves the run {before.run.name} for good. Withdraw?")
    found = call(state, WithdrawRequest(reason=reason))
    answer(
        found,
        as_json,
        lambda said: (
            f"this silo had withdrawn already: {said.reason}"
            if said.already
            else "this silo has withdrawn; 'dcfm-node stop' ends its node"
        ),
    )


def _confirm(question: str) -> None:
    """Ask on the terminal.

    Raises:
        Abort: the operator said no.
        ConfigError: there is no terminal.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigError(
            "a withdrawal cannot be undone, and there is no terminal to confirm it on",
            where="withdraw",
            fix="pass --yes",
        )
    ask(question)
