"""Chooses the combinations that silos hold, and deals samples to silos, IID or non-IID."""

from collections.abc import Callable, Sequence

import numpy as np

from dcfm_node.errors import UserError
from dcfm_node.samples import Combination, Labels

Deal = Callable[[Labels, int, np.random.Generator], list[Labels]]
"""Divides the rows of one combination among a number of silos."""

_DRAWS = 100


def held_combinations(
    rows: int, columns: int, share: float, rng: np.random.Generator
) -> list[Combination]:
    """A random share of the grid of combinations of two attributes, sorted.

    Every row has the same number of held combinations. So has every column, if the number of
    columns divides the number of rows.
    """
    per_row = round(share * columns)
    # Cyclic bands hold every value equally often; permutations remove the regular pattern.
    row_order, column_order = rng.permutation(rows), rng.permutation(columns)
    return sorted(
        (int(row), int(column_order[(place + offset) % columns]))
        for place, row in enumerate(row_order)
        for offset in range(per_row)
    )


def even(rows: Labels, silos: int, rng: np.random.Generator) -> list[Labels]:
    """Equal parts (IID)."""
    return np.array_split(rows, silos)


def dirichlet(concentration: float) -> Deal:
    """Parts drawn from a symmetric Dirichlet distribution (non-IID).

    With a smaller concentration, fewer silos share a combination.
    """

    def deal(rows: Labels, silos: int, rng: np.random.Generator) -> list[Labels]:
        shares = rng.dirichlet(np.full(silos, concentration))
        return np.split(rows, np.rint(np.cumsum(shares)[:-1] * len(rows)).astype(np.int64))

    return deal


def dealt(
    c: Labels, observed: Sequence[Combination], silos: int, deal: Deal, rng: np.random.Generator
) -> list[Labels]:
    """The rows of labels c (N, n) that each silo holds, sorted; every silo holds at least one.

    Raises:
        UserError: there are too few samples.
    """
    for _ in range(_DRAWS):
        held: list[list[int]] = [[] for _ in range(silos)]
        for place, combination in enumerate(observed):
            rows = rng.permutation(np.flatnonzero((c == combination).all(axis=1)))
            for k, part in enumerate(deal(rows, silos, rng)):
                # Rotation gives the remaining samples to each silo in turn.
                held[(k + place) % silos].extend(part.tolist())
        if all(held):
            return [np.array(sorted(mine), np.int64) for mine in held]
    raise UserError(
        f"{len(c)} samples are too few for {silos} silos: one gets none",
        fix="take more samples of each combination, or fewer silos",
    )
