"""Eq. 13: what trains and what does not, and Eq. 12 where nobody else is asked."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dcfm_node.flow.networks import Weights, build
from dcfm_node.flow.sampling import Teacher
from dcfm_node.flow.stages import EncodedSamples, Outcome, local
from dcfm_node.flow.trainer import Callbacks
from dcfm_node.methods.dcfm.learner import distil, refine_against_peers, refine_anchored
from tests.training.cases import CI_WEIGHT, COUNTS, ME, SHAPES, SIZES, STAGES, Case, case, samples
from tests.training.lookup import Lookup
from tests.training.settings import STAGE, draws, manifest
from tests.training.witness import Step


def lookup_case(stage: str, n: int) -> Case:
    return case(stage, n, nets=[Lookup(SIZES[n], SHAPES[n], seed) for seed in range(4)])


def total(it: Case) -> Tensor:
    """Eqs. 11, 14 and 17; the same rows every time, frozen terms evaluated anew."""
    step = it.step()
    return step.fit + CI_WEIGHT * step.ci


def difference(it: Case, table: nn.Parameter, direction: Tensor) -> float:
    """Central difference quotient of the loss; exact, since the loss is quadratic in own tables."""
    there = []
    for step in (direction, -2 * direction, direction):
        table.data += step
        there.append(total(it).item())
    return (there[0] - there[1]) / 2


def directions(table: nn.Parameter) -> list[Tensor]:
    return [torch.randn(table.shape, generator=draws(seed)) for seed in range(5)]


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("stage", STAGES)
def test_gradients_are_difference_quotients_of_own_parameters(stage: str, n: int) -> None:
    """With frozen terms evaluated anew, they stay where they are when the network moves."""
    it = lookup_case(stage, n)
    own = it.own.net.table
    total(it).backward()
    assert own.grad is not None
    for direction in directions(own):
        slope = (own.grad * direction).sum().item()
        scale = own.grad.norm().item() * direction.norm().item()
        assert difference(it, own, direction) == pytest.approx(slope, abs=1e-4 * scale)


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("stage", ["against peers", "anchored", "distil"])
def test_frozen_networks_matter_and_get_no_gradient(stage: str, n: int) -> None:
    it = lookup_case(stage, n)
    total(it).backward()
    for k, expert in (it.frozen or dict(enumerate(it.experts))).items():
        table = expert.net.table
        assert table.requires_grad
        assert table.grad is None
        moved = difference(it, table, directions(table)[0])
        if stage == "against peers" and k == ME:
            assert moved == 0, "own terms are the trained network's, not its published copy's"
        else:
            assert abs(moved) > 1e-2


def alone(it: Case, seed: int) -> tuple[Step, Tensor]:
    """A batch of one row, and the gradient of its penalty."""
    step = it.step(seed)
    it.own.zero_grad()
    step.ci.backward()
    return step, torch.cat([parameter.grad.flatten() for parameter in it.own.parameters()])


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("stage", ["against peers", "anchored"])
def test_rows_whose_z_is_all_local_bear_the_local_penalty(stage: str, n: int) -> None:
    """In value and gradient; other rows differ in both."""
    mixed, local_only = (case(kind, n, batch=1, share=0) for kind in (stage, "local"))
    kinds = set()
    for seed in range(80):
        (there, slope), (here, own_slope) = alone(mixed, seed), alone(local_only, seed)
        (row,), (same,) = there.penalised, here.penalised
        assert (row.c, row.blocks) == (same.c, same.blocks)
        kinds.add(row.z == (ME, ME, ME))
        if row.z == (ME, ME, ME):
            torch.testing.assert_close(there.ci, here.ci, rtol=1e-6, atol=0)
            torch.testing.assert_close(slope, own_slope, rtol=1e-5, atol=1e-6)
        else:
            assert there.ci != here.ci
            assert not torch.allclose(slope, own_slope, rtol=1e-3)
    assert kinds == {True, False}


METHOD = {stage: STAGE | {"product_share": 0.5} for stage in ("local", "refine", "distil")}
RUN = manifest(SIZES[2], shape=SHAPES[2], silos=3, method=METHOD)
INIT, OTHER = (
    build(manifest(SIZES[2], shape=SHAPES[2], method={"seed": seed})).state_dict()
    for seed in (0, 1)
)


def data() -> EncodedSamples:
    return EncodedSamples(*samples(2))


def teachers(*weights: Weights) -> list[Teacher]:
    return [Teacher(f"silo-{k}", w, COUNTS[2][k]) for k, w in enumerate(weights)]


def first_losses(stage: Callable[[Callbacks], Outcome]) -> dict[str, float]:
    """Before any update."""
    seen: list[dict[str, float]] = []
    stage(Callbacks(progress=lambda done, steps, losses: seen.append(dict(losses))))
    return seen[0]


def stage_one(callbacks: Callbacks) -> Outcome:
    return local(RUN, data(), data(), seed=1, callbacks=callbacks)


def between(*peers: Teacher) -> Callable[[Callbacks], Outcome]:
    """DCFM-A of silo ME from INIT."""

    def stage(callbacks: Callbacks) -> Outcome:
        return refine_against_peers(
            RUN,
            data(),
            data(),
            me=f"silo-{ME}",
            init=INIT,
            peers=peers,
            seed=1,
            callbacks=callbacks,
        )

    return stage


def anchored_on(anchor: Weights) -> Callable[[Callbacks], Outcome]:
    return lambda callbacks: refine_anchored(
        RUN, data(), data(), init=INIT, anchor=anchor, seed=1, callbacks=callbacks
    )


def student(init: Weights, teacher: Weights) -> Callable[[Callbacks], Outcome]:
    three = teachers(teacher, teacher, teacher)
    return lambda callbacks: distil(RUN, three, init=init, seed=1, callbacks=callbacks)


@pytest.mark.parametrize(
    "stage",
    [
        between(*teachers(INIT, INIT, INIT)),
        anchored_on(INIT),
    ],
)
def test_between_equal_experts_every_z_gives_the_local_value(
    stage: Callable[[Callbacks], Outcome],
) -> None:
    losses = first_losses(stage)
    assert losses["ci"] > 0
    assert losses == pytest.approx(first_losses(stage_one), rel=1e-5)


def test_what_each_stage_composes_with() -> None:
    """The anchor, and every peer's expert; of the silo's own, only what it
    trains."""
    alike = first_losses(between(*teachers(INIT, INIT, INIT)))
    assert first_losses(between(*teachers(INIT, OTHER, INIT))) == alike
    for changed in (
        between(*teachers(OTHER, INIT, INIT)),
        between(*teachers(INIT, INIT, OTHER)),
        anchored_on(OTHER),
    ):
        losses = first_losses(changed)
        assert losses["loss"] == alike["loss"]
        assert losses["ci"] != pytest.approx(alike["ci"], rel=1e-2)


def test_a_silo_alone_refines_as_stage_one_trains() -> None:
    """DCFM-A whose every z is all local is the local stage, from first step to last."""
    alone, expected = between(teachers(OTHER, OTHER)[ME])(Callbacks()), stage_one(Callbacks())
    assert alone.metrics == pytest.approx(expected.metrics, rel=1e-5)
    for name, weights in expected.weights.items():
        torch.testing.assert_close(alone.weights[name], weights)


def test_a_student_that_is_its_teachers_has_nothing_to_match() -> None:
    same, other = first_losses(student(OTHER, OTHER)), first_losses(student(INIT, OTHER))
    assert same["loss"] == pytest.approx(0.0, abs=1e-9)
    assert other["loss"] > 1e-3
    assert min(same["ci"], other["ci"]) > 0


def test_hold_out_data_is_measured_and_not_learned() -> None:
    other = EncodedSamples(data().x + 1, data().c)
    one, two = (local(RUN, data(), held, seed=1, callbacks=Callbacks()) for held in (data(), other))
    assert all(torch.equal(one.weights[name], two.weights[name]) for name in one.weights)
    assert one.metrics["train_loss"] == two.metrics["train_loss"]
    for name in ("holdout_loss", "ci_gap"):
        assert one.metrics[name] != two.metrics[name]
