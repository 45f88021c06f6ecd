"""Composed and routed sampling: against the literal equations, and where the flow is known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import pytest
import torch
from torch import Tensor

from dcfm_node.flow.guidance import Guide
from dcfm_node.flow.labels import marginal_terms, null_label
from dcfm_node.flow.losses import VelocityField
from dcfm_node.flow.routing import Router
from dcfm_node.flow.sampling import Teacher, composed, routed, sample, sample_routed
from dcfm_node.paths.base import path_of
from dcfm_node.paths.solvers import integrate
from tests.training import literal
from tests.training.cases import COUNTS, SHAPES, SIZES, Case, case
from tests.training.literal import Counts, Label
from tests.training.settings import draws, manifest

PATH = path_of(manifest())

PARTIAL = {
    2: ({(0, 0): 6, (0, 1): 2}, {(0, 0): 1, (1, 0): 5}),
    3: ({(0, 0, 0): 4, (0, 1, 1): 3}, {(1, 1, 0): 5}),
}
"""Counts of two silos that leave a value of the second attribute to nobody."""


def everything(n: int) -> Tensor:
    """Every combination of the product space."""
    return torch.tensor(list(product(*map(range, SIZES[n]))))


def at(n: int, rows: int) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, *SHAPES[n], generator=draws(1)), torch.rand(rows, generator=draws(2))


def constant(w: float) -> Guide:
    return lambda c, t: torch.full(c.shape, w)


@pytest.mark.parametrize("predict", ["velocity", "sample"])
@pytest.mark.parametrize("n", [2, 3])
def test_composed_field_is_equation_5(n: int, predict: str) -> None:
    it, c = case("local", n, predict), everything(n)
    x, t = at(n, len(c))
    for w in (1.0, 2.5):
        made = composed(PATH, it.own, null_label(it.null), constant(w))(x, t, c)
        for r, label in enumerate(c.tolist()):
            expected = literal.composed(it.own, x[r], t[r], tuple(label), it.null, w)
            torch.testing.assert_close(made[r], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("predict", ["velocity", "sample"])
@pytest.mark.parametrize("n", [2, 3])
def test_routed_field_mixes_every_term_by_label_counts(n: int, predict: str) -> None:
    it, c = case("distil", n, predict), everything(n)
    x, t = at(n, len(c))
    made = routed(PATH, it.experts, Router(COUNTS[n], it.null), null_label(it.null))(x, t, c)
    for r, label in enumerate(c.tolist()):
        expected = literal.routed(it.experts, COUNTS[n], x[r], t[r], tuple(label), it.null)
        torch.testing.assert_close(made[r], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("counts", [COUNTS, PARTIAL], ids=["all values held", "one held by nobody"])
@pytest.mark.parametrize("n", [2, 3])
def test_shares_of_the_experts(n: int, counts: dict[int, tuple[Counts, ...]]) -> None:
    router, null, c = Router(counts[n], SIZES[n]), SIZES[n], everything(n)
    joint = [literal.joint_shares(counts[n], tuple(label), null) for label in c.tolist()]
    torch.testing.assert_close(router.joint_weights(c), _floats(joint))
    terms = marginal_terms(c, null_label(null)).flatten(0, 1)
    marginal = [literal.marginal_shares(counts[n], tuple(label), null) for label in terms.tolist()]
    torch.testing.assert_close(router.marginal_weights(terms), _floats(marginal))


def _floats(shares: list[list[literal.Fraction]]) -> Tensor:
    return torch.tensor([[float(share) for share in row] for row in shares])


def teachers(it: Case, n: int) -> list[Teacher]:
    return [
        Teacher(f"silo-{k}", net.net.state_dict(), COUNTS[n][k]) for k, net in enumerate(it.experts)
    ]


@pytest.mark.parametrize("n", [2, 3])
def test_samples_are_the_literal_paths_ends(n: int) -> None:
    """Eqs. 3 and 5 by Heun's rule from the seed's noise, from experts and from a student."""
    it, c = case("distil", n, "sample"), everything(n)
    noise = torch.randn(len(c), *SHAPES[n], generator=torch.Generator().manual_seed(3))
    from_experts = sample_routed(it.run, teachers(it, n), c, rule="composed", seed=3)
    weights = it.own.net.state_dict()
    from_student = sample(it.run.guided(1.5, 1.5), weights, c, composed=True, seed=3)
    direct = sample(it.run, weights, c, composed=False, seed=3)

    def mixture(x: Tensor, t: Tensor, label: Label) -> Tensor:
        return literal.routed(it.experts, COUNTS[n], x, t, label, it.null)

    def guided(x: Tensor, t: Tensor, label: Label) -> Tensor:
        return literal.composed(it.own, x, t, label, it.null, 1.5)

    def joint(x: Tensor, t: Tensor, label: Label) -> Tensor:
        return literal.velocity(it.own, x, t, label)

    for made, field in ((from_experts, mixture), (from_student, guided), (direct, joint)):
        for r, label in enumerate(c.tolist()):
            expected = literal.heun_path(field, noise[r], tuple(label), 3)[-1]
            torch.testing.assert_close(made[r], expected, rtol=1e-3, atol=1e-3)


@dataclass(frozen=True)
class Gaussians:
    """The exact velocity of N(m(c), s(c)²) on the linear path, derived in test_solvers.

    Attributes:
        means: m(c) = 0.5 + Σ_i means[i][c_i]; a null token is the last and adds nothing.
        spreads: s(c) = 2 Π_i spreads[i][c_i].
        held: the values this expert has seen; asked for another it answers nonsense.
    """

    means: Sequence[Tensor]
    spreads: Sequence[Tensor]
    held: Counts | None = None

    def mean(self, c: Tensor) -> Tensor:
        return 0.5 + sum(table[c[:, i]] for i, table in enumerate(self.means))

    def spread(self, c: Tensor) -> Tensor:
        return 2 * torch.stack([table[c[:, i]] for i, table in enumerate(self.spreads)]).prod(dim=0)

    def __call__(self, x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        m, s, t = self.mean(c)[:, None], self.spread(c)[:, None], t[:, None]
        v = m + (t * s**2 - (1 - t)) / ((1 - t) ** 2 + (t * s) ** 2) * (x - t * m)
        unseen = [
            self.held is not None and literal.known(self.held, tuple(label), SIZES[2]) == 0
            for label in c.tolist()
        ]
        return torch.where(torch.tensor(unseen)[:, None], 1e3, v)


MEANS = (torch.tensor([-1.5, 1.0, 0.0]), torch.tensor([0.7, -0.4, 2.0, 0.0]))
SPREADS = (torch.tensor([0.3, 0.6, 1.0]), torch.tensor([1.5, 0.8, 0.4, 1.0]))
NOTHING = (torch.zeros(3), torch.zeros(4))
ALIKE = (torch.ones(3), torch.ones(4))
MOVED, SPREAD = Gaussians(MEANS, ALIKE), Gaussians(NOTHING, SPREADS)


def ends(field: VelocityField) -> tuple[Tensor, Tensor]:
    """Mean and spread of what an affine flow makes of noise, for every combination."""
    c = everything(2)

    def low_or_high(x0: float) -> Tensor:
        start = torch.full((len(c), 1), x0)
        return integrate(lambda x, t: field(x, t, c), start, 60, "rk4").squeeze(1)

    low, high = low_or_high(-1.0), low_or_high(1.0)
    return (low + high) / 2, (high - low) / 2


@pytest.mark.parametrize("truth", [MOVED, SPREAD], ids=["means", "spreads"])
def test_composed_gaussians_are_where_all_attributes_put_them(truth: Gaussians) -> None:
    """Of equal spreads the means add up, of equal means the spreads multiply: m_1 + m_2 - m_0 and
    s_1 s_2 / s_0, which is m(c) and s(c)."""
    c = everything(2)
    mean, spread = ends(composed(PATH, truth, null_label(SIZES[2])))
    torch.testing.assert_close(mean, truth.mean(c), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(spread, truth.spread(c), rtol=1e-4, atol=1e-4)


def test_guidance_moves_gaussians_further_from_their_common_mean() -> None:
    mean, spread = ends(composed(PATH, MOVED, null_label(SIZES[2]), constant(1.5)))
    torch.testing.assert_close(
        mean, 0.5 + 1.5 * (MOVED.mean(everything(2)) - 0.5), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(spread, torch.full((6,), 2.0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("truth", [MOVED, SPREAD], ids=["means", "spreads"])
def test_routed_experts_draw_combinations_that_no_silo_has(truth: Gaussians) -> None:
    """Exactly, although each knows only its own silo's values."""
    c = everything(2)
    experts = [replace(truth, held=silo) for silo in COUNTS[2]]
    for k, expert in enumerate(experts):
        mean, _ = ends(composed(PATH, expert, null_label(SIZES[2])))
        assert not torch.allclose(mean, truth.mean(c), atol=1), f"expert {k} alone knows enough"
    mean, spread = ends(routed(PATH, experts, Router(COUNTS[2], SIZES[2]), null_label(SIZES[2])))
    torch.testing.assert_close(mean, truth.mean(c), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(spread, truth.spread(c), rtol=1e-4, atol=1e-4)
