"""When the present stage and the run are expected to end: from measured rates of steps, and from
how long earlier stages took. Pure: time is passed in. Nothing decides by it."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dcfm_node.api.status import Eta, SiloStatus
from dcfm_node.swarm.effects import DISK_FULL
from dcfm_node.swarm.journal import Journals
from dcfm_node.swarm.rounds import Phase, missing_silos
from dcfm_node.swarm.said import Said
from dcfm_node.swarm.view import View

WINDOW_S = 180.0
"""A rate is measured over at most so many seconds."""
LEAST_S = 4.0
"""A rate over less time than this is not a measurement."""
TRAINS = ("local", "refine")
ORDER = ("local", "refine", "distil", "release")


@dataclass(slots=True)
class _Work:
    """One piece of work of a silo, and how far it was at some times."""

    activity: str
    round: int
    total: int
    moved_at: float
    marks: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, now: float, done: int) -> None:
        if self.marks and done != self.marks[-1][1]:
            self.moved_at = now
            if done < self.marks[-1][1]:
                self.marks.clear()  # begun again
        self.marks.append((now, done))
        while now - self.marks[0][0] > WINDOW_S:
            self.marks.popleft()

    def rate(self) -> float | None:
        """Steps a second; None if they are not measured yet."""
        if not self.marks:
            return None
        (first, before), (last, done) = self.marks[0], self.marks[-1]
        if last - first < LEAST_S or done <= before:
            return None
        return (done - before) / (last - first)


class Rates:
    """How fast each silo works, from the progress in its signs of life."""

    def __init__(self) -> None:
        self._works: dict[str, _Work] = {}
        """By name: at most one for each silo of the roster."""

    def observe(self, silos: Iterable[SiloStatus], now: float) -> None:
        """Note how far every silo is.

        Args:
            now: seconds.
        """
        for silo in silos:
            if not silo.live or silo.activity is None:
                self._works.pop(silo.name, None)
                continue
            known = self._works.get(silo.name)
            at = (silo.activity, silo.round or 0, silo.total or 0)
            if known is None or (known.activity, known.round, known.total) != at:
                known = self._works[silo.name] = _Work(*at, moved_at=now)
            known.add(now, silo.done or 0)

    def still_s(self, silo: SiloStatus, now: float) -> float | None:
        """For how many seconds a silo has shown no progress in what it does; None if unknown."""
        known = self._works.get(silo.name)
        return None if known is None else now - known.moved_at

    def left_s(self, silo: SiloStatus) -> float | None:
        """Seconds until a silo's present work is done; None if unknown."""
        rate = self._rate(silo)
        if rate is None or silo.total is None or silo.done is None:
            return None
        return max(0, silo.total - silo.done) / rate

    def whole_s(self, silo: SiloStatus) -> float | None:
        """Seconds that all of its present work takes; None if unknown."""
        rate = self._rate(silo)
        return silo.total / rate if rate is not None and silo.total else None

    def _rate(self, silo: SiloStatus) -> float | None:
        known = self._works.get(silo.name)
        if known is None or (known.activity, known.round) != (silo.activity, silo.round or 0):
            return None
        return known.rate()


def expected(
    view: View, journals: Journals, phase: Phase, silos: Sequence[SiloStatus], rates: Rates
) -> Eta:
    """When the present stage and the run are expected to end.

    Args:
        silos: all silos of the roster, as this node sees them.
    """
    if phase.stage == "done":
        return Eta(stage_s=0.0, run_s=0.0, why="")
    took = durations(view, journals)
    stage_s, why = _stage(view, phase, silos, rates, took)
    if stage_s is None:
        return Eta(stage_s=None, run_s=None, why=why)
    method = view.manifest.method
    left = list(later(phase, interim=method.interim_students, last=method.last_round))
    unknown = [stage for stage, _ in left if stage not in took]
    if unknown:
        why = f"no {min(unknown, key=ORDER.index)} of this run has been measured yet"
        return Eta(stage_s=round(stage_s, 1), run_s=None, why=why)
    run_s = stage_s + sum(took[stage] for stage, _ in left)
    return Eta(stage_s=round(stage_s, 1), run_s=round(run_s, 1), why="")


