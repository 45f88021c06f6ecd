"""`python -m dcfm_node.page --config node.toml`: the page of a node, until it is stopped.

The daemon starts it with `--supervised`; `dcfm-node page` runs it by hand.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path

from dcfm_node.cli.output import say
from dcfm_node.config.node import load_node
from dcfm_node.daemon.logs import configure
from dcfm_node.errors import Failed, UserError
from dcfm_node.words import plain

NEEDED = ("starlette", "uvicorn", "prometheus_client")


def main() -> int:
    """Exit code: 0 stopped, else that of the error."""
    parser = argparse.ArgumentParser(prog="python -m dcfm_node.page")
    parser.add_argument("--config", type=Path, default=Path("node.toml"))
    parser.add_argument("--supervised", action="store_true")
    wish = parser.parse_args()
    try:
        _serve(wish.config.absolute(), supervised=wish.supervised)
    except UserError as error:
        first, *rest = error.lines
        if wish.supervised:
            _tell("failed", first, error.fix)
        else:
            say(f"dcfm-node: {first}", *rest, err=True)
        return error.exit_code
    return 0


def _serve(file: Path, *, supervised: bool) -> None:
    config = load_node(file)
    try:
        from dcfm_node.page.serve import serve  # noqa: PLC0415 - its packages are an extra
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in NEEDED:
            raise
        what = f"the page needs the package {error.name}, which is not installed"
        raise Failed(what, fix="pip install 'dcfm-node[page]'") from error
    configure(config.log.format, config.log.level)
    asyncio.run(serve(config, file, ready=(lambda: _tell("ready")) if supervised else None))


def _tell(what: str, why: str = "", fix: str = "") -> None:
    """One line for the daemon that started this process: its `status` and log have it."""
    sys.stdout.write(json.dumps({"page": what, "why": plain(why), "fix": plain(fix)}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
