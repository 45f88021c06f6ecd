"""Which problems are shown, since when, and which of them follow from others. No I/O.

The parts of the daemon say what is wrong now. This says how long each problem has lasted, leaves
out those that have not lasted long enough to be shown, and names the cause of those that follow
from another problem.
"""

from collections.abc import Callable, Iterable, Sequence

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
        linked = [_with_cause(problem, aged) for problem in aged]
        lasting = [problem for problem in linked if _lasts(problem)]
        kept = [p for p in lasting if p.follows is None or _names(p.follows, lasting)]
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


def _with_cause(problem: Problem, present: Sequence[Problem]) -> Problem:
    """The problem with the first cause in its chain of causes."""
    cause = problem
    for _ in Code:  # the table has no circles (tests/unit/api/test_problems.py)
        if (further := _cause_of(cause, present)) is None:
            break
        cause = further
    if cause is problem:
        return problem
    follows = FollowsFrom(code=cause.code, subject=cause.subject)
    return problem.model_copy(update={"follows": follows})


def _cause_of(problem: Problem, present: Sequence[Problem]) -> Problem | None:
    """A present problem that this one follows from."""
    for code in problem.code.after:
        for other in present:
            if other.code.value == code and _concerns(other.subject, problem.subject):
                return other
    return None


def _concerns(cause: str, subject: str) -> bool:
    """Whether a problem of one subject can be the cause of a problem of another."""
    return cause == subject or cause in OF_ALL or subject in OF_ALL


def _names(follows: FollowsFrom, lasting: Sequence[Problem]) -> bool:
    """Whether the cause is shown. If it has not lasted long enough, nor is what follows from it."""
    return (follows.code, follows.subject) in map(_key, lasting)
