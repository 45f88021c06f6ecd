"""SPEC 6.14: what a node says of a student whose quality its judges measured."""

from typing import Any

import pytest

from dcfm_node.api.problems import Code, exit_code
from dcfm_node.api.status import Coverage, MissingValue, PreparationStatus
from dcfm_node.cli.lineage import verified
from dcfm_node.cli.overview import status_text
from dcfm_node.cli.record_words import says
from dcfm_node.cli.shown import students_text
from dcfm_node.cli.student import verified_text
from dcfm_node.daemon.advice import _for_known, _for_novel, what_to_try
from dcfm_node.daemon.facts import meaning, student_facts, students_facts
from dcfm_node.daemon.status import status
from dcfm_node.daemon.students import none_released
from dcfm_node.methods.dcfm.schedule import Dcfm
from dcfm_node.networks.settings import MlpSettings
from dcfm_node.records.entries import Endorse
from dcfm_node.records.guidance import Replay
from dcfm_node.records.messages import Entries
from dcfm_node.records.settings import Training
from dcfm_node.store.card import model_card
from dcfm_node.student.facts import facts_of
from dcfm_node.swarm.effects import Received
from dcfm_node.swarm.lineage import Lineage
from tests.unit.swarm.builders import Run, journals
from tests.unit.swarm.nodes import node

GOOD = {"known_rate": 0.96, "judge_known": 0.97, "novel_rate": 0.91, "judge_rate": 1.0}
POOR = GOOD | {"novel_rate": 0.18}
BLIND = GOOD | {"judge_rate": 0.4}
ABSTAINS = {"known_rate": 0.96, "judge_known": 0.97, "judge_rate": 1.0}


def judged(
    *figures: dict[str, float], last: tuple[int, int] = (1, 1), **settings: object
) -> tuple[Run, bytes]:
    """A run of three whose silos judged the final student in this order."""
    run = Run(3, method="ddm", **settings)
    counts = (((0, 0), 9), ((1, 1), 9)), (((0, 1), 9),), ((last, 9),)
    for author, held in zip(run.authors, counts, strict=True):
        author.join(counts=held)
    run.publish_experts(0)
    made = run.distil(0).digest
    for author, metrics in zip(run.authors, figures, strict=False):
        author.say(Endorse(student=made, metrics=metrics))
    return run, made


def told(run: Run):
    """A node of the second silo that heard everything."""
    made = node(run)
    for author in run.authors:
        said = tuple(sealed.envelope for sealed in author.journal)
        message = Entries(run=run.id, entries=said, beats=())
        made.handle(Received(run.keys[1], message), 1.0)
    return status(made, 2.0)


def test_a_released_student_is_shown_with_what_to_expect_of_it() -> None:
    run, made = judged(GOOD, GOOD, POOR)
    view = run.view()
    facts = student_facts(view, view.students[made])
    assert facts.released
    assert (facts.expected.known.value, facts.expected.novel.value) == (0.96, 0.91)
    assert facts.expected.text == (
        "combinations trained on 96% (96% to 96%), novel ones 91% (91% to 91%);"
        " but silo-0002 says 18% of novel combinations"
    )
    assert [(one.silo, one.kind) for one in facts.expected.dissent] == [("silo-0002", "novel")]
    text = status_text(told(run), explain=False)
    assert "of novel combinations 91% (91% to 91%): good" in text
    assert "; but silo-0002 says 18% of novel ones" in text
    listed = students_text(students_facts(journals(run), view, lambda _: True))
    assert "but silo-0002 says 18% of novel combinations" in listed


def test_a_student_that_not_all_have_judged_has_no_verdict_yet() -> None:
    run, made = judged(POOR, GOOD)
    text = status_text(told(run), explain=False)
    assert "2 of 3 silos have judged so far: right draws of known combinations at least" in text
    assert "novel combinations at least 18%" in text
    assert "floor" not in text
    view = run.view()
    facts = student_facts(view, view.students[made])
    assert (facts.expected.awaited, facts.expected.below) == (1, False)
    assert "18% or more" in students_text(students_facts(journals(run), view, lambda _: True))
    card = model_card(run.manifest, facts_of(Lineage(view.students[made], view, run.id)))
    assert "2 of 3 silos have judged so far: the true shares may be higher." in card
    assert "Below the floor" not in card


def test_a_student_below_the_floor_is_a_problem_with_what_to_try() -> None:
    run, made = judged(POOR, POOR, GOOD)
    view = run.view()
    student = view.students[made]
    assert student_facts(view, student).below_floor
    tries = what_to_try(view, student)
    assert "method.guidance" in tries
    assert "right/bottom at silo-0000" in tries
    assert "stays interim" in str(none_released(view))


