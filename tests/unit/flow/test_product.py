"""Products of Gaussian laws in units of their own, against their closed forms."""

from collections.abc import Callable
from typing import Literal

import pytest
import torch
from torch import Tensor

from dcfm_node.flow import product
from dcfm_node.flow.losses import VelocityField
from dcfm_node.flow.product import Member, Product, sample
from dcfm_node.flow.sampling import Corrector
from dcfm_node.paths.base import path_of
from dcfm_node.paths.discrete import DiscretePath
from dcfm_node.paths.settings import DiscretePathSettings
from tests.training.settings import manifest

N = 2_000
A = (torch.tensor([1.0, -0.5]), torch.tensor([0.6, 1.2]))
"""Mean and deviations of a law in the composition's units."""
B = (torch.tensor([-0.4, 0.8]), torch.tensor([1.0, 0.5]))
UNITS = ((torch.tensor([0.3, 0.0]), torch.tensor([0.5, 2.0])), (torch.zeros(2), torch.ones(2)))
"""What the first member standardises by, and what the second does."""


def field(mean: Tensor, deviation: Tensor) -> VelocityField:
    """The exact velocity of a Gaussian law of independent numbers."""

    def velocity(x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        t = t[:, None]
        slope = (t * deviation**2 - (1 - t)) / ((1 - t) ** 2 + (t * deviation) ** 2)
        return mean + slope * (x - t * mean)

    return velocity


def member(law: tuple[Tensor, Tensor], units: tuple[Tensor, Tensor], w: float = 1.0) -> Member:
    (mean, deviation), (centre, unit) = law, units
    one = torch.full((N, 1), w)
    labels = torch.zeros(N, 1, 1, dtype=torch.int64)
    inner = field((mean - centre) / unit, deviation / unit)
    return Member(inner, labels, one, one, (0.0, 1.0), centre, unit)


def drawn(
    *members: Member, steps: int = 64, correct: Literal["langevin", "mala", "smc"] | None = "smc"
) -> Tensor:
    made = Product(path_of(manifest()), members, (2,))
    how = None if correct is None else Corrector(correct)
    groups = torch.zeros(N, dtype=torch.int64)
    return sample(made, groups, steps=steps, solver="euler", seed=0, correct=how)


def closed(*laws: tuple[tuple[Tensor, Tensor], float]) -> tuple[Tensor, Tensor]:
    """Mean and deviations of Π_j N(m_j, s_j²)^w_j."""
    precision = sum((w / s**2 for (_, s), w in laws), torch.zeros(2))
    return sum((w * m / s**2 for (m, s), w in laws), torch.zeros(2)) / precision, precision**-0.5


@pytest.mark.parametrize("correct", ["smc", "langevin", "mala"])
@pytest.mark.parametrize("units", [UNITS, UNITS[::-1], (UNITS[1], UNITS[1])])
def test_a_product_has_the_mean_and_covariance_of_its_closed_form(
    units: tuple[tuple[Tensor, Tensor], ...], correct: Literal["langevin", "mala", "smc"]
) -> None:
    x = drawn(member(A, units[0]), member(B, units[1]), correct=correct)
    mean, deviation = closed((A, 1.0), (B, 1.0))
    tolerance = 0.06 if correct == "smc" else 0.2  # moves alone leave some bias
    torch.testing.assert_close(x.mean(dim=0), mean, atol=tolerance, rtol=0)
    torch.testing.assert_close(x.std(dim=0), deviation, atol=tolerance, rtol=0)
    assert abs(x.T.corrcoef()[0, 1]) < 0.06


def test_the_flow_alone_is_exact_for_what_members_standardise_by() -> None:
    """Two members whose data have the moments that they standardise by."""
    x = drawn(member(A, A), member(B, B), correct=None, steps=128)
    mean, deviation = closed((A, 1.0), (B, 1.0))
    torch.testing.assert_close(x.mean(dim=0), mean, atol=0.03, rtol=0)
    torch.testing.assert_close(x.std(dim=0), deviation, atol=0.03, rtol=0)


def test_one_member_in_any_units_has_its_own_law() -> None:
    x = drawn(member(A, UNITS[0]), correct=None, steps=128)
    torch.testing.assert_close(x.mean(dim=0), A[0], atol=0.03, rtol=0)
    torch.testing.assert_close(x.std(dim=0), A[1], atol=0.03, rtol=0)


def test_a_law_is_divided_by_a_power_of_another() -> None:
    wide = (torch.tensor([0.5, 0.5]), torch.tensor([2.0, 2.0]))
    x = drawn(member(A, UNITS[0]), member(wide, (torch.zeros(2), torch.full((2,), 3.0)), -0.4))
    mean, deviation = closed((A, 1.0), (wide, -0.4))
    torch.testing.assert_close(x.mean(dim=0), mean, atol=0.08, rtol=0)
    torch.testing.assert_close(x.std(dim=0), deviation, atol=0.08, rtol=0)


def test_weights_that_leave_no_density_are_refused() -> None:
    with pytest.raises(ValueError, match="no density"):
        drawn(member(A, UNITS[1]), member(B, UNITS[1], -1.0))


def test_posteriors_of_tokens_are_multiplied_without_counting_the_noise_twice() -> None:
    """Independent places: the product of two laws of one token is known."""
    settings = DiscretePathSettings(tokens=3, source="uniform")
    path = DiscretePath(settings, "sample")
    logs = (torch.tensor([0.6, 0.3, 0.1]), torch.tensor([0.1, 0.3, 0.6]))

    def member_of(p: Tensor) -> Member:
        def predicted(x: Tensor, t: Tensor, c: Tensor) -> Tensor:
            return path.predicted(p.log().expand(*x.shape, 3), x, t)

        one, labels = torch.ones(N, 1), torch.zeros(N, 1, 1, dtype=torch.int64)
        nothing = torch.zeros(()), torch.ones(())
        return Member(predicted, labels, one, one, (0.0, 1.0), *nothing)

    made = Product(path, [member_of(p) for p in logs], (2,))
    x = sample(made, torch.zeros(N, dtype=torch.int64), steps=20, solver="tau-leaping", seed=0)
    found = torch.stack([(x == token).float().mean() for token in range(3)])
    wanted = logs[0] * logs[1] / (logs[0] * logs[1]).sum()
    torch.testing.assert_close(found, wanted, atol=0.03, rtol=0)


def test_the_noise_of_many_samples_takes_the_memory_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Moments of laws broadcast over all numbers: of all samples at once they would be many copies
    that no estimate counts."""
    seen, sums = [], Product._sums

    def counted(self: Product, of: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        seen.append(len(self.members[0].labels))
        return sums(self, of)

    monkeypatch.setattr(Product, "_sums", counted)
    monkeypatch.setattr(product, "CHUNK", 32)
    drawn(member(A, UNITS[0]), member(B, UNITS[1]), steps=2, correct=None)
    assert max(seen) == 32
