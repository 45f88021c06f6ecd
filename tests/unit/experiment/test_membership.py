"""A method's networks in the lab: how well they tell which samples they were trained on."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dcfm_node.experiment import settings
from dcfm_node.experiment.lab import Lab
from dcfm_node.experiment.membership import membership
from dcfm_node.experiment.methods import Fitted
from dcfm_node.flow import networks
from dcfm_node.flow.stages import EncodedSamples
from tests.unit.experiment import tiny

SAMPLES, SIZE = 30, 24


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """Its silos hold little to learn and much to forget: few samples without any law."""
    given = settings.load(tiny.write(tmp_path, steps=300), "cpu")
    problem, partition = given.posed["noniid"]
    split = problem.split(partition, 0)
    network = given.network.model_copy(update={"width": 128, "depth": 3})
    manifest = given.model_copy(update={"network": network}).manifest(split, 0)
    made = Lab(manifest, split, tmp_path / "trained", "cpu", _silent)
    method = manifest.method
    local = method.local.model_copy(update={"ci_weight": 0.0, "batch": 64, "learning_rate": 5e-3})
    method = method.model_copy(update={"local": local})
    made.manifest = manifest.model_copy(update={"method": method, "sample_shape": (SIZE,)})
    made.silos = [_scattered(k) for k in range(len(made.silos))]
    return made


def _silent(what: str, done: int, total: int) -> None:
    pass


def _scattered(k: int) -> tuple[EncodedSamples, EncodedSamples]:
    draws = torch.Generator().manual_seed(k)
    x = torch.randn(2 * SAMPLES, SIZE, generator=draws)
    c = torch.tensor([[0, 0], [0, 1 - k]]).repeat(SAMPLES, 1)
    return EncodedSamples(x[:SAMPLES], c[:SAMPLES]), EncodedSamples(x[SAMPLES:], c[SAMPLES:])


def test_experts_that_learned_few_samples_by_heart_are_seen_through(lab: Lab) -> None:
    experts = lab.local()
    fresh = replace(experts[0], weights=dict(networks.build(lab.manifest).state_dict()))
    found = membership(Fitted({}, {}, experts=experts, student=fresh), lab)
    assert found["membership_expert_auc_low"] > 0.9
    assert found["membership_expert_calibrated_auc_low"] > 0.7
    assert found["membership_student_auc_low"] < 0.5 < found["membership_student_auc_high"]
    assert "membership_expert_tpr_01" not in found, "one in 100 of 30 hold-out samples"
    assert found["membership_expert_tpr_10_low"] <= found["membership_expert_tpr_10"]
