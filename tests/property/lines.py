"""Work, counted in lines that run."""

import sys
from collections.abc import Callable
from pathlib import Path

import dcfm_node

PACKAGE = str(Path(dcfm_node.__file__).parent)


def work(act: Callable[[], object]) -> int:
    """How many lines of the package run: a loop's count each time around, a comprehension's too."""
    lines = 0

    def trace(frame, event, _):  # type: ignore[no-untyped-def]
        nonlocal lines
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return lines
