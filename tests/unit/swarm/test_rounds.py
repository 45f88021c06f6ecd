"""SPEC 6.2 and 6.5: every method's phases, lateness, convergence."""

import pytest

from dcfm_node.swarm.liveness import Duty
from dcfm_node.swarm.rounds import Phase, complete, current_phase, finishes, turn
from tests.unit.swarm.builders import Run, endorse, expert, refuse


def punctual(duty: Duty) -> bool:
    return False


def everyone_late(duty: Duty) -> bool:
    return True


def test_the_alternating_schedule() -> None:
    run, seen = Run(3, rounds=1), []

    def note() -> None:
        phase = current_phase(run.view(), punctual)
        seen.append((phase.stage, phase.round))

    note()
    run.publish_experts(0)
    note()
    interim = run.distil(0, term=1, round_=0)
    note()
    run.endorse(interim)
    note()
    run.publish_experts(1)
    note()
    final = run.distil(1, term=2, round_=1)
    note()
    run.endorse(final)
    note()
    assert seen == [
        ("local", 0),
        ("distil", 0),
        ("release", 0),
        ("refine", 1),
        ("distil", 1),
        ("release", 1),
        ("done", 1),
    ]


def test_the_papers_schedule_distils_once() -> None:
    run, seen = Run(3, schedule="paper", rounds=2), []
    for round_ in range(3):
        seen.append(current_phase(run.view(), punctual))
        run.publish_experts(round_)
    seen.append(current_phase(run.view(), punctual))
    assert seen == [Phase("local", 0), Phase("refine", 1), Phase("refine", 2), Phase("distil", 2)]


def phases(run: Run, rounds: int) -> list[Phase]:
    """What the run is in, before and after each round of experts."""
    seen = [current_phase(run.view(), punctual)]
    for round_ in range(rounds):
        run.publish_experts(round_)
        seen.append(current_phase(run.view(), punctual))
    return seen


def test_averaging_trains_so_many_rounds_and_distils_once() -> None:
    run = Run(3, method="fedflow", rounds=3)
    assert phases(run, 3) == [
        Phase("local", 0),
        Phase("refine", 1),
        Phase("refine", 2),
        Phase("distil", 2),
    ]
    final = run.distil(0, round_=2)
    assert current_phase(run.view(), punctual) == Phase("release", 2)
    for author in run.authors:
        author.say(endorse(final))
    assert current_phase(run.view(), punctual) == Phase("done", 2)


def test_one_averaging_is_enough() -> None:
    run = Run(3, method="fedflow", rounds=1)
    assert phases(run, 1) == [Phase("local", 0), Phase("distil", 0)]


@pytest.mark.parametrize("method", ["ddm", "dfd"])
def test_independent_experts_are_gathered_after_stage_one(method: str) -> None:
    assert phases(Run(3, method=method), 1) == [Phase("local", 0), Phase("distil", 0)]


def test_metrics_do_not_end_averaging_early() -> None:
    run = Run(2, method="fedflow", rounds=9)
    for round_ in (1, 2):
        run.publish_experts(round_)
    assert not finishes(run.view(), 2)
    assert finishes(run.view(), 8)


def test_all_silos_average_at_once() -> None:
    run = Run(3, method="fedflow", rounds=3)
    run.publish_experts(0)
    assert turn(run.view(), Phase("refine", 1), punctual) == run.keys


def test_strict_waits_for_every_silo() -> None:
    run = Run(3)
    run.publish_experts(0, but=(2,))
    assert current_phase(run.view(), everyone_late) == Phase("local", 0)


@pytest.mark.parametrize(("late", "left"), [(punctual, False), (everyone_late, True)])
def test_tolerant_goes_on_without_the_late(late, left: bool) -> None:
    run = Run(3, participation="tolerant")
    run.publish_experts(0, but=(2,))
    assert complete(run.view(), Phase("local", 0), late) is left


