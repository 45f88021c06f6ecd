"""Membership inference on networks of which we know what they remember."""

import pytest
import torch
from torch import Tensor

from dcfm_node.flow.losses import VelocityField
from dcfm_node.flow.membership import Scores, errors, inferred, matched
from dcfm_node.flow.stages import EncodedSamples
from dcfm_node.paths.linear import LinearPath
from dcfm_node.paths.settings import LinearPathSettings

PATH = LinearPath(LinearPathSettings(), "velocity")
SIZE = 6


def drawn(many: int, seed: int) -> EncodedSamples:
    x = torch.randn(many, SIZE, generator=torch.Generator().manual_seed(seed))
    return EncodedSamples(x, torch.zeros(many, 1, dtype=torch.int64))


def remembering(members: Tensor) -> VelocityField:
    """The field that has the least error on these samples: it draws nothing but copies of them."""

    def field(x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        rest = (1 - t).unsqueeze(1)
        apart = (x.unsqueeze(1) - t.reshape(-1, 1, 1) * members).square().sum(dim=2)
        shares = (-apart / (2 * rest.square())).softmax(dim=1)
        return (shares @ members - x) / rest

    return field


def of(field: VelocityField, members: EncodedSamples, others: EncodedSamples) -> Scores:
    return Scores(-errors(PATH, field, members), -errors(PATH, field, others))


def test_samples_that_a_network_memorised_are_told_from_others() -> None:
    members, others = drawn(20, 1), drawn(200, 2)
    found = inferred([of(remembering(members.x), members, others)])
    assert found is not None
    assert found.auc.value > 0.99
    assert found.rates[0.01].value > 0.9
    assert found.rates[0.1].low > 0.9


def test_samples_that_a_network_never_saw_are_not() -> None:
    """On several draws, because one has few false positives at a rate of 1 %."""
    field = remembering(drawn(20, 1).x)
    found = inferred([of(field, drawn(300, 2 * k), drawn(300, 2 * k + 1)) for k in range(2, 12)])
    assert found is not None
    assert found.auc.low < 0.5 < found.auc.high
    assert found.auc.high - found.auc.low < 0.1
    for rate, told in found.rates.items():
        assert told.value == pytest.approx(rate, abs=rate)
        assert told.low <= told.value <= told.high


def test_a_reference_takes_out_how_hard_samples_are() -> None:
    """A network that learned the law, and remembers a little, is seen through only beside one
    that learned the law alone."""
    members, others = drawn(150, 1), drawn(150, 2)
    members.x.mul_(torch.linspace(0.2, 3.0, 150).unsqueeze(1))
    others.x.mul_(torch.linspace(0.2, 3.0, 150).unsqueeze(1))
    copy = remembering(members.x)

    def law(x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        return torch.zeros_like(x)

    def network(x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        return 0.1 * copy(x, t, c)

    plain = of(network, members, others)
    beside = of(law, members, others)
    calibrated = Scores(plain.members - beside.members, plain.others - beside.others)
    found, better = inferred([plain]), inferred([calibrated])
    assert found is not None
    assert better is not None
    assert better.auc.value > found.auc.value + 0.1


def test_the_error_of_a_sample_does_not_depend_on_the_others() -> None:
    field, samples = remembering(drawn(20, 1).x), drawn(70, 2)
    alone = EncodedSamples(samples.x[33:34], samples.c[33:34])
    whole = errors(PATH, field, samples)
    assert whole[33].item() == pytest.approx(errors(PATH, field, alone).item(), rel=1e-5)
    assert len(whole) == 70


def test_the_rate_is_that_of_samples_above_the_threshold() -> None:
    others = torch.arange(1.0, 100.0)
    members = torch.tensor([98.0, 98.5, 99.5, 100.0] * 5)
    found = inferred([Scores(members, others)])
    assert found is not None
    assert found.rates[0.01].value == 0.5, "above the highest of 99 others"
    assert found.rates[0.1].value == 1.0
    assert found.auc.value == pytest.approx((97.5 + 98 + 99 + 99) / 4 / 99)


def test_too_few_samples_give_no_figure() -> None:
    assert inferred([Scores(torch.zeros(30), torch.zeros(19))]) is None
    found = inferred([Scores(torch.zeros(30), torch.zeros(98))])
    assert found is not None
    assert found.rates.keys() == {0.1}
    assert (found.auc.value, found.rates[0.1].value) == (0.5, 0.0)


def test_samples_of_one_group_are_no_independent_evidence() -> None:
    scores = torch.randn(100, generator=torch.Generator().manual_seed(0))
    groups = torch.arange(20).repeat_interleave(5)
    shared = torch.randn(20, generator=torch.Generator().manual_seed(1))[groups]
    alone = inferred([Scores(shared, scores)])
    grouped = inferred([Scores(shared, scores, groups, torch.arange(100))])
    assert alone is not None
    assert grouped is not None
    assert alone.auc.value == grouped.auc.value
    assert grouped.auc.high - grouped.auc.low > 1.3 * (alone.auc.high - alone.auc.low)


def test_members_and_others_have_the_same_combinations() -> None:
    members = torch.tensor([[0, 0]] * 50 + [[0, 1]] * 30 + [[1, 1]] * 2)
    others = torch.tensor([[0, 0]] * 5 + [[1, 1]] * 4 + [[1, 0]])
    rows, held = matched(members, others)
    chosen = [sorted(map(tuple, part.tolist())) for part in (members[rows], others[held])]
    assert chosen[0] == chosen[1] == [(0, 0)] * 5 + [(1, 1)] * 2
    assert len(set(rows.tolist())) == 7
