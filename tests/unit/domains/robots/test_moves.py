"""Moves as an operator names them."""

import pytest

from dcfm_node.domains.robots import moves
from dcfm_node.errors import UserError


def test_moves_are_named_by_quadrants_in_any_order_and_once() -> None:
    given = ["top-right:top-left", "top-left:top-right", "top-right:top-left"]
    assert moves.named(given) == ((0, 1), (1, 0))
    assert [moves.text(move) for move in moves.named(given)] == sorted(set(given))
    assert moves.named([]) == ()


@pytest.mark.parametrize(
    "text",
    ["", "top-left", "top-left:", "top-left-top-right", "top-left:top-right:top-left", "a:b"],
)
def test_what_is_no_move_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is not a move") as told:
        moves.named([text])
    assert "top-left, top-right, bottom-left, bottom-right" in told.value.fix


def test_a_quadrant_that_the_cube_could_not_leave_is_named() -> None:
    with pytest.raises(UserError, match="no move leads on from bottom-right") as told:
        moves.named(["top-left:top-right", "top-right:bottom-right", "top-right:top-left"])
    assert "--move bottom-right:top-right" in told.value.fix
