"""Which combinations follow from others, and which a reader is tested on."""

import torch

from dcfm_node.flow.design import determined, folds_of
from dcfm_node.flow.trainer import generator

SPACE = torch.cartesian_prod(torch.arange(3), torch.arange(2), torch.arange(3))


def left_out(known: torch.Tensor, sizes: tuple[int, ...]) -> list[torch.Tensor]:
    """The combinations that each fold leaves out."""
    return [known[rows] for rows in folds_of(known, (), sizes, generator(0))]


def test_what_a_fold_leaves_out_follows_from_the_rest() -> None:
    known = SPACE[(SPACE.sum(dim=1) != 4)]
    for out in left_out(known, (3, 2, 3)):
        rest = known[~(known[:, None] == out).all(dim=2).any(dim=1)]
        assert 0 < len(out) <= 0.2 * len(known) + 1
        assert determined(out, rest, (3, 2, 3)).all()


def test_where_two_values_never_meet_a_fold_leaves_out_two_values_that_do() -> None:
    known = SPACE[(SPACE[:, [0, 2]] != torch.tensor([2, 2])).any(dim=1)]
    for out in left_out(known, (3, 2, 3)):
        rest = known[~(known[:, None] == out).all(dim=2).any(dim=1)]
        pairs = [(0, 1), (0, 2), (1, 2)]
        shared = [p for p in pairs if len(torch.unique(out[:, p], dim=0)) == 1]
        assert any(not (rest[:, pair] == out[0, list(pair)]).all(dim=1).any() for pair in shared)
        assert determined(out, rest, (3, 2, 3)).all()


def test_of_two_attributes_every_combination_is_a_pair() -> None:
    known = torch.cartesian_prod(torch.arange(3), torch.arange(3))[:-1]
    assert {len(out) for out in left_out(known, (3, 3))} == {1}


def test_nothing_can_be_left_out_where_every_combination_is_needed() -> None:
    assert left_out(torch.tensor([[0, 0], [0, 1], [1, 0]]), (2, 2)) == []
