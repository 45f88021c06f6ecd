"""The weights of guidance: a function of label, time, counts and settings."""

from typing import Any

import pytest
import torch

from dcfm_node.flow.guidance import guide_of
from dcfm_node.records.guidance import Guidance
from tests.training.settings import manifest

SIZES = (2, 3)
COUNTS = ({(0, 0): 4, (0, 2): 0}, {(1, 2): 1})
C = torch.tensor([(0, 0), (1, 2), (0, 2), (1, 0), (0, 3)])
KNOWN = [True, True, False, False, False]
T = torch.full((5,), 0.5)


def found(c: torch.Tensor, t: torch.Tensor, composed: bool = True, **given: Any) -> torch.Tensor:
    guide = guide_of(Guidance(**given), SIZES, COUNTS, composed=composed)
    assert guide is not None
    return guide(c, t)


def test_counts_tell_known_combinations_from_novel_ones() -> None:
    """A count of 0 holds nothing, and a null token is not value 0."""
    base = torch.tensor([[1.3 if known else 1.6] for known in KNOWN])
    assert torch.equal(found(C, T, known=1.3, novel=1.6), base.expand(5, 2))
    assert torch.equal(found(C, T, composed=False, known=1.3, novel=1.6), base)


def test_without_guidance_there_are_no_weights() -> None:
    assert guide_of(Guidance(from_t=0.2, shares=(2.0, 1.0)), SIZES, None, composed=True) is None


def test_counts_are_needed_only_to_tell_known_from_novel() -> None:
    guide = guide_of(Guidance(known=2.0, novel=2.0), SIZES, None, composed=False)
    assert guide is not None
    assert (guide(C, T) == 2).all()
    with pytest.raises(ValueError, match="label counts"):
        guide_of(Guidance(known=2.0), SIZES, None, composed=True)


def test_outside_the_interval_all_weights_are_1() -> None:
    t = torch.tensor([0.0, 0.29, 0.3, 0.8, 0.81])
    made = found(C[:1].expand(5, 2), t, known=2.0, from_t=0.3, to_t=0.8)
    assert torch.equal(made[:, 0], torch.tensor([1.0, 1.0, 2.0, 2.0, 1.0]))


def test_shares_scale_what_is_above_1() -> None:
    made = found(C, T, known=1.5, novel=3.0, shares=(0.5, 2.0))
    torch.testing.assert_close(made[0], torch.tensor([1.25, 2.0]))
    torch.testing.assert_close(made[2], torch.tensor([2.0, 5.0]))
    assert found(C, T, composed=False, known=1.5, shares=(0.5, 2.0))[0].tolist() == [1.5]


def test_a_run_refuses_weights_that_do_not_fit() -> None:
    manifest(method={"guidance": {"shares": (1.0, 2.0)}})
    for wrong, why in (
        ({"shares": (1.0,)}, "one for each of the 2 attributes"),
        ({"from_t": 0.6, "to_t": 0.5}, "from_t exceeds"),
        ({"known": -0.1}, "greater than or equal"),
    ):
        with pytest.raises(ValueError, match=why):
            manifest(method={"guidance": wrong})


def test_weights_are_told_in_a_few_words() -> None:
    assert Guidance(from_t=0.5).summary == "1"
    text = Guidance(known=1.3, novel=1.6, from_t=0.25).summary
    assert text == "1.3 for combinations trained on and 1.6 for novel ones, for t from 0.25 to 1"
