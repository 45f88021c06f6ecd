"""Phases, rows and the time left, from made-up statuses and a made-up clock."""

import pytest

from dcfm_node.demo.progress import (
    RELEASE_S,
    Pace,
    Phase,
    cost,
    frame,
    position,
    remaining_s,
    schedule,
)


def test_the_alternating_schedule_has_a_student_after_every_round(manifest):
    names = [str(phase) for phase in schedule(manifest)]
    assert names == ["local", "distil 0", "refine 1", "distil 1", "refine 2", "distil 2", "release"]


def test_the_paper_s_schedule_has_one_student_at_the_end(paper):
    names = [str(phase) for phase in schedule(paper)]
    assert names == ["local", "refine 1", "refine 2", "distil 2", "release"]


def test_the_furthest_node_says_where_the_run_is(manifest, says):
    phases = schedule(manifest)
    statuses = {"north": says("north", "distil", 0), "east": says("east", "refine", 1)}
    assert phases[position(phases, statuses)] == Phase("refine", 1)
    assert position(phases, {}) == 0
    assert position(phases, {"north": says("north").model_copy(update={"phase": None})}) == 0


@pytest.mark.parametrize(
    ("stage", "round_", "shown"),
    [
        ("release", 1, Phase("distil", 1)),
        ("release", 2, Phase("release", 2)),
        ("done", 1, Phase("release", 2)),
    ],
)
def test_scoring_an_interim_student_is_a_part_of_its_round(manifest, says, stage, round_, shown):
    phases = schedule(manifest)
    assert phases[position(phases, {"north": says("north", stage, round_)})] == shown


def look(pace, says, stage, seconds_per_step, *, start=0.0, round_=0):
    """Two looks at two nodes, ten steps apart; east is twice as slow."""
    for name, slowness in (("north", 1.0), ("east", 2.0)):
        for done in (10, 20):
            at = start + done * seconds_per_step * slowness
            pace.observe({name: says(name, stage, round_, stage, done)}, at)


def test_the_slowest_node_sets_the_pace(says):
    pace = Pace(cores=2)
    look(pace, says, "local", 1.0)
    assert pace.seconds_per_step("local") == pytest.approx(2.0)
    assert pace.seconds_per_step("refine") is None


def test_a_rate_needs_some_time_between_its_measurements(says):
    pace = Pace(cores=2)
    look(pace, says, "local", 0.01)
    assert pace.seconds_per_step("local") is None


def test_the_newest_round_counts(says):
    pace = Pace(cores=2)
    look(pace, says, "refine", 1.0, round_=1)
    look(pace, says, "refine", 3.0, start=500.0, round_=2)
    assert pace.seconds_per_step("refine") == pytest.approx(6.0)


def test_a_worker_that_starts_over_is_measured_anew(says):
    pace = Pace(cores=2)
    for now, done in ((0, 50), (10, 60), (20, 5), (30, 25)):
        pace.observe({"north": says("north", "local", 0, "local", done)}, float(now))
    assert pace.seconds_per_step("local") == pytest.approx(0.5)


def test_waiting_nodes_are_not_measured(says):
    pace = Pace(cores=2)
    pace.observe({"north": says("north", activity="fetch", done=10)}, 0.0)
    pace.observe({"north": says("north", activity="fetch", done=20)}, 9.0)
    assert pace.seconds_per_step("fetch") is None


def test_an_unmeasured_stage_is_estimated_by_its_work_and_its_share_of_the_cores(manifest, says):
    pace = Pace(cores=1)
    look(pace, says, "local", 1.0)
    # Both silos shared one core in Stage I; the one that distils has it for itself.
    expected = 2.0 / 2 * cost(manifest, "distil") / cost(manifest, "local")
    assert pace.estimate(manifest, "distil") == pytest.approx(expected)
    assert Pace(cores=1).estimate(manifest, "distil") is None


def test_the_cost_of_a_step_counts_frozen_passes(manifest):
    assert cost(manifest, "local") == 3 * (64 + 4 * 16)
    assert cost(manifest, "refine") == cost(manifest, "local") + 3 * 16
    assert cost(manifest, "distil") == cost(manifest, "local") + 64


def test_nothing_is_promised_before_something_is_measured(manifest, says):
    phases = schedule(manifest)
    assert remaining_s(manifest, phases, {"north": says("north")}, Pace(cores=2)) is None


def test_time_left_is_every_step_that_is_left(manifest, says):
    pace = Pace(cores=2)
    for stage in ("local", "refine", "distil"):
        look(pace, says, stage, 1.0)
    phases = schedule(manifest)
    statuses = {
        "north": says("north", "local", 0, "local", 60),
        "east": says("east", "local", 0, "local", 30),
    }
    left = remaining_s(manifest, phases, statuses, pace)
    assert left == pytest.approx(2.0 * (70 + 5 * 100) + RELEASE_S)
    assert remaining_s(manifest, phases[-1:], statuses, pace) == RELEASE_S


def test_silos_that_train_in_turn_take_their_turns(paper, says):
    pace = Pace(cores=2)
    for stage in ("local", "refine", "distil"):
        look(pace, says, stage, 1.0)
    phases = schedule(paper)[1:]
    more = {"north_expert": 0, "east_expert": 0}
    statuses = {
        "north": says("north", "refine", 1, "refine", 40, **more),
        "east": says("east", "refine", 1, **more),
    }
    # North's rest, east's turn, both turns of round 2, the student.
    left = remaining_s(paper, phases, statuses, pace)
    assert left == pytest.approx(2.0 * (60 + 100 + 200 + 100) + RELEASE_S)


def test_a_frame_has_a_row_for_every_silo(manifest, says):
    seen = {"east": says("east", "local", 0, "local", 25)}
    shown = frame(manifest, seen, Pace(cores=2), 12.0)
    east, north = shown.rows
    assert (east.name, east.share, east.loss, east.ci_gap) == ("east", 0.25, 0.5, 0.25)
    assert (east.links, east.peers, east.sent, east.received) == (1, 1, 1_500, 2_500_000)
    assert (north.name, north.activity, north.share) == ("north", "starting", None)
    assert shown.phase == Phase("local", 0)


def test_an_idle_node_says_what_it_waits_for(manifest, says):
    (row, _) = frame(manifest, {"east": says("east")}, Pace(cores=2), 1.0).rows
    assert row.note == "waiting for experts: north"
    assert (row.share, row.loss) == (None, None)


def test_a_lost_node_is_shown_as_lost_and_nothing_is_promised(manifest, says):
    pace = Pace(cores=2)
    look(pace, says, "local", 1.0)
    shown = frame(manifest, {"east": says("east")}, pace, 50.0, {"north": "killed by signal 9"})
    assert shown.rows[1].activity == "lost"
    assert (shown.lost, shown.left_s) == (("north",), None)
