"""The privacy gate: which expert is published, and what is said where none is."""

from pathlib import Path

import pytest

from dcfm_node.data.spec import BuiltinData
from dcfm_node.flow.stages import Outcome
from dcfm_node.records.entries import MEMBERSHIP
from dcfm_node.worker import jobs
from dcfm_node.worker.gate import EARLY, Gate, Withheld, shortened
from dcfm_node.worker.jobs import JobRunner
from tests.training.settings import manifest
from tests.unit.worker.test_serving import job, setup, worker


def passed(limit: float, told: dict[int, float | None]) -> tuple[Outcome, list[int]]:
    """What a gate lets pass, and the parts that were trained.

    Args:
        told: the AUC of the network of each part.
    """
    asked = []

    def train(part: int) -> Outcome:
        asked.append(part)
        return Outcome({}, {"part": part})

    def measure(made: Outcome, early: Outcome) -> float | None:
        assert early.metrics["part"] == EARLY
        return told[int(made.metrics["part"])]

    return Gate(limit).passed(train, measure), asked


def test_an_expert_within_the_limit_is_published_as_it_is() -> None:
    made, asked = passed(0.7, {1: 0.7})
    assert made.metrics == {"part": 1, MEMBERSHIP: 0.7}
    assert asked == [EARLY, 1]


def test_of_the_others_the_one_of_the_most_steps_that_passes_is_published() -> None:
    made, asked = passed(0.7, {1: 0.9, 2: 0.75, 4: 0.6})
    assert made.metrics == {"part": 4, MEMBERSHIP: 0.6}
    assert asked == [EARLY, 1, 2, 4]


def test_where_none_passes_the_cause_and_the_fix_are_told() -> None:
    with pytest.raises(Withheld) as caught:
        passed(0.7, {1: 0.9, 2: 0.8, 4: 0.75})
    assert "0.90 with all steps, 0.80 with a half of them, 0.75 with a quarter" in str(caught.value)
    assert "at most 0.7 is allowed" in str(caught.value)
    assert "fewer steps" in (caught.value.fix or "")


def test_what_cannot_be_measured_does_not_pass() -> None:
    with pytest.raises(Withheld, match="fewer than 20 hold-out samples"):
        passed(1.0, {1: None})


def test_only_the_silos_own_training_is_shortened() -> None:
    run = manifest()
    short = shortened(run, 4)
    assert short.method.local.steps == max(1, run.method.local.steps // 4)
    assert short.method.distil == run.method.distil
    assert shortened(run, 10**9).method.refine.steps == 1


def test_a_worker_publishes_what_passes_and_says_how_well_it_tells(tmp_path: Path) -> None:
    runner = JobRunner(setup(tmp_path, membership_auc=1.0), lambda line: None, "cpu")
    done = runner.run(job(tmp_path))
    assert 0.0 <= done.metrics[MEMBERSHIP] <= 1.0
    assert job(tmp_path).output.exists()


def test_a_worker_keeps_back_what_tells_too_much_and_does_not_train_it_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = JobRunner(setup(tmp_path, membership_auc=0.6), lambda line: None, "cpu")
    monkeypatch.setattr(JobRunner, "_told", lambda *_: 0.9)
    with pytest.raises(Withheld):
        runner.run(job(tmp_path))
    assert not job(tmp_path).output.exists()
    monkeypatch.setattr(jobs.JobRunner, "_trained", lambda *_: pytest.fail("trained again"))
    with pytest.raises(Withheld):
        runner.run(job(tmp_path))
    with pytest.raises(pytest.fail.Exception):
        runner.run(job(tmp_path, key="refine-1-a"))


def test_the_daemon_hears_that_an_expert_is_withheld(tmp_path: Path) -> None:
    """So few samples are held out that nobody can measure."""
    data = BuiltinData(format="builtin", name="gaussians", silo=0, silos=2, holdout=0.002)
    with worker(tmp_path, membership_auc=0.9, data=data) as found:
        found.hear("ready")
        found.give(job(tmp_path))
        line = found.hear("done", "broken")
    assert (line["event"], line["withheld"]) == ("broken", True)
    assert "raise holdout under [data]" in line["reason"]
