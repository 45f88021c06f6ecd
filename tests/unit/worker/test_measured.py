"""SPEC 6.14: what a score job measures of a final student."""

from pathlib import Path
from unittest.mock import patch

import torch

from dcfm_node.flow.files import load_weights
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


def test_what_a_silo_trains_on_is_known_to_it_also_where_its_join_left_it_out(
    tmp_path: Path,
) -> None:
    """SPEC 6.9.2: what it learned by heart must not pass for what the run composes."""
    runner = JobRunner(setup(tmp_path), lambda line: None, torch.device("cpu"))
    own = sorted({tuple(c) for c in runner._train.c.tolist()})
    assert len(own) > 1
    counts = {"silo-0": {own[0]: 9}}
    made = job(tmp_path)
    runner.run(made)
    args = (made, load_weights(made.output))

    def known(counts: dict[str, dict[tuple[int, ...], int]]) -> set[tuple[int, ...]]:
        seen: list[set[tuple[int, ...]]] = []
        with patch(
            "dcfm_node.worker.jobs.measure", lambda draw, data, seed: seen.append({*data.known})
        ):
            runner._quality(*args, counts)
        return seen[0]

    assert made.silo == "silo-0"
    assert known(counts) == set(own)
    assert known({"silo-1": {own[0]: 9}}) == {own[0]}, "it taught nothing"
