import torch
from hypothesis import given
from hypothesis import strategies as st

from dcfm_node.flow.labels import (
    block_terms,
    count,
    draw,
    from_product,
    marginal_terms,
    mask,
    null_label,
)
from dcfm_node.records.settings import Masks

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


def test_block_terms_are_two_disjoint_blocks_nothing_and_each_alone() -> None:
    c = labels(4_000)
    terms = block_terms(c, NULL, draws())
    kept = terms != NULL
    assert torch.equal(kept[:, 0], kept[:, 2] | kept[:, 3])
    assert not (kept[:, 2] & kept[:, 3]).any()
    assert not kept[:, 1].any()
    assert kept[:, 2:].any(dim=-1).all(), "no block is empty"
    assert torch.equal(torch.where(kept[:, 0], c, NULL), terms[:, 0])
    assert len(kept[:, 2:].unique(dim=0)) == 12, "every pair of blocks of three attributes occurs"


def test_half_of_the_blocks_and_more_make_up_the_full_label() -> None:
    kept = block_terms(labels(20_000), NULL, draws())[:, 0] != NULL
    full = kept.all(dim=-1).float().mean().item()
    assert abs(full - (0.5 + 0.5 * 0.5)) < 0.02, "three attributes: half of the rest are full too"


def test_two_attributes_give_equation_10() -> None:
    c = torch.randint(3, (50, 2), generator=draws())
    terms = block_terms(c, torch.tensor([3, 3]), draws())
    assert torch.equal(terms[:, 0], c)
    assert (terms[:, 1] == 3).all()
    singles = {tuple(row) for row in (terms[:, 2:] != 3).flatten(1).tolist()}
    assert singles == {(True, False, False, True), (False, True, True, False)}


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
    listed = torch.tensor([[1] * c.shape[1], [0] * c.shape[1]])
    rows = from_product(c + 7, NULL, 0.5, draws(), listed).tolist()
    assert {tuple(row) for row in rows} == {(7,) * c.shape[1], *map(tuple, listed.tolist())}
    changed = (from_product(c, NULL, 0.5, draws()) != 0).any(dim=1).float().mean().item()
    assert abs(changed - 0.5 * (1 - 1 / 24)) < 0.02


def test_draw_follows_the_counts() -> None:
    counts = {(0, 1, 0): 1, (2, 0, 1): 3, (1, 1, 1): 0}
    found = count(draw(counts, 20_000, draws()))
    assert set(found) == {(0, 1, 0), (2, 0, 1)}
    assert abs(found[0, 1, 0] / 20_000 - 0.25) < 0.02


def test_count_is_what_a_silo_publishes() -> None:
    assert count(torch.tensor([[0, 1], [2, 1], [0, 1]])) == {(0, 1): 2, (2, 1): 1}