def later(phase: Phase, *, interim: bool, last: int) -> Iterator[tuple[str, int]]:
    """The stages after the present one, if no round is left out and none is repeated.

    Args:
        interim: whether a student is distilled after every round.
        last: the last round.
    """
    stage, number = str(phase.stage), phase.round
    while True:
        distils = interim or number >= last
        match stage:
            case "prepare":
                stage = "local"
            case "local" | "refine" if distils:
                stage = "distil"
            case "local" | "refine":
                stage, number = "refine", number + 1
            case "distil":
                stage = "release"
            case "release" if number < last:
                stage, number = "refine", number + 1
            case _:
                return
        yield stage, number


def durations(view: View, journals: Journals) -> Mapping[str, float]:
    """Seconds that the newest complete stage of each kind took, by the clocks of those who wrote
    the records. A stage without a measurement is left out."""
    found: dict[str, float] = {}
    before = _last_ms(journals, view.join_entries.values())
    stage = "local"
    for number in range(view.manifest.method.last_round + 1):
        experts = [of[number] for of in view.experts.values() if number in of]
        if not experts or view.missing(number):
            break
        before = _add(found, stage, before, _last_ms(journals, experts))
        stage = "refine"
        if (student := view.student(number)) is None:
            continue
        before = _add(found, "distil", before, _last_ms(journals, [student]))
        if view.settled(student):
            said = view.endorsed.get(student.digest, {}).values()
            before = _add(found, "release", before, _last_ms(journals, said))
    return found


def _add(
    found: dict[str, float], stage: str, begun: float | None, ended: float | None
) -> float | None:
    """Note how long a stage took, and return when it ended."""
    if begun is not None and ended is not None and ended > begun:
        found[stage] = (ended - begun) / 1_000
    return ended if ended is not None else begun


def _last_ms(journals: Journals, said: Iterable[Said[Any]]) -> float | None:
    """When the last of these was written, in Unix milliseconds, by its author's clock."""
    times = [journals.chains[one.author][one.seq].entry.time_ms for one in said]
    return max(times, default=None)


def _stage(
    view: View,
    phase: Phase,
    silos: Sequence[SiloStatus],
    rates: Rates,
    took: Mapping[str, float],
) -> tuple[float | None, str]:
    """Seconds until the present stage ends, or None and why it is unknown."""
    if phase.stage == "prepare":
        return None, "the silos first agree on what to build on"
    if phase.stage == "release":
        usual, due = took.get("release"), _yet_to_judge(view, phase.round, silos)
        if due and not any(silo.live for silo in due):
            return None, _idle(due[0])
        return usual, "" if usual is not None else "no release of this run has been measured yet"
    if phase.stage in TRAINS:
        keys = missing_silos(view, phase.round)
    else:
        leader = view.last_leader(phase.round)
        if leader is None:
            return None, "the silos elect a leader"
        keys = (leader.author,)
    awaited = [silo for silo in silos if bytes.fromhex(silo.id) in keys]
    busy = [silo for silo in awaited if silo.live and silo.activity == phase.stage]
    in_turn = phase.stage == "refine" and view.manifest.method.in_turn
    if not in_turn and len(busy) < len(awaited):
        return None, _idle(next(silo for silo in awaited if silo not in busy))
    if not busy:
        return None, "the silos that are waited for have not begun" if awaited else "it is ending"
    left = [rates.left_s(silo) for silo in busy]
    known = [seconds for seconds in left if seconds is not None]
    if len(known) < len(left):
        slow = next(silo.name for silo, s in zip(busy, left, strict=True) if s is None)
        return None, f"the speed of {slow} is not measured yet"
    if not in_turn:
        return max(known), ""
    each = rates.whole_s(busy[0]) or 0.0
    return max(known) + each * (len(awaited) - len(busy)), ""


def _yet_to_judge(view: View, round_: int, silos: Sequence[SiloStatus]) -> list[SiloStatus]:
    """The silos that may still judge the student of a round."""
    if (student := view.student(round_)) is None:
        return []
    keys = set(view.active()) - view.figures(student).keys()
    return [silo for silo in silos if bytes.fromhex(silo.id) in keys]


def _idle(silo: SiloStatus) -> str:
    """Why a silo that is waited for does not work."""
    if not silo.live:
        return f"{silo.name} is silent"
    if silo.activity == DISK_FULL:
        return f"the disk of {silo.name} is full"
    if silo.activity in (None, "idle"):
        return f"{silo.name} has not begun"
    return f"{silo.name} is busy with {silo.activity}"
