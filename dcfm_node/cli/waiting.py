"""The command `wait`, for scripts: until a round is complete or the student is released."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from dcfm_node.api.client import Starting, call
from dcfm_node.api.document import RunName
from dcfm_node.api.requests import StatusRequest
from dcfm_node.api.status import Status
from dcfm_node.api.waited import Waited, outcome
from dcfm_node.cli.options import DEFAULT_CONFIG, AsJson, Config, state_folder
from dcfm_node.cli.output import answer, rewrite
from dcfm_node.errors import ConfigError, Failed, Unreachable

EVERY_S = 1.0
"""Seconds between two looks."""
RESTART_S = 60.0
"""A daemon that answered before may be away for so long: it is being restarted."""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(wait)


def wait(
    round_: Annotated[
        int | None, typer.Option("--round", min=0, help="Wait until this round is complete.")
    ] = None,
    student: Annotated[
        bool, typer.Option("--student", help="Wait until the final student is released.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=0, help="Most seconds to wait; 0 for no limit.")
    ] = 0.0,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Wait until a round is complete, or until the student is released.

    Exit codes: 0 reached; 1 the time is over; 3 the run can no longer reach it, or its student
    lacks some silos; 4 no daemon answers.
    """
    if (round_ is None) is not student:
        raise ConfigError("name one goal", where="wait", fix="give --round N or --student")
    found = _waited(state_folder(config), round_, timeout)
    answer(found, as_json, lambda told: told.why)
    raise typer.Exit(found.exit_code)


def _waited(state: Path, round_: int | None, timeout_s: float) -> Waited:
    """Look again and again until it is decided, or the time is over."""
    begun = answered_at = time.monotonic()
    last: Status | None = None
    line, width = "", 0
    while True:
        now = time.monotonic()
        over = bool(timeout_s) and now - begun >= timeout_s
        try:
            last, answered_at = call(state, StatusRequest()), now
        except Starting as starting:
            answered_at = now
            line = starting.status.doing.why
            if over:
                raise Failed("the node was still starting when the time was over") from starting
        except Unreachable:
            if last is None or now - answered_at >= RESTART_S:
                raise
            line = "no daemon answers: is it being restarted?"
        else:
            what, line = outcome(last, round_)
            if what != "waiting" or over:
                _line(line, width, last=True)
                return _document(last, round_, now - begun)
            line = f"{line}: {_place(last)}"
        width = _line(line, width)
        time.sleep(min(EVERY_S, max(0.0, begun + timeout_s - now)) if timeout_s else EVERY_S)


def _document(found: Status, round_: int | None, waited_s: float) -> Waited:
    what, why = outcome(found, round_)
    goal = "the released student" if round_ is None else f"round {round_}"
    return Waited(
        run=RunName(name=found.run.name, id=found.run.id),
        goal=goal,
        outcome=what,
        why=f"{why} after {waited_s:.0f} s: {_place(found)}" if what == "waiting" else why,
        waited_s=round(waited_s, 1),
        phase=found.phase,
        student=found.latest.digest if found.latest is not None else None,
    )


def _place(found: Status) -> str:
    """Where the run stands, in a few words."""
    if (phase := found.phase) is None:
        return found.doing.why
    eta = found.eta.run_s if found.eta is not None else None
    left = "" if eta is None else f", about {eta / 60:.0f} min left"
    return f"round {phase.round}, {phase.stage}{left}"


def _line(text: str, width: int, *, last: bool = False) -> int:
    """Show progress on a terminal, over the last line of `width` characters. Returns its own."""
    if not sys.stderr.isatty():
        return 0
    rewrite(text.ljust(width), last=last)
    return len(text)
