"""Progress of a long command on stderr."""

import sys
import time

from dcfm_node.cli.output import rewrite, say

TOLD_S = 5.0
"""Seconds between two lines of progress if stderr is not a terminal."""


class Progress:
    """A line that is rewritten on a terminal, else a line every TOLD_S.

    Args:
        total: steps of the work.
    """

    def __init__(self, total: int) -> None:
        self._total, self._told_at = total, time.monotonic()

    def tell(self, done: int, line: str) -> None:
        """Show a line after so many steps."""
        if sys.stderr.isatty():
            rewrite(line, last=done == self._total)
        elif time.monotonic() - self._told_at >= TOLD_S:
            self._told_at = time.monotonic()
            say(line, err=True)
