"""SPEC 6.3.4: work that fails is tried ever later, and set aside."""

import pytest

from dcfm_node.records.entries import Audit, Refuse
from dcfm_node.swarm.effects import (
    AuditExperts,
    Distil,
    Report,
    Score,
    Start,
    Tick,
    Train,
    Waiting,
    WorkFailed,
)
from dcfm_node.swarm.failing import MAX_DOUBLINGS, MAX_FAILURES, Failing, failed, set_aside
from tests.unit.swarm.builders import Run
from tests.unit.swarm.nodes import node, started

TRAIN, AUDIT_EXPERTS = Train("local", 0), AuditExperts(0, ())
SCORE = Score(student=bytes(32), snapshot=bytes(32), reference=None)
DISTIL = Distil(0, 1, bytes(32), (), (), final=True)


def test_only_the_same_work_failing_in_a_row_is_counted() -> None:
    first = failed(None, TRAIN, "memory")
    assert first == Failing(TRAIN, 1, "memory")
    assert failed(first, TRAIN, "disk") == Failing(TRAIN, 2, "disk")
    assert failed(first, SCORE, "disk") == Failing(SCORE, 1, "disk")


def test_the_pause_doubles_up_to_a_bound() -> None:
    pauses = [Failing(TRAIN, times, "").pause(10.0) for times in range(1, MAX_DOUBLINGS + 3)]
    assert pauses == [10.0 * 2 ** min(n, MAX_DOUBLINGS) for n in range(MAX_DOUBLINGS + 2)]
    assert Failing(TRAIN, 10**9, "").pause(10.0) == pauses[-1]


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (SCORE, [Refuse(student=bytes(32), reason="could not be scored here: bad", metrics={})]),
        (AUDIT_EXPERTS, [Audit(round=0, scores=())]),
        (TRAIN, []),
        (DISTIL, []),
    ],
)
def test_what_others_wait_for_is_given_up_in_public_once(work, said) -> None:
    for times in range(1, MAX_FAILURES + 4):
        assert set_aside(Failing(work, times, "bad")) == (said if times == MAX_FAILURES else [])


def test_a_reason_of_any_length_fits_the_record() -> None:
    (body,) = set_aside(Failing(SCORE, MAX_FAILURES, "x" * 9_000))
    assert isinstance(body, Refuse) and len(body.reason) == 500


def test_who_cannot_distil_is_ready_no_more_until_something_succeeds() -> None:
    made = started(Run(3))
    made.handle(Tick(), 4.0)
    assert made.exchange.own_heartbeat is not None and made.exchange.own_heartbeat.heartbeat.ready
    made.failing = Failing(DISTIL, MAX_FAILURES - 1, "bad")
    made.handle(WorkFailed(DISTIL, "bad"), 5.0)
    made.handle(Tick(), 10.0)
    assert not made.exchange.own_heartbeat.heartbeat.ready


def test_a_node_asks_again_ever_later_and_never_stops() -> None:
    made, now = node(Run(1)), 0.0
    made.handle(Tick(), now)
    for times in range(1, MAX_FAILURES + 3):
        assert made.work == TRAIN
        effects = made.handle(WorkFailed(TRAIN, "memory"), now)
        (report,) = [e for e in effects if isinstance(e, Report) and e.event == "work_failed"]
        assert report.fields["times"] == times
        pause = Failing(TRAIN, times, "").pause(made.pace.retry_s)
        assert not any(isinstance(e, Start) for e in made.handle(Tick(), now + pause - 0.1))
        now += pause
        assert Start(TRAIN) in made.handle(Tick(), now)
    assert made.step is not None and not isinstance(made.step.action, Waiting)
