"""Commands that ask a running daemon: status, stop, withdraw."""

import sys
import time
from functools import partial
from typing import Annotated

import typer

from dcfm_node.api.client import Starting, call
from dcfm_node.api.problems import exit_code
from dcfm_node.api.requests import StatusRequest, StopRequest, WithdrawRequest
from dcfm_node.cli.options import DEFAULT_CONFIG, AsJson, Config, state_folder
from dcfm_node.cli.output import answer, ask, clear, say
from dcfm_node.cli.shown import starting_text, status_text
from dcfm_node.errors import ConfigError, Unreachable


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
        typer.Option("--explain", help="Add why the node does what it does, and problem codes."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show where the run is, what this node does, and what is wrong. Exits with 3 if degraded."""
    state = state_folder(config)
    while True:
        code = Starting.exit_code
        try:
            found = call(state, StatusRequest())
        except Starting as starting:
            _clear(watch and not as_json)
            answer(starting.status, as_json, starting_text)
        else:
            _clear(watch and not as_json)
            answer(found, as_json, partial(status_text, explain=explain))
            code = exit_code(found.problems)
        if not watch:
            raise typer.Exit(code)
        time.sleep(1.0)


def _clear(wanted: bool) -> None:
    if wanted:
        clear()


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
