"""Work that fails: tried again after ever longer pauses, and set aside after some (SPEC 6.3.4)."""

from dataclasses import dataclass

from dcfm_node.records.entries import Audit, Body, Refuse
from dcfm_node.swarm.effects import AuditExperts, Score, Work

MAX_FAILURES = 5
"""After so many failures in a row of one piece of work, nobody waits for it any more."""
MAX_DOUBLINGS = 6
"""The pause before the next try grows to 2 ** 6 times the first one."""


@dataclass(frozen=True, slots=True)
class Failing:
    """The work that failed last, how often in a row, and why."""

    work: Work
    times: int
    reason: str

    def pause(self, first_s: float) -> float:
        """Seconds until it is tried again."""
        return first_s * float(2 ** min(self.times - 1, MAX_DOUBLINGS))

    def hopeless(self, kind: type) -> bool:
        """Whether it is work of a kind that failed too often to be waited for."""
        return isinstance(self.work, kind) and self.times >= MAX_FAILURES


def failed(before: Failing | None, work: Work, reason: str) -> Failing:
    """One more failure."""
    times = before.times + 1 if before is not None and before.work == work else 1
    return Failing(work, times, reason)


def set_aside(failing: Failing) -> list[Body]:
    """What a silo says, once, of work that failed too often, so that nobody waits for it: it does
    not stand by what it cannot score, and audits nothing that it cannot audit."""
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
