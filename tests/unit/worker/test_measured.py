"""SPEC 6.14: what a score job measures of a final student."""

from pathlib import Path

import torch

from dcfm_node.swarm.quality import known_quality
from dcfm_node.worker.jobs import JobRunner
from dcfm_node.worker.messages import TeacherFile
from tests.unit.worker.test_serving import job, setup


def test_a_score_job_measures_draws_only_where_it_is_asked_to(tmp_path: Path) -> None:
    runner = JobRunner(setup(tmp_path), lambda line: None, torch.device("cpu"))
    made = job(tmp_path)
    runner.run(made)
    counts = (((0, 0), 9), ((0, 1), 9), ((1, 0), 9))
    teacher = TeacherFile(silo="silo-0", path=made.output, counts=counts)
    score = {"kind": "score", "model": made.output, "teachers": (teacher,)}
    plain = runner.run(job(tmp_path, **score)).metrics
    full = runner.run(job(tmp_path, **score, measure=True)).metrics
    assert known_quality(plain) is None
    assert {"known_rate", "novel_rate", "judge_known", "known_distance"} <= full.keys()
    assert {name: full[name] for name in plain} == plain
    assert runner.run(job(tmp_path, **score, measure=True)).metrics == full
    probed = runner.run(job(tmp_path, **score, measure=True, probes=((0, 1),))).metrics
    assert "probe_rate" in probed
