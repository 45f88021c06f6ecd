"""Jobs of a run of tokens: every kind of work, from a silo's own file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from dcfm_node.data.source import SiloData
from dcfm_node.data.spec import NpzData
from dcfm_node.domains import base as domains
from dcfm_node.errors import DataError, Failed
from dcfm_node.records.manifest import Manifest
from dcfm_node.wire.envelope import manifest_bytes
from dcfm_node.worker import jobs
from dcfm_node.worker.jobs import JobRunner
from dcfm_node.worker.messages import Setup, TeacherFile
from tests.training.settings import STAGE, manifest
from tests.unit.worker.test_serving import job

V = 4
COUNTS = (((0, 0), 36), ((0, 1), 36), ((1, 0), 36))


def run() -> Manifest:
    stages = {stage: STAGE | {"ci_batch": 8} for stage in ("local", "refine", "distil")}
    return manifest(shape=(3,), tokens=V, network={"width": 8}, method=stages)


def written(folder: Path, x: np.ndarray[Any, Any], c: np.ndarray[Any, Any]) -> NpzData:
    np.savez(folder / "data.npz", x=x, a0=c[:, 0], a1=c[:, 1])
    return NpzData(format="npz", path=folder / "data.npz")


def data(folder: Path, dtype: str = "int64") -> NpzData:
    """The first token says a0, the second a1, the third anything."""
    c = np.array([label for label, _ in COUNTS] * 40)
    x = np.concatenate([c, np.random.default_rng(0).integers(V, size=(len(c), 1))], axis=1)
    return written(folder, x.astype(dtype), c)


def loaded(spec: NpzData, manifest: Manifest) -> SiloData:
    return domains.of(manifest).load(manifest, spec)


def test_a_worker_trains_audits_distils_and_judges_tokens(tmp_path: Path) -> None:
    fields = {"manifest": manifest_bytes(run()).hex(), "data": data(tmp_path), "device": "cpu"}
    setup = Setup.model_validate({**fields, "threads": 1, "scratch": tmp_path})
    runner = JobRunner(setup, lambda line: None, torch.device("cpu"))
    assert runner.ready().moments is None
    assert not runner.ready().warnings
    made = job(tmp_path)
    assert runner.run(made).metrics["holdout_loss"] > 0
    teachers = tuple(TeacherFile(silo=f"silo-{k}", path=made.output, counts=COUNTS) for k in (0, 1))
    assert runner.run(job(tmp_path, kind="audit", teachers=teachers)).scores.keys() == {"silo-1"}
    student = job(tmp_path, kind="distil", teachers=teachers, key="distil-0-a")
    student = student.model_copy(update={"output": tmp_path / "student.safetensors"})
    assert runner.run(student).metrics["steps"] == STAGE["steps"]
    score = {"kind": "score", "model": student.output, "teachers": teachers, "measure": True}
    found = runner.run(job(tmp_path, **score, reference=made.output)).metrics
    assert {"holdout_loss", "reference_loss", "known_rate", "judge_known"} <= found.keys()
    refined = job(tmp_path, anchor=student.output, round=1, teachers=teachers)
    assert runner.run(refined).metrics["holdout_loss"] > 0


def test_a_student_that_overflows_is_judged_and_loses(tmp_path: Path) -> None:
    fields = {"manifest": manifest_bytes(run()).hex(), "data": data(tmp_path), "device": "cpu"}
    setup = Setup.model_validate({**fields, "threads": 1, "scratch": tmp_path})
    runner = JobRunner(setup, lambda line: None, torch.device("cpu"))
    made = job(tmp_path)
    runner.run(made)
    teachers = tuple(TeacherFile(silo=f"silo-{k}", path=made.output, counts=COUNTS) for k in (0, 1))
    hostile = tmp_path / "hostile.safetensors"
    save_file({name: w.fill_(1e30) for name, w in load_file(made.output).items()}, hostile)
    score = {"kind": "score", "model": hostile, "teachers": teachers, "measure": True}
    found = runner.run(job(tmp_path, **score, reference=made.output)).metrics
    assert not found["holdout_loss"] <= 2 * found["reference_loss"]
    assert found["known_rate"] < 0.9


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64"])
def test_tokens_are_read_from_whole_numbers_of_any_kind(tmp_path: Path, dtype: str) -> None:
    found = loaded(data(tmp_path, dtype), run())
    assert found.train.x.dtype == np.float32
    assert set(np.unique(found.train.x)) == set(range(V))
    assert found.train.x[:, :2].tolist() == found.train.c.tolist()


@pytest.mark.parametrize("odd", [-1, V, 0.5, np.nan])
def test_what_is_not_a_token_is_refused_by_its_row(tmp_path: Path, odd: float) -> None:
    x, c = np.zeros((20, 3)), np.array([(0, 0), (0, 1)] * 10)
    x[7, 2] = odd
    with pytest.raises(DataError, match=f"whole numbers from 0 to {V - 1}") as error:
        loaded(written(tmp_path, x, c), run())
    assert "7" in error.value.where
    assert "[path]" in error.value.fix


def test_work_that_no_memory_holds_is_refused_before_it_is_allocated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"manifest": manifest_bytes(run()).hex(), "data": data(tmp_path), "device": "cpu"}
    setup = Setup.model_validate({**fields, "threads": 1, "scratch": tmp_path})
    runner = JobRunner(setup, lambda line: None, torch.device("cpu"))
    made = job(tmp_path)
    runner.run(made)
    teachers = tuple(TeacherFile(silo=f"silo-{k}", path=made.output, counts=COUNTS) for k in (0, 1))
    monkeypatch.setattr(jobs, "free_on", lambda device: 100_000.0)
    monkeypatch.setattr(jobs, "load_weights", None)  # whatever loads them fails
    score = {"kind": "score", "model": made.output, "measure": True}
    for more in ({}, {"round": 1}, {"kind": "distil"}, score, {"kind": "audit"}):
        with pytest.raises(Failed, match=r"GB of memory, and 0.0001 GB are free"):
            runner.run(job(tmp_path, teachers=teachers, **more))
