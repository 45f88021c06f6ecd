"""Rounds: which phase the run is in, and which silos train in it.

`successor` is the table of all methods and schedules. Only records complete a phase; a clock only
tells which silos are late (SPEC 6.3).
"""

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Literal

from dcfm_node.swarm.liveness import Duty
from dcfm_node.swarm.method import method_of
from dcfm_node.swarm.view import View

Stage = Literal["prepare", "local", "refine", "distil", "release", "done"]


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of the schedule. Round 0 of training is Stage I; the preparation has round 0."""

    stage: Stage
    round: int


Suspected = Callable[[Duty], bool]
"""Whether a silo made no progress for `policy.stall_s` since this node began to wait for its duty.
Never before that: a silo whose turn has not come is idle, not late."""


def successor(view: View, phase: Phase) -> Phase:
    """The phase after a completed one, for every method and schedule."""
    method = view.manifest.method
    match phase.stage:
        case "prepare":
            distilled = view.distilled_round()
            return Phase("local", 0) if distilled is None else Phase("distil", distilled)
        case "local" | "refine" if method.interim_students or finishes(view, phase.round):
            return Phase("distil", phase.round)
        case "local" | "refine":
            return Phase("refine", phase.round + 1)
        case "distil":
            return Phase("release", phase.round)
        case "release":
            student = view.student(phase.round)
            done = student is None or student.body.final
            return Phase("done" if done else "refine", phase.round + (not done))
        case _:
            return Phase("done", phase.round)


def current_phase(view: View, suspected: Suspected) -> Phase:
    """The first phase that the records do not show complete."""
    phase = Phase("prepare", 0)
    while phase.stage != "done" and complete(view, phase, suspected):
        phase = successor(view, phase)
    return phase


def complete(view: View, phase: Phase, suspected: Suspected) -> bool:
    """Whether a phase is complete."""
    match phase.stage:
        case "prepare":
            return view.is_prepared
        case "local" | "refine":
            missing = missing_silos(view, phase.round)
            return not missing or _goes_on_without(view, phase, missing, suspected)
        case "distil":
            return view.student(phase.round) is not None
        case "release":
            found = view.student(phase.round)
            return found is not None and view.settled(found)
        case _:
            return False


def _goes_on_without(
    view: View, phase: Phase, missing: Sequence[bytes], suspected: Suspected
) -> bool:
    """Whether a tolerant run continues without the missing silos. Once a majority elected a leader
    for the round, the round is closed: a silo that moves only now and then must not interrupt the
    leader for ever."""
    if view.manifest.policy.participation == "strict":
        return False
    if view.last_leader(phase.round) is not None:
        return True
    enough = len(view.active()) - len(missing) >= view.manifest.quorum
    return enough and all(suspected(Duty(key, "train", phase.round)) for key in missing)


def missing_silos(view: View, round_: int) -> Sequence[bytes]:
    """Active silos that published no expert of this round or a later one, in roster order."""
    return view.missing(round_)


def turn(view: View, phase: Phase, suspected: Suspected) -> Sequence[bytes]:
    """The silos that train now: all missing ones, or only the next one if they train in turn."""
    missing = missing_silos(view, phase.round)
    if phase.stage == "local" or not view.manifest.method.in_turn:
        return missing
    strict = view.manifest.policy.participation == "strict"
    punctual = (key for key in missing if strict or not suspected(Duty(key, "train", phase.round)))
    return next(([key] for key in punctual), missing)


def finishes(view: View, round_: int, among: Set[bytes] | None = None) -> bool:
    """Whether training ends with this round (SPEC 6.5).

    Args:
        among: digests of the expert entries that count; all if None.
    """
    return method_of(view.manifest).finishes(view.experts, round_, among)
