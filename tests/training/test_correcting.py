"""Composed Gaussians in closed form: what the flow of Eq. 5 gets wrong, and what corrects it.

The law q ∝ Π_j N(m_j, s_j²)^w_j has precision P = Σ_j w_j / s_j² and mean Σ_j w_j m_j / (s_j² P).
The flow of Eq. 5 is affine in the noise, and ends with a deviation of Π_j s_j^w_j.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from dcfm_node.flow.correcting import Terms, corrected, resampled, sample_corrected
from dcfm_node.flow.networks import build
from dcfm_node.flow.sampling import Corrector, Sampler, sample
from dcfm_node.paths.solvers import integrate
from tests.training.settings import draws, manifest

ROWS = 20_000


@dataclass(frozen=True)
class Law:
    """Terms with means, deviations and weights; the first is that of all data."""

    means: Sequence[float]
    deviations: Sequence[float]
    weights: Sequence[float]

    @property
    def terms(self) -> Terms:
        m, s, w = (
            torch.tensor(part, dtype=torch.float64)
            for part in (self.means, self.deviations, self.weights)
        )

        def terms(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            t = t[:, None]
            slope = (t * s**2 - (1 - t)) / ((1 - t) ** 2 + (t * s) ** 2)
            return (m + slope * (x - t * m)).unsqueeze(2), w

        return terms

    @property
    def moments(self) -> tuple[float, float]:
        """Mean and deviation."""
        parts = list(zip(self.means, self.deviations, self.weights, strict=True))
        precision = sum(w / s**2 for _, s, w in parts)
        return sum(w * m / s**2 for m, s, w in parts) / precision, precision**-0.5

    def w2(self, x: Tensor) -> float:
        """Exact W2 to the Gaussian with the moments of samples x, from the law."""
        mean, deviation = self.moments
        return math.hypot(x.mean().item() - mean, x.std().item() - deviation)

    def drawn(self, steps: int, how: Corrector, rows: int = ROWS) -> Tensor:
        x0 = torch.randn(rows, 1, generator=draws(), dtype=torch.float64)
        groups = torch.zeros(rows, dtype=torch.int64)
        for x in corrected(self.terms, groups, x0, steps, how=how, draws=draws(1)):
            state = x
        return state

    def flow(self, x0: Tensor, steps: int) -> Tensor:
        def field(x: Tensor, t: Tensor) -> Tensor:
            each, w = self.terms(x, t)
            return (w[:, None] * each).sum(dim=1)

        return integrate(field, x0, steps, "rk4")


PRODUCT = Law((0.0, 1.0, -0.5), (1.5, 0.6, 1.0), (-1.0, 1.0, 1.0))
GUIDED = Law((0.0, 1.0), (1.5, 0.6), (-0.6, 1.6))
NEGATION = Law((0.0, 1.0), (1.0, 0.8), (1.5, -0.5))
LAWS = pytest.mark.parametrize("law", [PRODUCT, GUIDED, NEGATION], ids=["product", "guided", "not"])


@LAWS
def test_the_composed_flow_ends_at_another_law_whatever_the_steps(law: Law) -> None:
    x0 = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    low, high = law.flow(x0, 200).flatten()
    deviation = math.prod(s**w for s, w in zip(law.deviations, law.weights, strict=True))
    assert ((high - low) / 2).item() == pytest.approx(deviation, rel=1e-3)
    mean, right = law.moments
    assert abs(((high + low) / 2).item() - mean) > 0.05 or abs(deviation - right) > 0.05


@LAWS
@pytest.mark.parametrize(
    ("how", "steps"),
    [
        (Corrector("langevin", 8, 0.2), 100),
        (Corrector("mala", 8, 0.5), 100),
        (Corrector("smc", 0), 100),
        (Corrector("smc", 1, 0.2), 50),
    ],
    ids=["langevin", "mala", "smc alone", "smc"],
)
def test_a_corrector_has_the_moments_of_the_composed_law(
    law: Law, how: Corrector, steps: int
) -> None:
    biased = law.w2(law.flow(torch.randn(ROWS, 1, generator=draws(), dtype=torch.float64), 50))
    assert law.w2(law.drawn(steps, how)) < max(0.12, 0.4 * biased) < 0.7 * biased


def test_weights_of_one_law_are_equal_and_nothing_is_drawn_anew() -> None:
    """A single term has no bias: its rate is 0, and the flow stays as it is."""
    one = Law((1.0,), (0.6,), (1.0,))
    x0 = torch.randn(100, 1, generator=draws(), dtype=torch.float64)
    found = one.drawn(20, Corrector("smc", 0), rows=100)
    flow = integrate(lambda x, t: one.terms(x, t)[0][:, 0], x0, 20, "euler")
    torch.testing.assert_close(found.sort(dim=0).values, flow.sort(dim=0).values)


def test_sequential_monte_carlo_is_of_first_order_in_the_step() -> None:
    """The weights are exact in continuous time, so halving the step halves the error."""
    far = [PRODUCT.w2(PRODUCT.drawn(steps, Corrector("smc", 0), 200_000)) for steps in (10, 20, 40)]
    assert math.log2(far[0] / far[2]) / 2 == pytest.approx(1.0, abs=0.3)


def test_a_mixture_is_drawn_by_drawing_one_of_its_parts() -> None:
    """As --where a=1 or a=2 does: moments and quantiles are the mixture's."""
    parts = [Law((m,), (s,), (1.0,)) for m, s in ((-1.0, 0.5), (2.0, 0.3))]
    x0 = torch.randn(ROWS, 1, generator=draws(), dtype=torch.float64)
    halves = [part.flow(half, 50) for part, half in zip(parts, x0.chunk(2), strict=True)]
    drawn = torch.cat(halves)
    variance = (0.5**2 + 0.3**2) / 2 + 1.5**2
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.02)
    assert drawn.std().item() == pytest.approx(variance**0.5, rel=0.02)
    normal = torch.distributions.Normal
    cumulative = (normal(-1.0, 0.5).cdf(drawn) + normal(2.0, 0.3).cdf(drawn)).sort(dim=0).values / 2
    levels = (torch.arange(ROWS)[:, None] + 0.5) / ROWS
    assert (cumulative - levels).abs().max() < 1.6 / ROWS**0.5


