"""The penalty is zero for fields that are additive in the attributes, and for no others."""

from itertools import product
from math import prod

import pytest
import torch

from dcfm_node.flow.labels import null_label
from dcfm_node.flow.sampling import composed
from tests.training.cases import SHAPES, SIZES, Case, case
from tests.training.literal import Label, terms
from tests.training.lookup import Lookup, additive
from tests.training.settings import draws

EVERYWHERE = 1.0
"""The share of labels from the product space that lets every combination occur."""


def toy(n: int, net: Lookup) -> Case:
    return case("local", n, batch=300, share=EVERYWHERE, nets=[net] * 4)


def joint(n: int) -> list[Label]:
    """Every label that gives two attributes or more."""
    null = SIZES[n]
    labels = product(*(range(size + 1) for size in null))
    return [c for c in labels if sum(x != y for x, y in zip(c, null, strict=True)) > 1]


@pytest.mark.parametrize("n", [2, 3])
def test_an_additive_field_has_no_penalty_and_composes_to_itself(n: int) -> None:
    net = additive(SIZES[n], SHAPES[n])
    assert toy(n, net).step().ci.item() < 1e-10
    c = torch.tensor(list(product(*map(range, SIZES[n]))))
    x, t = torch.randn(len(c), *SHAPES[n], generator=draws()), torch.rand(len(c), generator=draws())
    torch.testing.assert_close(
        composed(toy(n, net).source.path, net, null_label(SIZES[n]))(x, t, c), net(x, t, c)
    )


@pytest.mark.parametrize("n", [2, 3])
def test_one_interaction_costs_its_square(n: int) -> None:
    """ε at one label: the penalty is the mean of ((1 + t) ε)² over the rows that ask for it."""
    for label in joint(n):
        net = additive(SIZES[n], SHAPES[n])
        net.table.data[label] += 0.1
        step = toy(n, net).step()
        hit = [
            (0.1 * (1 + row.t.item())) ** 2
            for row in step.penalised
            if label in terms(row.c, SIZES[n], row.blocks)
        ]
        assert hit
        assert step.ci.item() == pytest.approx(sum(hit) / len(step.penalised), rel=1e-3)


@pytest.mark.parametrize("n", [2, 3])
def test_only_additive_fields_are_free(n: int) -> None:
    """The penalty is a quadratic form of the table. Additive fields lie in its kernel, and its rank
    is the number of joint labels: with ∅ and the marginals given, zero leaves no choice."""
    net = Lookup(SIZES[n], SHAPES[n], 0)
    ci = toy(n, net).step().ci
    (slope,) = torch.autograd.grad(ci, net.table, create_graph=True)
    rows = [torch.autograd.grad(s, net.table, retain_graph=True)[0] for s in slope.flatten()]
    form = torch.stack(rows).flatten(1)
    kernel = additive(SIZES[n], SHAPES[n]).table.detach().flatten()
    assert (form @ kernel).abs().max() < 1e-5
    assert torch.linalg.matrix_rank(form, rtol=1e-4) == len(joint(n)) * prod(SHAPES[n])
