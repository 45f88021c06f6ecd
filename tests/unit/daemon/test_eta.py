"""When a stage and a run are expected to end."""

from types import SimpleNamespace
from typing import Any

import pytest

from dcfm_node.api.status import SiloStatus
from dcfm_node.daemon.eta import LEAST_S, Rates, durations, expected, later
from dcfm_node.daemon.status import status
from dcfm_node.records.entries import Endorse
from dcfm_node.swarm.rounds import Phase
from tests.unit.swarm.builders import Run, journals
from tests.unit.swarm.nodes import started


def silos(run: Run, *does: tuple[str, int, int] | None) -> list[SiloStatus]:
    """Each silo's activity, steps done and total; None for a silent one."""
    found = status(started(run), 0.0).silos

    def changed(silo: SiloStatus, what: tuple[str, int, int] | None) -> SiloStatus:
        told: dict[str, Any] = {"live": what is not None, "round": 0}
        if what is not None:
            told |= dict(zip(("activity", "done", "total"), what, strict=True))
        return silo.model_copy(update=told)

    return [changed(silo, what) for silo, what in zip(found, does, strict=True)]


def test_a_stage_ends_when_the_slowest_silo_ends() -> None:
    run, rates = Run(3), Rates()
    rates.observe(silos(run, ("local", 0, 100), ("local", 0, 100), ("local", 0, 100)), 0.0)
    now = silos(run, ("local", 50, 100), ("local", 10, 100), ("local", 50, 100))
    rates.observe(now, 10.0)
    found = expected(run.view(), journals(run), Phase("local", 0), now, rates)
    assert (found.stage_s, found.run_s) == (90.0, None)
    assert found.why == "no refine of this run has been measured yet"


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (None, "silo-0001 is silent"),
        (("idle", 0, 0), "silo-0001 has not begun"),
        (("fetch", 3, 9), "silo-0001 is busy with fetch"),
        (("disk-full", 0, 0), "the disk of silo-0001 is full"),
        (("local", 10, 100), "the speed of silo-0001 is not measured yet"),
    ],
)
def test_what_is_unknown_says_so(second: tuple[str, int, int] | None, why: str) -> None:
    run, rates = Run(3), Rates()
    rates.observe(silos(run, ("local", 0, 100), second, ("local", 0, 100)), 0.0)
    now = silos(run, ("local", 50, 100), second, ("local", 50, 100))
    rates.observe(now, 10.0)
    found = expected(run.view(), journals(run), Phase("local", 0), now, rates)
    assert (found.stage_s, found.run_s, found.why) == (None, None, why)


def test_a_rate_needs_time_and_a_restart_begins_it_anew() -> None:
    run, rates = Run(3), Rates()

    def left(done: int, now: float) -> float | None:
        found = silos(run, ("local", done, 100), None, None)
        rates.observe(found, now)
        return rates.left_s(found[0])

    assert left(0, 0.0) is None
    assert left(10, LEAST_S / 2) is None
    assert left(20, LEAST_S) == pytest.approx(80 * LEAST_S / 20)
    assert left(5, 20.0) is None, "it began again from its checkpoint"
    assert left(15, 25.0) == pytest.approx(85 / 2)


def test_how_long_a_silo_shows_no_progress_is_known() -> None:
    run, rates = Run(3), Rates()
    for now, done in ((0.0, 1), (5.0, 2), (9.0, 2)):
        found = silos(run, ("fetch", done, 9), None, None)
        rates.observe(found, now)
    assert rates.still_s(found[0], 9.0) == 4.0
    assert rates.still_s(found[1], 9.0) is None


def test_the_stages_that_are_left_are_those_of_the_schedule() -> None:
    alternating = list(later(Phase("refine", 1), interim=True, last=2))
    assert alternating == [
        ("distil", 1),
        ("release", 1),
        ("refine", 2),
        ("distil", 2),
        ("release", 2),
    ]
    paper = list(later(Phase("local", 0), interim=False, last=2))
    assert paper == [("refine", 1), ("refine", 2), ("distil", 2), ("release", 2)]
    assert list(later(Phase("release", 2), interim=True, last=2)) == []
    assert list(later(Phase("local", 0), interim=False, last=0)) == [("distil", 0), ("release", 0)]


def timed(run: Run, seconds_each: float) -> Any:
    """The run's journals, as if each author wrote a record every so many seconds."""
    entries = {
        author.key: [
            SimpleNamespace(entry=SimpleNamespace(time_ms=int(1_000 * seconds_each * seq)))
            for seq in range(len(author.journal))
        ]
        for author in run.authors
    }
    return SimpleNamespace(chains=entries)


def test_durations_come_from_the_times_of_records() -> None:
    run = Run(3, rounds=2)
    assert durations(run.view(), timed(run, 10.0)) == {}
    run.publish_experts(0, but=(2,))
    assert durations(run.view(), timed(run, 10.0)) == {}, "one is missing"
    run = Run(3, rounds=2)
    run.publish_experts(0)
    assert durations(run.view(), timed(run, 10.0)) == {"local": 10.0}


def test_a_run_whose_stages_were_measured_has_an_end() -> None:
    run, rates = Run(3, schedule="paper", rounds=1), Rates()
    run.publish_experts(0)
    run.distil(1, term=4)
    rates.observe(silos(run, ("local", 0, 100), ("local", 0, 100), ("local", 0, 100)), 0.0)
    now = silos(run, ("local", 50, 100), ("local", 50, 100), ("local", 50, 100))
    rates.observe(now, 10.0)
    took = durations(run.view(), timed(run, 10.0))
    assert took.keys() >= {"local", "distil"}
    found = expected(run.view(), timed(run, 10.0), Phase("release", 1), now, rates)
    assert (found.stage_s, found.run_s) == (None, None)
    assert "no release" in found.why


def test_a_run_that_has_ended_needs_no_more_time() -> None:
    run = Run(3)
    found = expected(run.view(), journals(run), Phase("done", 2), [], Rates())
    assert (found.stage_s, found.run_s, found.why) == (0.0, 0.0, "")


def test_a_release_that_only_silent_silos_can_decide_has_no_end_in_sight() -> None:
    run = Run(3)
    run.publish_experts(0)
    first = run.distil(0).digest
    for author in run.authors:
        author.say(Endorse(student=first, metrics={}))
    run.publish_experts(1)
    student = run.distil(1, term=2, round_=1).digest

    def release(*live: bool) -> tuple[float | None, str]:
        found = silos(run, *(("idle", 0, 0) if one else None for one in live))
        told = expected(run.view(), timed(run, 10.0), Phase("release", 1), found, Rates())
        return told.stage_s, told.why

    assert release(True, True, True)[0] is not None
    run.authors[0].say(Endorse(student=student, metrics={}))
    assert release(True, True, False)[0] is not None, "the second may decide it"
    assert release(True, False, False) == (None, "silo-0001 is silent")