@pytest.mark.parametrize(
    ("figures", "first"),
    [
        (
            POOR | {"known_rate": 0.1, "known_distance": 0.9},
            "a lower learning rate: learning_rate = 0.0005 under [method.local], now 0.001",
        ),
        (POOR | {"known_rate": 0.1}, "more steps: steps = {2} under [method.local], now {1}"),
        (POOR, "a wider network: width = {4} under [network], now {3}"),
    ],
)
def test_what_to_try_follows_from_what_was_measured(figures, first) -> None:
    run, made = judged(figures, figures)
    view = run.view()
    tries = what_to_try(view, view.students[made])
    steps, width = run.manifest.method.local.steps, run.manifest.network.width
    first = first.format(0, steps, 2 * steps, width, 2 * width)
    assert tries.startswith(f"begin another run with {first}")


def test_what_to_try_names_every_stage_and_no_setting_at_its_limit() -> None:
    run, made = judged(POOR, POOR)
    view = run.view()
    stage = Training(steps=1_500_000)
    dcfm = Dcfm(local=stage, refine=stage, distil=stage, replay=Replay(rounds=3))
    told = _for_known(run.manifest.model_copy(update={"method": dcfm}), 0.0)
    assert "steps = 3000000 under [method.local], now 1500000, steps = 3000000 under" in told[0]
    assert all(f"[method.{stage}]" in told[0] for stage in ("local", "refine", "distil"))
    novel = " ".join(_for_novel(run.manifest.model_copy(update={"method": dcfm})))
    assert "novel = 1.5 under [method.guidance], now 1.0" in novel
    assert "rounds = 6 under [method.replay], now 3" in novel
    full = run.manifest.model_copy(update={"network": MlpSettings(width=4_096)})
    assert "wider" not in " ".join(_for_novel(full))
    assert "replay" not in what_to_try(view, view.students[made])  # ddm has none


def test_a_student_below_the_floor_is_called_interim_before_all_else() -> None:
    run, made = judged(POOR, POOR, POOR)
    view = run.view()
    lines = verified_text(
        verified(Lineage(view.students[made], view, run.id), compared=False, unchecked=()),
        keys="-",
    ).splitlines()
    assert lines[0].startswith("interim   below the floor of 50%")
    (endorsed,) = [line for line in lines if line.startswith("endorsed")]
    assert endorsed.endswith("as an interim student")
    listed = students_text(students_facts(journals(run), view, lambda _: True)).splitlines()
    row = next(
        line for line in listed if view.students[made].body.snapshot.digest.hex()[:12] in line
    )
    assert row.index("interim: below the floor of 50%") < row.index("COMPLETE")
    run, made = judged(GOOD, GOOD, GOOD)
    view = run.view()
    good = verified(Lineage(view.students[made], view, run.id), compared=False, unchecked=())
    assert "interim" not in verified_text(good, keys="-")


def test_a_journal_says_what_a_silos_figures_mean() -> None:
    run, made = judged(POOR)
    view = run.view()
    body = Endorse(student=made, metrics=POOR)
    means = meaning(view, body)
    assert means.expected == "combinations trained on 96% (96% to 96%), novel ones 18% (18% to 18%)"
    assert "novel ones 18%" in says(body, means)
    bare = Endorse(student=made, metrics={"holdout_loss": 1.0})
    assert meaning(view, bare).expected == ""


@pytest.mark.parametrize(
    ("figures", "codes", "says"),
    [
        ((POOR, POOR, POOR), [Code.BELOW_FLOOR], "stays interim: it is below the floor"),
        ((GOOD, GOOD, GOOD), [], "right draws of known combinations 96% (96% to 96%): good"),
        (({}, {}, {}), [Code.QUALITY_UNMEASURED], "not measured: 0 of the 2 silos"),
        ((BLIND, BLIND, GOOD), [Code.QUALITY_UNMEASURED], "judges read 0.40"),
        ((BLIND, GOOD), [], "judges read 0.40"),
        ((ABSTAINS, ABSTAINS, GOOD), [Code.QUALITY_UNMEASURED], "1 of the 2 silos"),
    ],
)
def test_status_tells_the_quality_and_exits_with_a_problem_below_the_floor(
    figures, codes, says
) -> None:
    run, _ = judged(*figures)
    found = told(run)
    quality = Code.BELOW_FLOOR, Code.STUDENT_MISSING, Code.QUALITY_UNMEASURED
    of_quality = [problem for problem in found.problems if problem.code in quality]
    assert [problem.code for problem in of_quality] == codes
    assert exit_code(of_quality) == (3 if codes else 0)
    assert says in status_text(found, explain=False)


