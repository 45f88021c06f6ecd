"""The program `dcfm-node`, from its first instant: loading the commands can be interrupted too."""

import sys

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it; while a command runs, Typer gives the same."""


def main() -> None:
    """Load the commands, and run one."""
    try:
        from dcfm_node.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
