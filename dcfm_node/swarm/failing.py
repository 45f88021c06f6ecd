"""Work that fails: the node retries it after growing pauses, and sets it aside after some failures
(SPEC 6.3.4)."""

from dataclasses import dataclass

from dcfm_node.records.entries import Audit, Body, Refuse
from dcfm_node.swarm.effects import AuditExperts, Score, Work

MAX_FAILURES = 5
"""Failures in a row of one piece of work after which no node waits for it."""
MAX_DOUBLINGS = 6
"""The pause before a retry grows to at most 2 ** 6 times the first one."""


@dataclass(frozen=True, slots=True)
class Failing:
    """The work that failed last, how often in a row, and the last reason."""

    work: Work
    times: int
    reason: str

    def pause(self, first_s: float) -> float:
        """Seconds until the next try."""
        return first_s * float(2 ** min(self.times - 1, MAX_DOUBLINGS))

    def hopeless(self, kind: type) -> bool:
        """Whether work of this kind failed too often to wait for it."""
        return isinstance(self.work, kind) and self.times >= MAX_FAILURES


def failed(before: Failing | None, work: Work, reason: str) -> Failing:
    """Count one more failure of a piece of work."""
    times = before.times + 1 if before is not None and before.work == work else 1
    return Failing(work, times, reason)


def set_aside(failing: Failing) -> list[Body]:
    """The record that a silo publishes once about work that failed too often, so that nobody waits
    for it: a refusal of a student that it cannot score, or an empty audit."""
    if failing.times != MAX_FAILURES:
        return []
    match failing.work:
        case Score(student=student):
            why = f"could not be scored here: {failing.reason}"[:500]
            return [Refuse(student=student, reason=why, metrics={})]
        case AuditExperts(round=round_):
            return [Audit(round=round_, scores=())]
        case _:
            return []
