"""The privacy gate: which expert is published, and what is said where none is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dcfm_node.data.spec import BuiltinData, NpzData
from dcfm_node.flow import networks
from dcfm_node.flow.method import SiloData, Start
from dcfm_node.flow.stages import EncodedSamples, Outcome
from dcfm_node.methods.dcfm.learner import DcfmLearner
from dcfm_node.records.entries import MEMBERSHIP
from dcfm_node.wire.envelope import manifest_bytes
from dcfm_node.worker import membership
from dcfm_node.worker.gate import Withheld, halves, passed, shortened
from dcfm_node.worker.jobs import JobRunner
from tests.training.settings import STAGE, manifest
from tests.unit.worker.test_serving import job, setup, worker

MADE = Outcome({}, {"steps": 7.0})


def test_an_expert_within_the_limit_is_published_with_what_it_tells() -> None:
    assert passed(MADE, 0.7, lambda: 0.7).metrics == {"steps": 7.0, MEMBERSHIP: 0.7}


def test_beyond_the_limit_the_cause_and_the_fix_are_told() -> None:
    with pytest.raises(Withheld) as caught:
        passed(MADE, 0.7, lambda: 0.91)
    assert "with an AUC of 0.91, and membership_auc under [privacy] allows 0.7" in str(caught.value)
    assert "add samples" in (caught.value.fix or "")


def test_what_cannot_be_measured_does_not_pass() -> None:
    with pytest.raises(Withheld, match="fewer than 20 hold-out samples"):
        passed(MADE, 1.0, lambda: None)


def test_the_reference_sees_every_second_patient_whole() -> None:
    patients = np.array([5, 9, 5, 2, 9, 11])
    assert halves(patients).tolist() == [True, False, True, False, False, True]
    assert not halves(np.array([3])).any()


def test_only_the_silos_own_training_is_shortened() -> None:
    run = manifest(method={"local": STAGE | {"steps": 41}, "refine": STAGE | {"steps": 2}})
    short = shortened(run)
    assert (short.method.local.steps, short.method.refine.steps) == (10, 1)
    assert short.method.distil == run.method.distil


def test_a_worker_publishes_what_passes_and_says_how_well_it_tells(tmp_path: Path) -> None:
    runner = JobRunner(setup(tmp_path, membership_auc=1.0), lambda line: None, torch.device("cpu"))
    done = runner.run(job(tmp_path))
    assert 0.0 <= done.metrics[MEMBERSHIP] <= 1.0
    assert job(tmp_path).output.exists()
    assert not [*tmp_path.glob("*.gated"), *tmp_path.glob("*.reference")]


def test_a_worker_keeps_back_what_tells_too_much_and_does_not_train_it_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = JobRunner(setup(tmp_path, membership_auc=0.6), lambda line: None, torch.device("cpu"))
    monkeypatch.setattr(JobRunner, "_told", lambda *_: 0.9)
    with pytest.raises(Withheld):
        runner.run(job(tmp_path))
    assert not job(tmp_path).output.exists()
    monkeypatch.setattr(JobRunner, "_trained", lambda *_: pytest.fail("trained again"))
    with pytest.raises(Withheld):
        runner.run(job(tmp_path))
    with pytest.raises(pytest.fail.Exception):
        runner.run(job(tmp_path, key="refine-1-a"))


def test_the_reference_of_a_later_round_knows_no_student(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The student has learnt from all of the silo's samples, so beside it nothing looks known."""
    starts: list[Start] = []

    def train(self: Any, silo: SiloData, start: Start, **_: Any) -> Outcome:
        starts.append(start)
        return Outcome(networks.build(self.manifest).state_dict(), {"holdout_loss": 1.0})

    monkeypatch.setattr(DcfmLearner, "train", train)
    runner = JobRunner(setup(tmp_path, membership_auc=1.0), lambda line: None, torch.device("cpu"))
    student = job(tmp_path).output.with_name("student.safetensors")
    save_file(dict(networks.build(manifest()).state_dict()), student)
    runner.run(job(tmp_path, round=1, anchor=student, init=student))
    expert, reference = starts
    assert (expert.round, expert.anchor is None) == (1, False)
    assert reference == Start()


