"""The shipped gaussians run, shortened, in one process: the missing mode appears."""

from functools import cache
from pathlib import Path

import pytest
import torch

from dcfm_node.domains.base import SplitSpec, named, queries
from dcfm_node.domains.gaussians import PLANE
from dcfm_node.flow import labels, sampling
from dcfm_node.flow.codec import encoded_samples
from dcfm_node.flow.sampling import Teacher
from dcfm_node.flow.stages import local, score
from dcfm_node.flow.trainer import Callbacks
from dcfm_node.methods.dcfm.learner import distil, refine_against_peers, refine_anchored
from dcfm_node.records.manifest import Manifest
from dcfm_node.samples import Samples
from tests.training.settings import shipped

DOMAIN = named("gaussians")
SPLIT = DOMAIN.split(SplitSpec(PLANE, silos=2))
EVALUATOR = DOMAIN.evaluator(SPLIT, folder=Path(), seed=0, device="cpu")
NOVEL = torch.from_numpy(queries(SPLIT.held_out, 300))
KNOWN = torch.from_numpy(queries(SPLIT.known, 100))
TRAIN = [encoded_samples(silo[:-100]) for silo in SPLIT.silos]
HOLDOUT = [encoded_samples(silo[-100:]) for silo in SPLIT.silos]


def run(schedule: str) -> Manifest:
    manifest = shipped("gaussians", 2, schedule=schedule)
    method = manifest.method
    short = {
        stage: getattr(method, stage).model_copy(update={"steps": steps})
        for stage, steps in (("local", 700), ("refine", 500), ("distil", 600))
    }
    return manifest.model_copy(update={"method": method.model_copy(update=short)})


def teacher(k: int, weights: dict[str, torch.Tensor]) -> Teacher:
    return Teacher(f"silo-{k}", weights, labels.count(TRAIN[k].c))


@cache
def experts() -> list[Teacher]:
    """Stage I."""
    manifest = run("paper")
    return [
        teacher(k, local(manifest, TRAIN[k], HOLDOUT[k], seed=k, callbacks=Callbacks()).weights)
        for k in (0, 1)
    ]


def accuracy(x: torch.Tensor, labels: torch.Tensor) -> float:
    return float(EVALUATOR.right(Samples(x.numpy(), labels.numpy())).mean())


def student_accuracy(manifest: Manifest, weights: dict[str, torch.Tensor]) -> tuple[float, float]:
    novel = accuracy(sampling.sample(manifest, weights, NOVEL, seed=0), NOVEL)
    known = accuracy(sampling.sample(manifest, weights, KNOWN, seed=0), KNOWN)
    return novel, known


@pytest.mark.parametrize("rule", ["joint", "composed"])
def test_independent_experts_miss_the_novel_mode(rule: str) -> None:
    manifest = run("paper")
    made = sampling.sample_routed(manifest, experts(), NOVEL, rule=rule, seed=0)
    assert accuracy(made, NOVEL) <= 0.10


def test_independent_experts_know_the_known_modes() -> None:
    made = sampling.sample_routed(run("paper"), experts(), KNOWN, rule="joint", seed=0)
    assert accuracy(made, KNOWN) >= 0.93


def test_alternating_schedule_finds_the_novel_mode() -> None:
    manifest = run("alternating")
    interim = distil(manifest, experts(), init=None, seed=10, callbacks=Callbacks())
    refined = [
        refine_anchored(
            manifest,
            TRAIN[k],
            HOLDOUT[k],
            init=experts()[k].weights,
            anchor=interim.weights,
            seed=20 + k,
            callbacks=Callbacks(),
        )
        for k in (0, 1)
    ]
    teachers = [teacher(k, outcome.weights) for k, outcome in enumerate(refined)]
    made = sampling.sample_routed(manifest, teachers, NOVEL, rule="joint", seed=0)
    assert accuracy(made, NOVEL) >= 0.90
    student = distil(manifest, teachers, init=interim.weights, seed=30, callbacks=Callbacks())
    novel, known = student_accuracy(manifest, student.weights)
    assert novel >= 0.90
    assert known >= 0.93
    scores = score(
        manifest, student.weights, HOLDOUT[0], reference=teachers[0].weights, device="cpu"
    )
    assert scores["holdout_loss"] <= 1.1 * scores["reference_loss"]


@pytest.mark.full
def test_paper_schedule_finds_the_novel_mode_in_turn() -> None:
    manifest = run("paper")
    teachers = list(experts())
    for k in (0, 1):
        outcome = refine_against_peers(
            manifest,
            TRAIN[k],
            HOLDOUT[k],
            me=f"silo-{k}",
            init=teachers[k].weights,
            peers=teachers,
            seed=20 + k,
            callbacks=Callbacks(),
        )
        teachers[k] = teacher(k, outcome.weights)
    made = sampling.sample_routed(manifest, teachers, NOVEL, rule="composed", seed=0)
    assert accuracy(made, NOVEL) >= 0.90
    student = distil(manifest, teachers, init=None, seed=30, callbacks=Callbacks())
    novel, known = student_accuracy(manifest, student.weights)
    assert novel >= 0.90
    assert known >= 0.93
