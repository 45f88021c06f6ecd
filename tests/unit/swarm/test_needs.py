"""SPEC 5.2: what is kept on disk, and that it does not grow with the rounds."""

from dcfm_node.records.entries import Withdraw
from dcfm_node.swarm.effects import Train
from dcfm_node.swarm.needs import spent
from dcfm_node.swarm.plan import next_step
from tests.unit.swarm.builders import Run, endorse, snapshot
from tests.unit.swarm.plan_inputs import plan_input

ROUNDS = 8


def kept(run: Run) -> set[bytes]:
    """What is left on a disk that held everything."""
    now = plan_input(run)
    return set(now.held) - spent(now, next_step(now), None)


def rounds(run: Run, count: int) -> None:
    """So many rounds of experts and students, the last not final."""
    for round_ in range(count):
        run.publish_experts(round_)
        run.distil(round_ % 3, term=round_ + 1, round_=round_)


def test_what_is_kept_does_not_grow_with_the_rounds() -> None:
    sizes = []
    run = Run(3, rounds=ROUNDS)
    for round_ in range(ROUNDS):
        run.publish_experts(round_)
        run.distil(round_ % 3, term=round_ + 1, round_=round_)
        sizes.append(len(kept(run)))
    assert max(sizes) == sizes[-1] <= 2 * 3 + 1


def test_the_newest_student_can_be_made_again() -> None:
    """The experts of its round stay until the next student, though newer ones are known."""
    run = Run(3, rounds=9)
    rounds(run, 3)
    run.publish_experts(3, but=(2,))
    left = kept(run)
    assert {snapshot(f"expert {k} 2").digest for k in range(3)} <= left
    assert {snapshot(f"expert {k} 3").digest for k in range(2)} <= left
    assert snapshot("student 3 2").digest in left
    assert snapshot("expert 0 0").digest not in left and snapshot("student 1 0").digest not in left


def test_a_silo_that_withdraws_leaves_what_its_student_is_made_anew_from() -> None:
    """SPEC 6.2: the last round is distilled again without it."""
    run = Run(3)
    rounds(run, 2)
    run.authors[2].say(Withdraw(reason="no more"))
    again = {snapshot(f"expert {k} 1").digest for k in range(2)}
    assert again <= kept(run)


def test_what_was_released_is_kept() -> None:
    """Also after it was superseded by one that nobody endorsed yet."""
    run = Run(3, method="dfd")
    run.publish_experts(0)
    released = run.distil(0)
    for author in run.authors[:2]:
        author.say(endorse(released))
    run.distil(1, term=2)
    left = kept(run)
    assert snapshot("student 1 0").digest in left


def test_the_inputs_of_present_work_stay() -> None:
    run = Run(3, rounds=9)
    rounds(run, 4)
    old = snapshot("expert 0 0").digest
    now = plan_input(run)
    assert old in spent(now, next_step(now), None)
    assert old not in spent(now, next_step(now), Train("refine", 1, init=old))


def test_a_snapshot_that_no_record_names_is_left_alone() -> None:
    """It was made here, and its record is about to be said."""
    run = Run(3)
    rounds(run, 2)
    mine = snapshot("just made").digest
    now = plan_input(run)
    more = plan_input(run, held={*now.held, mine})
    assert mine not in spent(more, next_step(more), None)
