import torch

from dcfm_node.flow.labels import block_terms, marginal_terms, null_label
from dcfm_node.flow.routing import Router, choose

COUNTS = ({(0, 0): 6, (0, 1): 2}, {(0, 0): 1, (1, 0): 5})
ROUTER = Router(COUNTS, (2, 2))
NULL = null_label((2, 2))


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_marginal_weights_are_proportional_to_label_counts() -> None:
    weights = ROUTER.marginal_weights(marginal_terms(torch.tensor([[0, 1]]), NULL))
    expected = [[8 / 14, 6 / 14], [8 / 9, 1 / 9], [1.0, 0.0]]
    torch.testing.assert_close(weights, torch.tensor([expected]))


def test_a_value_nobody_holds_is_routed_equally() -> None:
    router = Router([{(0, 0): 1}, {(0, 0): 3}], (2, 2))
    weights = router.marginal_weights(torch.tensor([[1, 2]]))
    assert weights.tolist() == [[0.5, 0.5]]


def test_joint_weights_fall_back_to_marginal_counts() -> None:
    weights = ROUTER.joint_weights(torch.tensor([[0, 0], [0, 1], [1, 1]]))
    # (1, 1) is seen by nobody: silo 0 holds value 1 of the second attribute twice, silo 1 value 1
    # of the first five times.
    expected = [[6 / 7, 1 / 7], [1.0, 0.0], [2 / 7, 5 / 7]]
    torch.testing.assert_close(weights, torch.tensor(expected))


def test_z_has_label_support_and_a_term_of_its_own() -> None:
    for me, labels in ((0, [(0, 0), (0, 1)]), (1, [(0, 0), (1, 0)])):
        c = torch.tensor(labels).repeat(500, 1)
        terms = block_terms(c, NULL, draws())[:, 1:]
        z = ROUTER.draw(terms, me, draws(1))
        support = ROUTER.support(terms).gather(-1, z.unsqueeze(-1))
        assert (support > 0).all(), "no untrained token is asked"
        assert (z == me).any(dim=1).all(), "at least one term is trainable"
        assert (z != me).any(), "and peers take part"


def test_z_follows_label_counts_where_an_own_term_is_there_anyway() -> None:
    terms = torch.tensor([[[2, 2], [0, 2], [2, 1]]]).repeat(20_000, 1, 1)
    # The last term is silo 0's for certain, so nothing is forced on the first two.
    z = ROUTER.draw(terms, 0, draws())
    assert abs((z[:, 0] == 0).float().mean().item() - 8 / 14) < 0.02
    assert abs((z[:, 1] == 0).float().mean().item() - 8 / 9) < 0.02


def test_an_own_term_is_forced_where_it_has_support() -> None:
    terms = torch.tensor([[[2, 2], [1, 2], [2, 0]]]).repeat(2_000, 1, 1)
    z = ROUTER.draw(terms, 0, draws())
    assert (z == 0).any(dim=1).all()
    assert (z[:, 1] == 1).all(), "silo 0 does not hold value 1 of the first attribute"


def test_choose_never_takes_weight_zero() -> None:
    weights = torch.tensor([0.0, 0.25, 0.0, 0.75, 0.0]).expand(20_000, 5)
    times = choose(weights, draws()).bincount(minlength=5) / 20_000
    assert times[[0, 2, 4]].sum() == 0
    assert abs(times[1].item() - 0.25) < 0.02
