"""A machine's wall clock that tests can step: put this folder on a node's PYTHONPATH, and the
name of a file in $CHAOS_CLOCK that says by how many seconds it is off. The steady clock goes on.
"""

import os
import time
from pathlib import Path

_seconds, _nanoseconds = time.time, time.time_ns


def _off() -> int:
    try:
        return int(Path(os.environ["CHAOS_CLOCK"]).read_text())
    except (KeyError, OSError, ValueError):  # not asked for, or being written just now
        return 0


time.time = lambda: _seconds() + _off()
time.time_ns = lambda: _nanoseconds() + _off() * 10**9