def test_particles_are_drawn_anew_within_their_group_in_proportion_to_weights() -> None:
    x = torch.arange(6.0)[:, None]
    weight = torch.tensor([0.0, 0.0, 0.0, 50.0, 0.0, 0.0])
    groups = torch.tensor([0, 1, 0, 1, 0, 1])
    found, left = resampled(x, weight, groups, draws())
    assert found[[0, 2, 4]].flatten().tolist() == [0.0, 2.0, 4.0]
    assert found[[1, 3, 5]].flatten().tolist() == [3.0, 3.0, 3.0]
    assert left.tolist() == [0.0] * 6
    many = torch.zeros(1000, dtype=torch.int64)
    heavy = torch.randperm(1000, generator=draws()).remainder(2).double()
    light, x = heavy.log1p(), heavy[:, None]
    share = resampled(x, light, many, draws(), always=True)[0].mean().item()
    assert share == pytest.approx(2 / 3, abs=0.03)


def test_a_students_samples_depend_on_the_seed_and_on_nothing_but_its_labels() -> None:
    run = manifest(method={"solver_steps": 5}).guided(1.4, 1.4)
    weights = build(run).state_dict()
    c = torch.tensor([(0, 0), (1, 1)] * 20)

    def draw(seed: int, how: Corrector) -> Tensor:
        sampler = Sampler(correct=how)
        return sample_corrected(run, weights, c, counts=None, seed=seed, sampler=sampler)

    for kind in ("langevin", "mala", "smc"):
        assert torch.equal(draw(1, Corrector(kind)), draw(1, Corrector(kind)))
        assert not torch.equal(draw(1, Corrector(kind)), draw(2, Corrector(kind)))
    still = draw(1, Corrector("langevin", 0))
    plain = sample(
        run.model_copy(update={"method": run.method.model_copy(update={"solver": "euler"})}),
        weights,
        c,
        composed=True,
        seed=1,
    )
    torch.testing.assert_close(still, plain)
    with pytest.raises(ValueError, match="hold at all times"):
        part = run.method.guidance.model_copy(update={"from_t": 0.5})
        method = run.method.model_copy(update={"guidance": part})
        sample_corrected(
            run.model_copy(update={"method": method}),
            weights,
            c,
            counts=None,
            seed=1,
            sampler=Sampler(correct=Corrector("smc")),
        )
