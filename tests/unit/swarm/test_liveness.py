"""SPEC 6.3: late, live and gone."""

from typing import Literal

import pytest

from dcfm_node.swarm.liveness import MAX_ACTIVITIES, Duty, Liveness
from dcfm_node.wire.envelope import seal_heartbeat
from tests.unit.swarm.builders import Run

SILO = Run(1).authors[0]
DUTY = Duty(SILO.key, "train", 0)


def liveness() -> Liveness:
    return Liveness(live_s=12.0, stall_s=60.0, duty_s=3_600.0)


def test_only_newer_heartbeats_count() -> None:
    alive = liveness()
    assert alive.hear(SILO.heartbeat(2), 0.0)
    assert not alive.hear(SILO.heartbeat(2), 5.0)
    assert not alive.hear(SILO.heartbeat(1), 5.0)
    assert alive.counters == {SILO.key: 2}
    assert alive.live(SILO.key, 12.0)
    assert not alive.live(SILO.key, 12.1)


def test_nobody_is_late_before_it_is_waited_for() -> None:
    alive = liveness()
    alive.hear(SILO.heartbeat(1), 0.0)
    assert not alive.suspected(DUTY, 1e6)
    alive.wait_for(DUTY, 1e6)
    assert not alive.suspected(DUTY, 1e6 + 60.0)
    assert alive.suspected(DUTY, 1e6 + 60.1)


def test_the_clock_of_a_duty_starts_once() -> None:
    alive = liveness()
    alive.wait_for(DUTY, 0.0)
    alive.wait_for(DUTY, 50.0)
    assert alive.suspected(DUTY, 60.1)


def test_progress_keeps_the_slow_from_being_late_and_mere_heartbeats_do_not() -> None:
    alive = liveness()
    alive.wait_for(DUTY, 0.0)
    alive.hear(SILO.heartbeat(1, done=1), 0.0)
    alive.hear(SILO.heartbeat(2, done=2), 50.0)
    assert not alive.suspected(DUTY, 110.0)
    alive.hear(SILO.heartbeat(3, done=2), 109.0)
    assert alive.suspected(DUTY, 110.1)
    alive.moved(SILO.key, 111.0)
    assert not alive.suspected(DUTY, 112.0)


def test_gone_is_silent_as_well_as_still() -> None:
    alive = liveness()
    alive.hear(SILO.heartbeat(1), 0.0)
    alive.hear(SILO.heartbeat(2), 55.0)
    assert not alive.failed(SILO.key, 115.0)
    assert alive.failed(SILO.key, 115.1)


def test_silence_counts_from_this_nodes_own_start() -> None:
    alive = liveness()
    alive.start(1_000.0)
    alive.start(1_030.0)
    assert not alive.failed(SILO.key, 1_060.0)
    assert alive.failed(SILO.key, 1_060.1)


def test_falling_back_and_rising_again_is_no_progress() -> None:
    """A member that counts up and down would hold a tolerant run for ever."""
    alive = liveness()
    alive.wait_for(DUTY, 0.0)
    for counter in range(1, 12):
        alive.hear(SILO.heartbeat(counter, done=counter % 2), 10.0 * counter)
    assert alive.signs[SILO.key].moved_at == 10.0
    assert alive.suspected(DUTY, 70.1)
    alive.hear(SILO.heartbeat(12, done=2), 120.0)
    assert not alive.suspected(DUTY, 180.0)


def test_a_duty_ends_however_busy_its_silo_seems() -> None:
    alive = liveness()
    alive.wait_for(DUTY, 0.0)
    for minute in range(1, 62):
        alive.hear(SILO.heartbeat(minute, done=minute), 60.0 * minute)
        alive.moved(SILO.key, 60.0 * minute)
        assert alive.suspected(DUTY, 60.0 * minute) is (minute > 60)
    later = Duty(SILO.key, "train", 1)
    alive.wait_for(later, 3_660.0)
    assert not alive.suspected(later, 3_660.0), "the next duty has its own clock"


@pytest.mark.parametrize(
    ("task", "late_s"), [("audit", 60.0), ("prepare", 60.0), ("join", 60.0), ("accept", 30.0)]
)
def test_what_takes_no_work_is_late_however_busy_its_silo_seems(
    task: Literal["audit", "prepare", "join", "accept"], late_s: float
) -> None:
    """What a silo accepted is waited for by leaders, who must not be suspected first."""
    alive, duty = liveness(), Duty(SILO.key, task, 1)
    alive.wait_for(duty, 0.0)
    alive.hear(SILO.heartbeat(1, done=1), late_s - 1.0)
    alive.moved(SILO.key, late_s - 1.0)
    assert [alive.suspected(duty, at) for at in (late_s, late_s + 0.1)] == [False, True]


def test_a_snapshot_that_is_on_its_way_is_late_by_its_own_bound_alone() -> None:
    alive, awaited = liveness(), Duty(SILO.key, "expert", 0)
    alive.wait_for(awaited, 0.0)
    assert [alive.suspected(awaited, at) for at in (3_599.0, 3_601.0)] == [False, True]


def test_what_is_remembered_of_progress_is_bounded() -> None:
    alive = liveness()
    for number in range(100):
        heartbeat = SILO.heartbeat(number + 1).heartbeat.model_copy(update={"round": number})
        alive.hear(seal_heartbeat(heartbeat, SILO.signer), float(number))
    assert len(alive.signs[SILO.key].most) == MAX_ACTIVITIES


def test_what_is_delivered_is_awaited_anew_if_it_is_awaited_again() -> None:
    made, duty = liveness(), Duty(b"silo", "expert", 0)
    made.await_all([duty], 1.0)
    made.await_all([duty], 5.0)
    assert made.waited(duty, 9.0) == 8.0
    made.await_all([], 10.0)
    made.await_all([duty], 20.0)
    assert made.waited(duty, 21.0) == 1.0
