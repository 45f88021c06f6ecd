"""Which problems are shown, since when, and which of them follow from others. No I/O.

The parts of the daemon say what is wrong now. This says how long each problem has lasted, leaves
out those that have not lasted long enough to be shown, and names the cause of those that follow
from another problem.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from dcfm_node.api.problems import THIS_NODE, THIS_RUN, Code, FollowsFrom, Problem

OF_ALL = (THIS_NODE, THIS_RUN)
"""Subjects that can be the cause or the consequence of a problem of any silo."""
RANK = {"critical": 0, "error": 1, "warning": 2}


class Registry:
    """Remembers since when each problem lasts.

    Args:
        clock: seconds, the daemon's own.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: dict[tuple[Code, str], float] = {}
        """By code and subject; as many as there are problems now."""

    def shown(self, present: Iterable[Problem]) -> tuple[Problem, ...]:
        """The problems to show: causes first, the most severe of them first.

        Args:
            present: all problems that are present now. One that is missing here is over.
        """
        now, found = self._clock(), list(present)
        self._since = {key: self._since.get(key, now) for key in map(_key, found)}
        aged = [self._aged(problem, now) for problem in found]
        causes = _Causes(aged)
        kept = [shown for problem in aged if (shown := causes.linked(problem)) is not None]
        return tuple(sorted(kept, key=lambda p: (p.follows is not None, RANK[p.severity])))

    def _aged(self, problem: Problem, now: float) -> Problem:
        """The problem with its age: what it says itself, or since this node first saw it."""
        if problem.since_s is not None:
            return problem
        return problem.model_copy(update={"since_s": round(now - self._since[_key(problem)], 1)})


def _key(problem: Problem) -> tuple[Code, str]:
    return problem.code, problem.subject


def _lasts(problem: Problem) -> bool:
    return (problem.since_s or 0.0) >= problem.code.lasts_s


class _Causes:
    """Finds the causes among the problems that are present."""

    def __init__(self, present: Sequence[Problem]) -> None:
        self._present: dict[str, list[Problem]] = {}
        for problem in present:
            self._present.setdefault(problem.code.value, []).append(problem)
        self._first: dict[tuple[Code, str, float | None], Problem | float] = {}

    def linked(self, problem: Problem) -> Problem | None:
        """The problem with the first cause in its chain of causes; None if it is not shown."""
        first = self._first_of(problem)
        if not isinstance(first, Problem) or not _lasts(problem):
            return None
        if _key(first) == _key(problem):
            return problem
        follows = FollowsFrom(code=first.code, subject=first.subject)
        return problem.model_copy(update={"follows": follows})

    def _first_of(self, problem: Problem) -> Problem | float:
        """The shown problem that its chain of causes ends at, which may be itself. If there is
        none: the age in seconds from which the problem is shown all the same. Until then its
        cause, which is not shown yet, may come to explain it."""
        key = (*_key(problem), problem.since_s)
        if key not in self._first:  # the table has no circles (tests/unit/api/test_problems.py)
            self._first[key] = self._traced(problem)
        return self._first[key]

    def _traced(self, problem: Problem) -> Problem | float:
        waits_s = problem.code.lasts_s
        for cause in self._causes_of(problem):
            first = self._first_of(cause)
            if isinstance(first, Problem):
                return first
            waits_s = max(waits_s, first)
        return problem if (problem.since_s or 0.0) >= waits_s else waits_s

    def _causes_of(self, problem: Problem) -> Iterator[Problem]:
        """The present problems that this one follows from."""
        for code in problem.code.after:
            for other in self._present.get(code, ()):
                if _concerns(other.subject, problem.subject) and not _outranks(problem, other):
                    yield other


def _outranks(problem: Problem, cause: Problem) -> bool:
    """Whether a problem stands by itself beside its cause. That the run cannot go on is never
    counted behind the warning that one silo is silent. What is wrong with this node may explain it:
    a node that hears nobody cannot say how the others are."""
    grave = problem.severity == "critical" and cause.severity != "critical"
    return grave and cause.subject != THIS_NODE


def _concerns(cause: str, subject: str) -> bool:
    """Whether a problem of one subject can be the cause of a problem of another."""
    return cause == subject or cause in OF_ALL or subject in OF_ALL