def test_nothing_is_missed_where_silos_train_on_every_combination() -> None:
    run, _ = judged(ABSTAINS, ABSTAINS, ABSTAINS, last=(1, 0))
    found = told(run)
    assert Code.QUALITY_UNMEASURED not in [problem.code for problem in found.problems]
    assert "the silos train on every combination" in status_text(found, explain=False)


def test_status_tells_where_nobody_withheld_a_combination_to_test_novel_ones_by() -> None:
    run, _ = judged(GOOD, GOOD, GOOD)
    found = told(run)
    agreed = PreparationStatus(agreed=True, silos=(), accepted_by=(), probes=(), why="")
    probed = agreed.model_copy(update={"probes": ({"digit": "1"},)})
    for preparation, alone in ((None, True), (agreed, True), (probed, False)):
        shown = found.model_copy(update={"preparation": preparation})
        text = status_text(shown, explain=False)
        assert ("by judges alone, no combination was withheld" in text) == alone


def test_coverage_tells_hulls_and_levels() -> None:
    run, _ = judged()
    found = told(run)
    assert (found.coverage.rank, found.coverage.rank_needed) == (3, 3)
    assert (found.coverage.level_1, found.coverage.level_2) == (1, 0)
    assert "1 is not held: 1 can be composed from these" in status_text(found, explain=True)


def test_coverage_tells_who_alone_counts_a_combination() -> None:
    """Such a silo may make combinations known that nobody holds: none of them is measured as
    novel."""
    run, _ = judged()
    names = [author.name for author in run.authors]
    assert told(run).coverage.alone == {names[0]: 1, names[1]: 1}
    shown = status_text(told(run), explain=True)
    assert f"1 by several silos, 2 by one silo's word alone ({names[0]} 1, {names[1]} 1)" in shown


def coverage(**changes: Any) -> Coverage:
    """Of three silos, 16 combinations of two attributes with four values each."""
    fields: dict[str, Any] = {
        "observed": 12,
        "combinations": 16,
        "silos": 3,
        "silos_told": 3,
        "sufficient": True,
        "combinations_short": 0,
        "missing_values": (),
        "rank": 7,
        "rank_needed": 7,
        "outside_hull": 0,
        "level_1": 4,
        "level_2": 0,
        "alone": {},
    }
    return Coverage(**fields | changes)


FEW = {"observed": 4, "combinations_short": 3, "rank": 4, "outside_hull": 9}
GONE = (MissingValue(attribute="shape", value="bar"),)


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        (
            {},
            ["hold 12 of 16 combinations, each by several silos", "4 are not held: 4 can be"],
        ),
        ({"silos_told": 1}, ["1 of 3 silos have published what they hold: 12 of 16"]),
        ({"observed": 16, "level_1": 0}, ["hold 16 of 16", "none is left to compose"]),
        ({"rank_needed": 16}, ["hold 12 of 16", "nothing can be composed"]),
        (
            FEW | {"level_1": 8, "level_2": 4, "missing_values": GONE},
            [
                "hold 4 of 16",
                "no silo holds shape=bar: no combination with it",
                "3 can be composed from these, 9 cannot (silos must hold 3 more at least, by Eq. 2"
                " of DCFM); 4 differ from every held one in two attributes or more",
            ],
        ),
        (
            {"alone": {"a": 4, "b": 3, "c": 2, "d": 1}},
            ["2 by several silos, 10 by one silo's word alone (a 4, b 3, c 2 and 1 more)", ""],
        ),
    ],
)
def test_coverage_says_what_is_held_and_what_can_be_composed(
    changes: dict[str, Any], lines: list[str]
) -> None:
    run, _ = judged()
    found = told(run).model_copy(update={"coverage": coverage(**changes)})
    text = status_text(found, explain=True).splitlines()
    start = next(n for n, line in enumerate(text) if line.startswith("coverage  "))
    for place, line in enumerate(lines):
        assert line in text[start + place]
        assert text[start + place].startswith(" " * 10 if place else "coverage")
    assert not text[start + len(lines)].startswith(" ")


def test_nobody_is_behind_before_peers_had_time_to_answer() -> None:
    run, _ = judged()
    found = told(run).model_copy(update={"catching_up": ("3 records that north holds",)})
    for uptime, said in ((1.0, False), (60.0, True)):
        text = status_text(found.model_copy(update={"uptime_s": uptime}), explain=False)
        assert ("behind    3 records that north holds" in text) is said
