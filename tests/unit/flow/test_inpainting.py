"""Drawing samples of which some numbers are given."""

import math

import pytest
import torch
from torch import Tensor

from dcfm_node.flow import sampling
from dcfm_node.flow.inpainting import LEAST, Decode, Given, Inpainter
from dcfm_node.flow.sampling import sample, sample_routed
from dcfm_node.methods.mixture.ensembles import Routing, sample_ensemble
from dcfm_node.networks.codecs import Cosine
from dcfm_node.networks.settings import CosineSettings
from tests.training.settings import draws, manifest
from tests.unit.flow.test_sampling import RUN, C, teachers, weights

FIRST = torch.tensor([True, False])
"""The first of two numbers is given."""
CODEC = Cosine(CosineSettings(keep=3), None, (2, 8))


def identity(z: Tensor) -> Tensor:
    return z


def given_of(
    decode: Decode, size: int, mask: Tensor, values: Tensor, tolerance: float = 0.0
) -> Given:
    """As of a model whose numbers vary by 1, independently of each other."""
    drawn = math.sqrt((2 * size - 1) * (1 - LEAST) / 2) * torch.cat([torch.eye(size)] * 2)
    drawn[size:] *= -1
    inpainter = Inpainter(decode, drawn, torch.zeros(2 * size, 1, dtype=torch.int64), tolerance)
    return inpainter.given(mask, values)


def smooth(rows: int) -> Tensor:
    """Series that the codec holds exactly, (rows, 2, 8)."""
    return CODEC.decode(torch.randn(rows, 6, generator=draws()))


@pytest.mark.parametrize("t", [0.0, 0.5, 0.9])
def test_a_prediction_keeps_what_is_not_given(t: float) -> None:
    x, velocity = torch.randn(4, 2, generator=draws()), torch.randn(4, 2, generator=draws(1))
    values = torch.full((4, 2), 3.0)
    given = given_of(identity, 2, FIRST, values)
    at = torch.full((4,), t)
    clean = x + (1 - t) * given.towards(velocity, x, at)
    torch.testing.assert_close(clean[:, 0], values[:, 0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(clean[:, 1], (x + (1 - t) * velocity)[:, 1])


def test_more_tolerance_moves_less() -> None:
    x = torch.zeros(1, 2)
    reached = []
    for tolerance in (0.0, 0.3, 3.0):
        given = given_of(identity, 2, FIRST, torch.ones(1, 2), tolerance)
        reached.append(float(given.towards(x, x, torch.zeros(1))[0, 0]))
    assert reached == sorted(reached, reverse=True)
    assert reached[0] == pytest.approx(1.0, abs=1e-4)
    assert reached[1] == pytest.approx(1 / 1.09, abs=1e-4)


def test_a_codec_carries_what_is_given_to_the_rest() -> None:
    """Three frames determine a series of three frequencies, and all its other frames."""
    wanted = smooth(5)
    mask = torch.zeros(2, 8, dtype=torch.bool)
    mask[:, [0, 3, 7]] = True
    given = given_of(CODEC.decode, 6, mask, torch.where(mask, wanted, 9.0))
    x, t = torch.randn(5, 6, generator=draws(2)), torch.full((5,), 0.5)
    clean = x + 0.5 * given.towards(torch.zeros_like(x), x, t)
    torch.testing.assert_close(CODEC.decode(clean), wanted, rtol=1e-2, atol=1e-2)


def test_the_models_draws_carry_what_is_given_to_numbers_that_vary_with_it() -> None:
    """Regression within labels: their means, far apart on the other diagonal, say nothing."""
    first = torch.randn(4000, generator=draws())
    labels = torch.arange(4000)[:, None] % 2
    drawn = torch.stack([first, -0.5 * first], dim=1) + 20.0 * labels * torch.tensor([1.0, 1.0])
    given = Inpainter(identity, drawn, labels, 0.0).given(FIRST, torch.full((1, 2), 2.0))
    x = torch.zeros(1, 2)
    moved = given.towards(x, x, torch.zeros(1))
    torch.testing.assert_close(moved, torch.tensor([[2.0, -1.0]]), rtol=0.01, atol=0.01)


def test_few_draws_of_one_label_leave_every_number_some_room() -> None:
    one = torch.ones(1, 2), torch.zeros(1, 1, dtype=torch.int64)
    given = Inpainter(identity, *one, 0.0).given(FIRST, torch.full((1, 2), 2.0))
    moved = given.towards(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1))
    torch.testing.assert_close(moved, torch.tensor([[2.0, 0.0]]), rtol=0.01, atol=0.01)


def test_an_affine_decoder_may_add_something() -> None:
    given = given_of(lambda z: 2 * z + 5, 2, FIRST, torch.full((1, 2), 7.0))
    x = torch.zeros(1, 2)
    moved = given.towards(torch.zeros(1, 2), x, torch.zeros(1))
    torch.testing.assert_close(moved, torch.tensor([[1.0, 0.0]]), rtol=1e-4, atol=1e-4)


def test_other_decoders_are_refused() -> None:
    with pytest.raises(ValueError, match="affine"):
        given_of(lambda z: z.square(), 2, FIRST, torch.zeros(1, 2))


def test_every_way_of_sampling_draws_what_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.tensor([[0.5, 0.0], [-1.0, 0.0], [2.0, 0.0], [0.0, 0.0]])
    given = given_of(identity, 2, FIRST, values)
    run, experts = manifest(method={"solver_steps": 20}), teachers()
    drawn = {
        rule: sample(run, weights(0), C, composed=rule == "composed", seed=3, given=given)
        for rule in ("joint", "composed")
    }
    drawn["routed"] = sample_routed(run, experts, C, rule="joint", seed=3, given=given)
    routings: tuple[Routing, ...] = ("label", "energy")
    for routing in routings:
        drawn[routing] = sample_ensemble(
            run, experts, C, rule="joint", routing=routing, seed=3, given=given
        )
    free = sample(run, weights(0), C, composed=False, seed=3)
    for way, x in drawn.items():
        torch.testing.assert_close(x[:, 0], values[:, 0], rtol=0, atol=0.05, msg=way)
    assert not torch.allclose(free[:, 0], values[:, 0], atol=0.05)
    torch.testing.assert_close(drawn["joint"][:, 1].sign(), free[:, 1].sign())
    monkeypatch.setattr(sampling, "CHUNK", 3)
    again = sample(run, weights(0), C, composed=False, seed=3, given=given)
    torch.testing.assert_close(again, drawn["joint"])


def test_nothing_given_changes_nothing() -> None:
    free = sample(RUN, weights(0), C, composed=False, seed=3)
    mask = torch.zeros(2, dtype=torch.bool)
    given = given_of(identity, 2, mask, torch.ones(4, 2))
    torch.testing.assert_close(
        sample(RUN, weights(0), C, composed=False, seed=3, given=given), free
    )
