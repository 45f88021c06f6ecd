"""Moves from quadrant to quadrant, as an operator names those that a robot may make. Pure."""

from collections.abc import Iterable

from dcfm_node.domains.robots.plan import QUADRANTS
from dcfm_node.errors import UserError
from dcfm_node.samples import Combination

Moves = tuple[Combination, ...]
"""(source, destination), sorted; empty where a robot may make all."""


def named(texts: Iterable[str]) -> Moves:
    """The moves that texts like `top-left:top-right` name.

    Raises:
        UserError: a text names no move, or the cube cannot go on after a move.
    """
    moves = tuple(sorted({_move(text) for text in texts}))
    sources = {source for source, _ in moves}
    for move in moves:
        if move[1] not in sources:
            end = QUADRANTS[move[1]]
            raise UserError(
                f"no move leads on from {end}, where {text(move)} puts the cube",
                where="--move",
                fix=f"add one from there, such as --move {end}:{QUADRANTS[move[0]]}",
            )
    return moves


def text(move: Combination) -> str:
    """A move as an operator names it."""
    return ":".join(QUADRANTS[value] for value in move)


def _move(given: str) -> Combination:
    source, _, destination = given.partition(":")
    if source not in QUADRANTS or destination not in QUADRANTS:
        raise UserError(
            f"{given[:80]!r} is not a move",
            where="--move",
            fix=f"write SOURCE:DESTINATION, each of {', '.join(QUADRANTS)}",
        )
    return QUADRANTS.index(source), QUADRANTS.index(destination)