def test_tolerant_needs_a_quorum() -> None:
    run = Run(3, participation="tolerant")
    run.publish_experts(0, but=(1, 2))
    assert not complete(run.view(), Phase("local", 0), everyone_late)


def test_an_election_closes_the_round_for_who_was_late() -> None:
    """A silo that moves again from now and then must not call the leader back each time."""
    run = Run(3, participation="tolerant")
    run.publish_experts(0, but=(2,))
    run.elect(0)
    assert complete(run.view(), Phase("local", 0), punctual)


def test_turns() -> None:
    alternating, paper = Run(3), Run(3, schedule="paper", participation="tolerant")
    phase = Phase("refine", 1)
    for run in (alternating, paper):
        run.publish_experts(0)
    assert turn(alternating.view(), phase, punctual) == alternating.keys
    assert turn(paper.view(), phase, punctual) == [paper.keys[0]]
    first_late = Duty(paper.keys[0], "train", 1)
    assert turn(paper.view(), phase, lambda duty: duty == first_late) == [paper.keys[1]]
    assert turn(paper.view(), phase, everyone_late) == paper.keys


def test_strict_turns_wait_for_the_late() -> None:
    run = Run(3, schedule="paper")
    run.publish_experts(0)
    assert turn(run.view(), Phase("refine", 1), everyone_late) == [run.keys[0]]


@pytest.mark.parametrize(
    ("method", "then"), [("dcfm", Phase("refine", 1)), ("dfd", Phase("done", 0))]
)
def test_a_student_that_no_quorum_can_endorse_is_distilled_again_but_not_for_ever(
    method: str, then: Phase
) -> None:
    """SPEC 6.1.5: of three silos one leader may be at fault; two cannot."""
    run = Run(3, method=method)
    run.publish_experts(0)
    for term, leader, after in ((1, 0, Phase("distil", 0)), (2, 1, then)):
        made = run.distil(leader, term=term)
        run.authors[1].say(refuse(made))
        assert not run.view().rejected_of(0)[term - 1 :]
        assert current_phase(run.view(), punctual) == Phase("release", 0)
        run.authors[2].say(refuse(made))
        assert len(run.view().rejected_of(0)) == term
        assert current_phase(run.view(), punctual) == after
    assert run.view().student(0) is not None


def test_a_student_that_a_quorum_endorsed_is_kept_beside_one_of_a_later_term() -> None:
    """SPEC 6.1.5."""
    run = Run(3)
    run.publish_experts(0)
    kept = run.distil(0, term=1)
    run.distil(1, term=2)
    assert run.view().student(0).body.term == 2  # type: ignore[union-attr]
    run.endorse(kept)
    assert run.view().student(0).body.term == 1  # type: ignore[union-attr]
    assert current_phase(run.view(), punctual) == Phase("refine", 1)


def test_two_silos_take_the_one_student_that_they_have() -> None:
    """SPEC 6.1.5: neither can be told from an honest one."""
    run = Run(2)
    run.publish_experts(0)
    run.authors[1].say(refuse(run.distil(0)))
    assert current_phase(run.view(), punctual) == Phase("refine", 1)


@pytest.mark.parametrize(
    ("gaps", "finished"),
    [
        ((1.0, 0.5), False),
        ((1.0, 0.97), False),
        ((1.0, 0.985), True),
        ((1.0, 1.2), True),
        ((0.004, 0.001), True),  # falls by far, and weighs nothing beside the loss
    ],
)
def test_training_ends_when_it_stops_paying(gaps: tuple[float, float], finished: bool) -> None:
    run = Run(2, rounds=9)
    for round_, gap in enumerate(gaps, start=1):
        for author in run.authors:
            author.say(expert(round_, f"{round_}", ci_gap=gap, holdout_loss=1.0))
    assert finishes(run.view(), 2) is finished


def test_the_first_round_shows_no_trend_and_the_last_one_ends() -> None:
    run = Run(2, rounds=3)
    run.publish_experts(1)
    assert not finishes(run.view(), 1)
    assert finishes(run.view(), 3)
