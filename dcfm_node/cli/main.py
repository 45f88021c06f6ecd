"""`dcfm-node`: the commands, and how they end.

Exit codes: 0 healthy, 1 failure, 2 usage or settings, 3 degraded, 4 daemon unreachable.
"""

import errno
import os
import sys
import traceback
from types import TracebackType
from typing import Any, NoReturn

import typer

from dcfm_node import __version__
from dcfm_node.cli import (
    bundle,
    experiment,
    journal,
    node,
    proof,
    query,
    simulate,
    student,
    succession,
)
from dcfm_node.cli.options import AsJson
from dcfm_node.cli.output import print_json, say
from dcfm_node.errors import ConfigError, Failed, UserError

PROGRAM = "dcfm-node"
UsageError: Any = typer.BadParameter.__base__
"""What Typer raises where flags or arguments are wrong: click's own, or a copy that it brings."""

app = typer.Typer(
    name=PROGRAM,
    help="Peer-to-peer daemon for Decentralized Compositional Flow Matching.\n\n"
    "Exit codes: 0 healthy, 1 failure, 2 usage or settings, 3 degraded, 4 daemon unreachable.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
node.register(app)
query.register(app)
journal.register(app)
simulate.register(app)
app.add_typer(student.app, name="student")
app.add_typer(proof.app, name="proof")
app.add_typer(bundle.app, name="bundle")
app.add_typer(succession.keys, name="keys")
app.add_typer(succession.run, name="run")
app.add_typer(experiment.app, name="experiment")


@app.command()
def version(as_json: AsJson = False) -> None:
    """Print the version of this node's software."""
    if as_json:
        print_json({"schema": "dcfm-node/version/1", "version": __version__})
    else:
        say(__version__)


def main() -> None:
    """Run a command; a mistake of the operator's is told in words, not in a traceback."""
    # Before anything loads torch, and for every process started from here. OpenMP's threads spin
    # while they wait, unless told to sleep: processes that share cores all but stop each other.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    sys.excepthook = _defect
    # A module that lies in the current folder, beside private data say, is never imported.
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
            # Without a command it is the whole help, which begins with the usage.
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
        fix = "name another, or see to its permissions and room"
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
"""What is wrong with a place that was named, and not with the program."""


def _at_home(argument: str) -> str:
    """`~/…` as a shell would have it, which leaves it standing in `--out=~/…` and in quotes."""
    option, equals, value = argument.partition("=")
    if not option.startswith("--"):
        option, equals, value = "", "", argument
    # Words that name no user stay as they are, unlike pathlib's.
    return option + equals + os.path.expanduser(value)  # noqa: PTH111


def _defect(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A defect of ours keeps its traceback; what others' words are in it steer no terminal."""
    for part in traceback.format_exception(kind, error, trace):
        say(*part.rstrip("\n").split("\n"), err=True)


def _fail(error: UserError, as_json: bool) -> NoReturn:
    if as_json:
        print_json(
            {
                "schema": "dcfm-node/error/1",
                "error": "\n".join([error.what, *error.more]),
                "where": error.where,
                "fix": error.fix,
                "exit_code": error.exit_code,
            }
        )
    else:
        first, *rest = error.lines
        say(f"dcfm-node: {first}", *rest, err=True)
    sys.exit(error.exit_code)
