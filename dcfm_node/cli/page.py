"""The command `page`: the read-only page of a node, by hand."""

import os
import sys
from typing import NoReturn

import typer

from dcfm_node.cli.options import DEFAULT_CONFIG, Config


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(page)


def page(config: Config = DEFAULT_CONFIG) -> NoReturn:
    """Serve the node's read-only page, with /metrics, /healthz and /readyz, until stopped.

    node.toml says where: listen under [page]. 'dcfm-node start' serves it by itself; this command
    is for a node that was started without it. It works while no daemon runs, and says so then. It
    needs: pip install 'dcfm-node[page]'.
    """
    # A process of its own name, so that HTTP is never served by one that holds keys.
    arguments = (sys.executable, "-P", "-m", "dcfm_node.page", "--config", str(config))
    os.execv(sys.executable, arguments)  # noqa: S606 - this interpreter itself
