"""The document that `wait` prints, and what decides whether a run has reached a goal. Pure."""

from typing import Literal

from pydantic import Field

from dcfm_node.api.document import Document, RunName
from dcfm_node.api.problems import DEGRADED, Code
from dcfm_node.api.status import Phase, Status

FAILED_TO_COME = 1
"""Exit code if the time is over."""
Outcome = Literal["reached", "degraded", "impossible", "waiting"]
CODES: dict[Outcome, int] = {
    "reached": 0,
    "degraded": DEGRADED,
    "impossible": DEGRADED,
    "waiting": FAILED_TO_COME,
}


class Waited(Document):
    """What came of waiting for a run."""

    schema_: Literal["dcfm-node/waited/1"] = Field("dcfm-node/waited/1", alias="schema")
    run: RunName
    goal: str
    """What was waited for, in words."""
    outcome: Outcome
    """Reached; reached with a student that lacks silos; the run can no longer reach it; or it was
    not reached before the time was over."""
    why: str
    """In words."""
    waited_s: float
    phase: Phase | None
    student: str | None
    """Digest of the released student, hex."""

    @property
    def exit_code(self) -> int:
        """The exit code of `wait`."""
        return CODES[self.outcome]


def outcome(found: Status, round_: int | None) -> tuple[Outcome, str]:
    """Whether a run has reached a goal, can no longer reach it, or may reach it yet, and why.

    Args:
        round_: the round to complete; None to wait for the released student.
    """
    ended = found.phase is not None and found.phase.stage == "done"
    if round_ is not None:
        return _of_round(found, round_, ended)
    if (student := found.latest) is not None:
        name = f"student {student.digest[:12]} of round {student.round} is released"
        if student.missing:
            return "degraded", f"{name}, without {', '.join(student.missing)}"
        return "reached", name
    if ended:
        return "impossible", _hopeless(found) or "the run ended, and no student is released"
    if why := _hopeless(found):
        return "impossible", why
    return "waiting", "no student is released yet"


def _of_round(found: Status, round_: int, ended: bool) -> tuple[Outcome, str]:
    last = found.last_round
    if last is not None and round_ > last:
        return "impossible", f"the last round of this run is {last}"
    now = found.phase.round if found.phase is not None else 0
    if now > round_ or (ended and now == round_):
        return "reached", f"round {round_} is complete"
    if ended:
        return "impossible", f"the run ended after round {now}"
    if why := _hopeless(found):
        return "impossible", why
    return "waiting", f"round {round_} is not complete"


def _hopeless(found: Status) -> str:
    """Why the run cannot go on without its operators; empty if it can."""
    hopeless = (Code.QUORUM_LOST, Code.BELOW_FLOOR, Code.STUDENT_MISSING)
    whys = (problem.sentence for problem in found.problems if problem.code in hopeless)
    return next(whys, "")