def test_an_expert_that_knows_its_samples_by_heart_is_told_from_one_that_does_not(
    tmp_path: Path,
) -> None:
    """Samples are noise, so that there is nothing else to learn."""
    x = np.random.default_rng(0).normal(size=(160, 32)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x, a0=np.arange(160) % 2)
    data, found = NpzData(format="npz", path=tmp_path / "x.npz", holdout=0.5), []
    for steps in (500, 4):
        local = STAGE | {"steps": steps, "learning_rate": 5e-3, "ci_weight": 0.0}
        run = manifest((2,), shape=(32,), network={"width": 64}, method={"local": local})
        given = setup(tmp_path, manifest=manifest_bytes(run).hex(), data=data, membership_auc=1.0)
        runner = JobRunner(given, lambda line: None, torch.device("cpu"))
        found.append(runner.run(job(tmp_path, key=f"local-{steps}")).metrics[MEMBERSHIP])
    assert found[0] > 0.8
    assert found[1] < 0.7


def test_the_daemon_hears_that_an_expert_is_withheld(tmp_path: Path) -> None:
    """So few samples are held out that nobody can measure."""
    data = BuiltinData(format="builtin", name="gaussians", silo=0, silos=2, holdout=0.002)
    with worker(tmp_path, membership_auc=0.9, data=data) as found:
        found.hear("ready")
        found.give(job(tmp_path))
        line = found.hear("done", "broken")
    assert (line["event"], line["withheld"]) == ("broken", True)
    assert "raise holdout under [data]" in line["reason"]


def test_nothing_is_trained_where_too_few_are_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = BuiltinData(format="builtin", name="gaussians", silo=0, silos=2, holdout=0.002)
    monkeypatch.setattr(JobRunner, "_trained", lambda *_: pytest.fail("trained"))
    runner = JobRunner(setup(tmp_path, membership_auc=0.9, data=data), print, torch.device("cpu"))
    with pytest.raises(Withheld, match="fewer than 20"):
        runner.run(job(tmp_path))


def test_an_expert_has_no_reference_where_its_half_is_probes_alone(tmp_path: Path) -> None:
    """Samples take turns: every second one is of the combination that is withheld."""
    x = np.random.default_rng(0).normal(size=(160, 4)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x, a0=np.arange(160) % 2)
    run = manifest((2,), shape=(4,), method={"local": STAGE | {"steps": 2}})
    data = NpzData(format="npz", path=tmp_path / "x.npz", holdout=0.5)
    given = setup(tmp_path, manifest=manifest_bytes(run).hex(), data=data, membership_auc=1.0)
    runner = JobRunner(given, lambda line: None, torch.device("cpu"))
    half, *others = runner._divided()
    probe = int(half.c[0, 0])
    half = EncodedSamples(half.x[half.c[:, 0] == probe], half.c[half.c[:, 0] == probe])
    asked = job(tmp_path, probes=((probe,),))
    assert runner._told(asked, MADE, (half, *others)) is None


@pytest.mark.parametrize("broken", [1, 2])
def test_an_expert_whose_attack_cannot_be_made_does_not_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    """Errors that are no numbers have an AUC of 0 or 0.5, which every limit allows; those of the
    expert are measured second, those of the reference first."""
    calls, real = [], membership.errors

    def errors(*given: Any) -> torch.Tensor:
        calls.append(given)
        return real(*given) * (torch.nan if (len(calls) + 1) // 2 == broken else 1.0)

    monkeypatch.setattr(membership, "errors", errors)
    runner = JobRunner(setup(tmp_path, membership_auc=1.0), lambda line: None, torch.device("cpu"))
    with pytest.raises(Withheld, match="its errors on them are no numbers"):
        runner.run(job(tmp_path))
    assert not job(tmp_path).output.exists()
