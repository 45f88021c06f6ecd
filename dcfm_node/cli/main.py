"""The program `dcfm-node`: its commands and exit codes.

Exit codes: 0 healthy, 1 failure, 2 usage or settings, 3 degraded, 4 daemon unreachable.
"""

import errno
import os
import sys
import traceback
from types import TracebackType
from typing import Annotated, Any, NoReturn

import typer

from dcfm_node import __version__
from dcfm_node.api.commands import Error, Version
from dcfm_node.cli import (
    bundle,
    check,
    composed,
    debug,
    domain,
    egress,
    experiment,
    journal,
    judge,
    moving,
    node,
    page,
    pairing,
    peers,
    proof,
    query,
    simulate,
    student,
    succession,
    waiting,
)
from dcfm_node.cli.options import AsJson
from dcfm_node.cli.output import answer, print_json, say
from dcfm_node.errors import ConfigError, Failed, UserError

PROGRAM = "dcfm-node"
UsageError: Any = typer.BadParameter.__base__
"""What Typer raises for wrong flags or arguments: click's own, or Typer's copy of it."""

app = typer.Typer(
    name=PROGRAM,
    help="Peer-to-peer daemon for Decentralized Compositional Flow Matching.\n\n"
    "Exit codes: 0 healthy, 1 failure, 2 usage or settings, 3 degraded, 4 daemon unreachable.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
node.register(app)
check.register(app)
query.register(app)
pairing.register(app)
waiting.register(app)
journal.register(app)
page.register(app)
moving.register(app)
simulate.register(app)
judge.register(student.app)
composed.register(student.app)
app.add_typer(student.app, name="student")
app.add_typer(peers.app, name="peers")
app.add_typer(proof.app, name="proof")
app.add_typer(bundle.app, name="bundle")
app.add_typer(debug.app, name="debug")
app.add_typer(egress.app, name="egress")
app.add_typer(egress.app, name="audit", hidden=True)
app.add_typer(succession.keys, name="keys")
app.add_typer(succession.run, name="run")
app.add_typer(experiment.app, name="experiment")
app.add_typer(domain.app, name="domain")


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Options of the program itself."""


@app.command()
def version(as_json: AsJson = False) -> None:
    """Print the version of dcfm-node."""
    answer(Version(version=__version__), as_json, lambda found: found.version)


def main() -> None:
    """Run a command. An operator's mistake is shown as a message, not as a traceback."""
    # Must be set before torch is loaded; child processes inherit it. Otherwise waiting OpenMP
    # threads spin, and processes that share cores slow each other down.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    sys.excepthook = _defect
    # Never import a module from the current folder: other people may have put files there.
    os.environ["PYTHONSAFEPATH"] = "1"
    as_json = "--json" in sys.argv
    try:
        arguments = [_at_home(argument) for argument in sys.argv[1:]]
        sys.exit(app(arguments, standalone_mode=False, prog_name=PROGRAM) or 0)
    except typer.Abort:
        _fail(UserError("aborted"), as_json)
    except UsageError as error:
        if not as_json:
            usage = error.ctx.get_usage().split("\n") if error.ctx is not None else []
            told = error.format_message()
            # Without a command the message is the whole help, which begins with the usage.
            said = [told] if told.startswith("Usage:") else [*usage, f"Error: {told}"]
            say(*(line for text in said for line in text.split("\n")), err=True)
            sys.exit(error.exit_code)
        command = error.ctx.command_path if error.ctx is not None else PROGRAM
        fix = f"see '{command} --help'"
        _fail(ConfigError(error.format_message(), where=command, fix=fix), as_json)
    except UserError as error:
        _fail(error, as_json)
    except OSError as error:
        if error.filename is None or error.errno not in _PLACES:
            raise
        what = f"cannot be used: {(error.strerror or str(error)).lower()}"
        fix = "name another path, or check its permissions and the free space"
        _fail(Failed(what, where=str(error.filename), fix=fix), as_json)


_PLACES = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ELOOP,
    errno.ENAMETOOLONG,
}
"""Errors that a given path causes, not a defect of the program."""


def _at_home(argument: str) -> str:
    """Expand `~/…` as a shell does. A shell does not expand it in `--out=~/…` or in quotes."""
    option, equals, value = argument.partition("=")
    if not option.startswith("--"):
        option, equals, value = "", "", argument
    # Unlike pathlib, this leaves `~name` unchanged if no user has that name.
    return option + equals + os.path.expanduser(value)  # noqa: PTH111


def _defect(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of a defect. Control characters in it are escaped."""
    for part in traceback.format_exception(kind, error, trace):
        say(*part.rstrip("\n").split("\n"), err=True)


def _fail(error: UserError, as_json: bool) -> NoReturn:
    if as_json:
        failed = Error(
            error="\n".join([error.what, *error.more]),
            where=error.where,
            fix=error.fix,
            exit_code=error.exit_code,
        )
        print_json(failed.plain())
    else:
        first, *rest = error.lines
        say(f"dcfm-node: {first}", *rest, err=True)
    sys.exit(error.exit_code)
