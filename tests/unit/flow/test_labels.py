import torch
from hypothesis import given
from hypothesis import strategies as st

from dcfm_node.flow.labels import (
    count,
    draw,
    from_product,
    marginal_terms,
    mask,
    null_label,
    pair_terms,
)
from dcfm_node.records.manifest import Masks

SIZES = (3, 4, 2)
NULL = null_label(SIZES)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def labels(rows: int) -> torch.Tensor:
    return torch.stack([torch.randint(s, (rows,), generator=draws(s)) for s in SIZES], dim=1)


def test_masking_frequencies_are_those_of_equation_8() -> None:
    c = labels(40_000)
    masked = mask(c, NULL, Masks(full=6, marginal=3, null=1), draws())
    kept = masked != NULL
    assert torch.equal(masked[kept], c[kept])
    how_many = kept.sum(dim=1)
    assert not (how_many == 2).any()
    for kept_count, share in ((3, 0.6), (1, 0.3), (0, 0.1)):
        assert abs((how_many == kept_count).float().mean().item() - share) < 0.01
    for i in range(3):
        only = kept[how_many == 1][:, i].float().mean().item()
        assert abs(only - 1 / 3) < 0.02


def test_one_attribute_is_full_and_marginal_alike() -> None:
    masked = mask(torch.zeros(1000, 1, dtype=torch.int64), torch.tensor([2]), Masks(), draws())
    assert abs((masked == 2).float().mean().item() - 0.1) < 0.04


def test_pair_terms_are_the_pair_nothing_and_each_alone() -> None:
    c = labels(500)
    terms = pair_terms(c, NULL, draws())
    kept = terms != NULL
    assert kept.sum(dim=-1).unique(dim=0).tolist() == [[2, 0, 1, 1]]
    assert torch.equal(kept[:, 0], kept[:, 2] | kept[:, 3])
    assert not (kept[:, 2] & kept[:, 3]).any()
    assert torch.equal(torch.where(kept[:, 0], c, NULL), terms[:, 0])
    assert len(kept[:, 0].unique(dim=0)) == 3, "every pair of attributes occurs"


def test_marginal_terms_are_nothing_and_each_value() -> None:
    c = torch.tensor([[1, 3, 0]])
    assert marginal_terms(c, NULL).tolist() == [[[3, 4, 2], [1, 4, 2], [3, 3, 2], [3, 4, 0]]]


@given(st.floats(0, 1), st.integers(0, 2**31))
def test_product_labels_are_in_range_and_never_null(share: float, seed: int) -> None:
    made = from_product(labels(64), NULL, share, draws(seed))
    assert (made >= 0).all()
    assert (made < NULL).all()


def test_product_share_is_the_share_of_rows_replaced() -> None:
    c = torch.zeros(20_000, 3, dtype=torch.int64)
    assert torch.equal(from_product(c, NULL, 0.0, draws()), c)
    changed = (from_product(c, NULL, 0.5, draws()) != 0).any(dim=1).float().mean().item()
    assert abs(changed - 0.5 * (1 - 1 / 24)) < 0.02


def test_draw_follows_the_counts() -> None:
    counts = {(0, 1, 0): 1, (2, 0, 1): 3, (1, 1, 1): 0}
    found = count(draw(counts, 20_000, draws()))
    assert set(found) == {(0, 1, 0), (2, 0, 1)}
    assert abs(found[0, 1, 0] / 20_000 - 0.25) < 0.02


def test_count_is_what_a_silo_publishes() -> None:
    assert count(torch.tensor([[0, 1], [2, 1], [0, 1]])) == {(0, 1): 2, (2, 1): 1}
