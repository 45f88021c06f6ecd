"""Tells how far a solver is, without an argument in every method's `sample`.

A method of another package overrides `Learner.sample`, whose arguments are fixed. So who waits for
samples sets a function for the present context (`contextvars`), and solvers call it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

_REPORT: ContextVar[Callable[[int], None] | None] = ContextVar("report", default=None)


@contextmanager
def watched(report: Callable[[float], None] | None, total: int) -> Iterator[None]:
    """Report what is done inside the block.

    Args:
        report: is given the share that is done, 0 to 1; None reports nothing.
        total: steps times samples that there will be.
    """
    done = 0

    def add(rows: int) -> None:
        nonlocal done
        done += rows
        if report is not None:
            report(min(1.0, done / total))

    token = _REPORT.set(add)
    try:
        yield
    finally:
        _REPORT.reset(token)


def last_of(states: Iterator[Tensor]) -> Tensor:
    """The last state of a trajectory, of B samples each. Every state after the first is a step."""
    state, report = next(states), _REPORT.get()
    for state in states:
        if report is not None:
            report(len(state))
    return state
