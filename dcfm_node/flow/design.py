"""Labels as one-hot rows: what known combinations determine, and which of them can be left out."""

from collections.abc import Iterable, Sequence
from itertools import combinations, compress

import torch
from torch import Tensor

from dcfm_node.flow.labels import count

COMBINATIONS = 2048
"""Most known combinations that are left out in turn."""
FOLDS = 6
"""Times that some are left out."""
TRIED = 8
"""Known combinations whose pairs of values are tried to be left out."""
LEFT_OUT = 0.2
"""Largest share of the known combinations that one fold leaves out."""


def one_hot(c: Tensor, cardinalities: Sequence[int]) -> Tensor:
    """Labels (N, n) -> (N, Σ|C_i|), float64, with a one per attribute."""
    shape = (len(c), sum(cardinalities))
    return torch.zeros(shape, dtype=torch.float64).scatter_(1, rows_of(c, cardinalities), 1.0)


def rows_of(c: Tensor, cardinalities: Sequence[int]) -> Tensor:
    """Place of each value of labels (N, n) among all values of all attributes, (N, n)."""
    return c + torch.tensor([start for start, _ in blocks(cardinalities)])


def determined(asked: Tensor, known: Tensor, cardinalities: Sequence[int]) -> Tensor:
    """Which combinations (M, n) the known ones (N, n) determine, (M,): if attributes add up, means
    of the known ones give theirs (the affine hull of arXiv 2410.06303)."""
    design = one_hot(known, cardinalities)
    values, axes = torch.linalg.eigh(design.T @ design)
    beyond = axes[:, values <= 1e-9 * max(1.0, float(values[-1]))]
    found: Tensor = (one_hot(asked, cardinalities) @ beyond).square().sum(dim=1)
    return found < 1e-9


def following(
    labels: Sequence[tuple[int, ...]], known: Tensor, cardinalities: Sequence[int]
) -> list[tuple[int, ...]]:
    """The labels that known ones (N, n) determine."""
    found = determined(torch.tensor(labels), known, cardinalities) if labels else ()
    return list(compress(labels, found))


def folds_of(
    c: Tensor,
    tested: Iterable[tuple[int, ...]],
    cardinalities: Sequence[int],
    generator: torch.Generator,
) -> list[Tensor]:
    """The rows (N,) that each fold leaves out; empty if no combination can be left out.

    The combinations that stay determine all effects: their indicator vectors span those of all
    known combinations. Where two values of three or more attributes never meet, a fold leaves out
    all combinations of two values, so that what only their meeting does is tested as well.

    Args:
        tested: combinations that every other fold leaves out first.
    """
    mine, known = set(tested), torch.tensor(sorted(count(c)))
    known = known[torch.randperm(len(known), generator=generator)[:COMBINATIONS]]
    most, strange = max(1, int(LEFT_OUT * len(known))), _never_meet(known, cardinalities)
    folds = []
    for i in range(FOLDS):
        known = known[torch.randperm(len(known), generator=generator)]
        if i % 2:
            known = known[torch.tensor([tuple(row) in mine for row in known.tolist()]).argsort()]
        out = _meeting(known, cardinalities) if strange else None
        out = known[_spare(one_hot(known, cardinalities))][-most:] if out is None else out
        if len(out) == 0:
            return []
        folds.append((c[:, None] == out).all(dim=2).any(dim=1))
    return folds


def _never_meet(known: Tensor, sizes: Sequence[int]) -> bool:
    """Whether of three or more attributes some two values are in no known combination."""
    pairs = combinations(range(len(sizes)), 2) if len(sizes) > 2 else ()
    return any(len(torch.unique(known[:, [i, j]], dim=0)) < sizes[i] * sizes[j] for i, j in pairs)


def _meeting(known: Tensor, sizes: Sequence[int]) -> Tensor | None:
    """All known combinations (M, n) that share two values with one of the last TRIED and that the
    others determine; None if there are none."""
    for label in known[-TRIED:].flip(0):
        for i, j in combinations(range(len(sizes)), 2):
            rows = (known[:, [i, j]] == label[[i, j]]).all(dim=1)
            if determined(known[rows], known[~rows], sizes).all():
                return known[rows]
    return None


def _spare(rows: Tensor) -> Tensor:
    """Which rows (M, K) are combinations of earlier ones, (M,)."""
    basis = torch.zeros(0, rows.shape[1], dtype=rows.dtype)
    spare = torch.zeros(len(rows), dtype=torch.bool)
    for i, row in enumerate(rows):
        rest = row - (basis @ row) @ basis
        if rest.norm() > 1e-6:
            basis = torch.cat([basis, (rest / rest.norm())[None]])
        else:
            spare[i] = True
    return spare


def blocks(cardinalities: Sequence[int]) -> list[tuple[int, int]]:
    """First place and number of each attribute's values."""
    return [(sum(cardinalities[:i]), size) for i, size in enumerate(cardinalities)]
