"""SPEC 6.14: what silos' figures say of a student, and whether it is released."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcfm_node.records.entries import Endorse, Refuse
from dcfm_node.swarm.quality import FAR, TRUST, announced, known_quality, novel_quality, objects
from dcfm_node.swarm.rounds import Phase, current_phase
from tests.unit.swarm.builders import Run

GOOD = {"known_rate": 0.98, "judge_known": 0.97, "novel_rate": 0.9, "judge_rate": 0.95}
RATES = st.floats(0.0, 1.0)


def test_known_quality_is_at_most_what_the_judge_reads_of_real_samples() -> None:
    assert known_quality({"known_rate": 1.0, "judge_known": 0.4}).value == 0.4
    assert known_quality({"judge_known": 1.0}) is None


def test_draws_far_from_real_samples_are_worth_less_however_they_read() -> None:
    near = known_quality(GOOD | {"known_distance": FAR})
    assert near == known_quality(GOOD)
    assert known_quality(GOOD | {"known_distance": 2 * FAR}).value == near.value / 2


def test_a_judge_that_misreads_what_it_never_saw_measures_nothing() -> None:
    assert novel_quality(GOOD | {"judge_rate": TRUST - 0.01}) is None
    assert novel_quality(GOOD | {"judge_rate": TRUST}).value == 0.9
    assert novel_quality({"novel_rate": 0.9}) is None


@given(RATES, RATES, RATES)
def test_intervals_hold_their_value_and_grow_with_doubt(rate, error, trust) -> None:
    sure = novel_quality({"novel_rate": rate, "judge_rate": 1.0, "novel_error": error})
    trust = TRUST + (1 - TRUST) * trust
    found = novel_quality({"novel_rate": rate, "judge_rate": trust, "novel_error": error})
    assert 0.0 <= found.low <= sure.low <= sure.value <= sure.high <= found.high <= 1.0


@given(RATES, st.lists(RATES, min_size=3, max_size=3))
def test_one_silo_of_three_cannot_move_what_is_announced(lie, honest) -> None:
    told = [GOOD | {"novel_rate": rate} for rate in honest]
    found = announced([GOOD | {"novel_rate": lie}, *told[:2]], 2, final=True)
    assert min(honest[:2]) <= found.novel.value <= max(honest[:2]) or lie == found.novel.value
    assert found.novel.value <= max(honest[:2])


def test_two_liars_of_five_inflate_nothing_where_others_measured_nothing() -> None:
    told = [GOOD | {"novel_rate": 0.99}] * 2 + [GOOD | {"novel_rate": 0.3}] + [{}] * 2
    found = announced(told, 3, final=True)
    assert found.novel.value == 0.3


@pytest.mark.parametrize(
    ("told", "final", "why"),
    [
        ([GOOD, GOOD], False, "only final students"),
        ([GOOD], True, "1 of the 2 silos"),
        ([{"known_rate": 0.9}] * 2, True, "0 of the 2 silos that are needed could judge"),
        ([{"known_rate": 0.9, "judge_rate": 1.0}, GOOD], True, "1 of the 2 silos"),
        ([{"known_rate": 0.9, "novel_rate": 0.9}] * 2, True, "no silo's data can show"),
        ([GOOD | {"judge_rate": 0.43}] * 2, True, "read 0.43 of real samples"),
    ],
)
def test_what_is_unmeasured_is_said_with_its_reason(told, final, why) -> None:
    found = announced(told, 2, final=final)
    assert found.novel is None
    assert why in found.why
    assert not found.below(0.5)


def test_where_silos_train_on_every_combination_nothing_else_is_missed() -> None:
    found = announced([{"known_rate": 0.9}] * 2, 2, final=True, novel=False)
    assert (found.novel, found.why) == (None, "the silos train on every combination")


def test_a_silo_objects_to_what_it_measured_below_the_floor() -> None:
    assert not objects(GOOD, 0.5)
    assert objects(GOOD | {"novel_rate": 0.49}, 0.5)
    assert objects(GOOD | {"known_rate": 0.49}, 0.5)
    assert not objects({}, 0.5)
    assert not objects(GOOD | {"known_rate": 0.0, "novel_rate": 0.0}, 0.0)


def judged(*novel: float | None, final: bool = True) -> tuple[Run, bytes]:
    """A run of five whose silos judged the student in this order; None refuses it."""
    run = Run(5, method="ddm" if final else "dcfm")
    run.publish_experts(0)
    made = run.distil(0).digest
    for author, rate in zip(run.authors, novel, strict=False):
        refused = Refuse(student=made, reason="", metrics={})
        figures = GOOD | {"novel_rate": rate or 0.0}
        author.say(refused if rate is None else Endorse(student=made, metrics=figures))
    return run, made


@pytest.mark.parametrize(
    ("novel", "stage", "released", "below"),
    [
        ((0.9, 0.9), "release", False, False),
        ((0.9, 0.9, 0.9), "done", True, False),
        ((0.2, 0.9, 0.9), "release", False, False),
        ((0.2, 0.9, 0.2, 0.9), "release", False, False),
        ((0.2, 0.9, 0.2, 0.9, 0.9), "done", True, False),
        ((0.2, 0.9, 0.2, 0.9, 0.2), "done", False, True),
        ((None, 0.9, 0.2, 0.9, 0.2), "done", False, True),
    ],
)
def test_a_final_student_is_released_by_a_quorum_that_does_not_object(
    novel, stage, released, below
) -> None:
    run, made = judged(*novel)
    view = run.view()
    student = view.students[made]
    assert current_phase(view, lambda _: False) == Phase(stage, 0)
    assert (view.released(student), view.below_floor(student)) == (released, below)
    assert (view.latest() == student) is released
    if released or below:
        assert view.announcement(student).below(0.5) is below


def test_what_a_silo_says_a_second_time_changes_nothing() -> None:
    run, made = judged(0.9, 0.9, 0.9)
    run.authors[0].say(Endorse(student=made, metrics=GOOD | {"novel_rate": 0.1}))
    view = run.view()
    assert view.released(view.students[made])
    assert view.announcement(view.students[made]).novel.low > 0.5


def test_an_interim_student_has_no_floor() -> None:
    run, made = judged(0.2, 0.2, 0.2, final=False)
    view = run.view()
    student = view.students[made]
    assert not view.below_floor(student)
    assert view.settled(student)
    assert "only final" in view.announcement(student).why


def test_before_a_student_is_decided_nothing_is_below_the_floor() -> None:
    for rates in ((0.0,), (0.0, 0.9), (0.0, 0.9, 0.9), (0.0, 0.0, 0.9)):
        run, made = judged(*rates)
        view = run.view()
        found = view.announcement(view.students[made])
        assert (found.judged, found.awaited) == (len(rates), 5 - len(rates))
        assert not found.below(0.5)
        assert str(found).startswith(f"{len(rates)} of 5 silos have judged so far: ")
        assert "to" not in str(found).split()  # no interval of what moves
        assert found.dissent == ()
    run, made = judged(0.0, 0.9, 0.0, 0.0)
    view = run.view()
    assert view.announcement(view.students[made]).below(0.5)  # the last cannot change it


def test_who_does_not_agree_is_named() -> None:
    run, made = judged(0.9, 0.9, 0.9, 0.1)
    view = run.view()
    found = view.announcement(view.students[made])
    assert [(one.silo, one.kind, one.value) for one in found.dissent] == [
        ("silo-0003", "novel", 0.1)
    ]
    assert str(found).endswith("; but silo-0003 says 10% of novel combinations")
    run, made = judged(0.1, 0.1, 0.1, 0.9)
    view = run.view()
    (one,) = view.announcement(view.students[made]).dissent
    assert (one.silo, one.value) == ("silo-0003", 0.9)
