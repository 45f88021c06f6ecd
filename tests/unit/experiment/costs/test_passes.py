"""Evaluations of the network, against counts made by hand."""

from pathlib import Path

import pytest
import torch

from dcfm_node.experiment import settings
from dcfm_node.experiment.costs import formulas
from dcfm_node.experiment.costs.passes import count, counted
from dcfm_node.experiment.costs.settings import STAGES, Compute, StageName
from dcfm_node.experiment.costs.steps import Steps
from dcfm_node.experiment.costs.timing import time_steps
from dcfm_node.experiment.results import Metrics
from dcfm_node.flow import losses
from dcfm_node.flow.trainer import Callbacks
from dcfm_node.records.settings import Masks
from tests.unit.experiment.costs import tiny

UNMASKED = Masks(full=1.0, marginal=1e-12, null=1e-12)


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compute:
    """Labels are never masked and calls never filled up, so that every count is exact."""
    monkeypatch.setattr(losses, "GROUP", 1)
    compute = settings.load_costs(tiny.write(tmp_path), "cpu").compute
    return compute.model_copy(update={"masks": UNMASKED})


def passes(given: Compute, stage: StageName, borne: int) -> Metrics:
    steps = Steps(given, Callbacks())
    return count(steps.source(stage, borne), steps.frozen, given.count_steps, "cpu")


def test_rows_are_counted_forward_and_as_their_gradients_come_back() -> None:
    net = torch.nn.Linear(2, 2)
    with counted([net]) as tally:
        net(torch.zeros(3, 2)).sum().backward()
        net(torch.zeros(4, 2))
        with torch.no_grad():
            net(torch.zeros(5, 2))
    net(torch.zeros(7, 2)).sum().backward()
    assert (tally.forward, tally.backward) == (12, 3)


@pytest.mark.parametrize(
    ("stage", "borne", "forward", "backward"),
    [("plain", 8, 1, 1), ("plain", 2, 1, 1), ("+l", 8, 4, 4), ("+l", 2, 1.75, 1.75)],
)
def test_own_terms_cost_as_many_backward(
    given: Compute, stage: StageName, borne: int, forward: float, backward: float
) -> None:
    assert passes(given, stage, borne) == {
        "forward_passes": forward,
        "frozen_forward_passes": 0,
        "backward_passes": backward,
    }


@pytest.mark.parametrize("stage", ["dcfm-a", "anchored"])
def test_frozen_terms_cost_no_backward_pass(given: Compute, stage: StageName) -> None:
    found = passes(given, stage, 8)
    assert found["forward_passes"] == 4
    assert found["backward_passes"] == 4 - found["frozen_forward_passes"]
    # Of three terms at least one is the silo's own in DCFM-A; of the anchor's, none need be.
    assert 0 < found["frozen_forward_passes"] <= (2 if stage == "dcfm-a" else 3)


@pytest.mark.parametrize("borne", [8, 2])
def test_teachers_give_targets_and_walk_their_paths(given: Compute, borne: int) -> None:
    found = passes(given, "dcfm-b", borne)
    rows = given.count_steps * given.batch
    # Each of two equal teachers walks rows / 2 / (2 points a solver step) paths and one more.
    walked = 2 * (rows // 2 // (2 * given.solver_steps) + 1) * given.solver_steps
    assert found["frozen_forward_passes"] == 1 + walked / rows
    own = 1 + 3 * borne / given.batch
    assert found["backward_passes"] == own
    assert found["forward_passes"] == own + found["frozen_forward_passes"]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("borne", [8, 2])
def test_no_stage_does_with_less_than_it_needs(
    given: Compute, stage: StageName, borne: int
) -> None:
    needed, found = formulas.needed(stage, borne / given.batch), passes(given, stage, borne)
    assert found["forward_passes"] >= needed.forward
    if stage != "anchored":  # whose own terms are drawn
        assert found["backward_passes"] >= needed.backward


def test_every_source_is_timed(given: Compute) -> None:
    steps, told = Steps(given, Callbacks()), list[float]()
    sources = [steps.source(stage, given.shipped) for stage in STAGES]
    times = time_steps(sources, Callbacks(), given.time_steps, told.append)
    assert len(times) == len(STAGES)
    assert min(times) > 0
    assert told[-1] == 1
