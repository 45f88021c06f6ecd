"""Samples of a combination that nobody has, made from those of its neighbours.

A *move* (`flow.moves`) turns a shape in one colour into the same shape in another, so variety
within a combination stays. No move is believed: each is tried on known combinations that its
effects were fitted without, and serves only for changes of values where what it makes is
distributed like their own samples, both as they are and in their spectra and local energies.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import torch
from torch import Tensor

from dcfm_node.flow.design import determined, one_hot, rows_of
from dcfm_node.flow.features import energy, four_axes
from dcfm_node.flow.metrics import energy_distance
from dcfm_node.flow.moves import Move, moves_of

NEAR = 0.4
"""A move serves if it leaves at most this share of the energy distance between combinations. A
small distance alone says little: pictures that vary much in place are near each other anyway."""
PAIRS = 32
"""Most pairs of known combinations that a move is tried on, for each attribute."""
EACH = 64
"""Most samples of a combination that it is tried on."""
LEAST_SPREAD = 0.1
"""Numbers that vary less than this share of the mean deviation weigh no more for it."""
Change = tuple[int, int]
"""What is before, and after: values, or combinations by their place."""


@dataclass(frozen=True)
class Trusted:
    """A move that serves for some changes of one attribute.

    Attributes:
        changes: values before and after.
        effects: of all values of all attributes, (Σ|C_i|, ...).
        scale: samples are divided by it first.
    """

    move: Move
    attribute: int
    changes: frozenset[Change]
    effects: Tensor
    cardinalities: tuple[int, ...]
    scale: float

    def __call__(self, x: Tensor, label: Tensor, wanted: Tensor) -> Tensor:
        """Samples (N, *shape) of a label (n,) as those of another."""
        before, after = (
            self.effects[rows_of(one[None], self.cardinalities)[0]].sum(0)
            for one in (label, wanted)
        )
        made = self.move.moved(four_axes(x).double() / self.scale, before, after) * self.scale
        return made.to(x.dtype).reshape(x.shape)

    def sources(self, wanted: Tensor, known: Tensor) -> Tensor:
        """Those of labels (M, n) that it turns into the wanted one (n,): they differ in this
        attribute alone, by a change that it serves for."""
        alone = known[(known != wanted).sum(dim=1) == 1]
        values = alone[:, self.attribute].tolist()
        serves = [(value, int(wanted[self.attribute])) in self.changes for value in values]
        return alone[torch.tensor(serves, dtype=torch.bool)]


def trusted(
    x: Tensor,
    c: Tensor,
    cardinalities: Sequence[int],
    generator: torch.Generator,
    tell: Callable[[float], None] = lambda _: None,
) -> list[Trusted]:
    """The moves that serve. A change of a value is left to the move that leaves least of the
    distance, where it was tried, and else as for all changes of its attribute.

    Args:
        x: samples (N, *shape) of known combinations, on the CPU.
        c: (N, n).
        generator: decides which pairs of combinations moves are tried on.
        tell: called with the share of the trials that is done. Large samples take minutes.
    """
    sizes, scale, known = tuple(cardinalities), max(float(x.std()), 1e-6), torch.unique(c, dim=0)
    of = [x[(c == label).all(dim=1)] for label in known]
    seen_as = [four_axes(some).double() / scale for some in of]
    moves = moves_of(seen_as, one_hot(known, sizes))
    means = [torch.stack([move.features(some).mean(0) for some in seen_as]) for move in moves]
    seen, found = _Seen.of(torch.cat([some[:EACH] for some in of]), scale), []
    every = _pairs(known, sizes, generator)
    for place, (attribute, pairs) in enumerate(every.items()):
        unmoved = torch.stack([seen.apart(of[a], of[b]) for a, b in pairs])
        tried: list[Trusted] = []
        moved = []
        for move, mean in zip(moves, means, strict=True):
            tell((place + len(tried) / len(moves)) / len(every))
            effects = _effects(mean, known, sizes)
            tried.append(Trusted(move, attribute, frozenset(), effects, sizes, scale))
            made = [
                _without(tried[-1], mean, known, b)(of[a][:EACH], known[a], known[b])
                for a, b in pairs
            ]
            moved.append(
                torch.stack(
                    [seen.apart(some, of[b]) for some, (_, b) in zip(made, pairs, strict=True)]
                )
            )
        changes = [(int(known[a][attribute]), int(known[b][attribute])) for a, b in pairs]
        best = _best(moved, unmoved, changes, sizes[attribute])
        found += [
            replace(serves, changes=frozenset(those))
            for serves, those in zip(tried, best, strict=True)
            if those
        ]
    return found


def _best(
    moved: Sequence[Tensor], unmoved: Tensor, changes: Sequence[Change], values: int
) -> list[list[Change]]:
    """For each move, the changes that it serves for.

    Args:
        moved, unmoved: distances of each pair in both views, (P, 2).
        changes: of each pair.
        values: |C_i| of the attribute.
    """
    found: list[list[Change]] = [[] for _ in moved]
    tried = {change: _serving(moved, unmoved, changes, change) for change in {*changes}}
    others = _serving(moved, unmoved, changes, None)
    for change in permutations(range(values), 2):
        if (best := tried.get(change, others)) is not None:
            found[best].append(change)
    return found


def _serving(
    moved: Sequence[Tensor], unmoved: Tensor, changes: Sequence[Change], change: Change | None
) -> int | None:
    """The move that serves for a change, or for all of an attribute; None if none does."""
    rows = torch.tensor([change in (None, other) for other in changes])
    whole = unmoved[rows].sum(dim=0).clamp(min=1e-6)
    left = [float((each[rows].sum(dim=0) / whole).max()) for each in moved]
    return left.index(min(left)) if min(left) <= NEAR else None


@dataclass(frozen=True)
class _Seen:
    """How samples are compared: as they are, and in their spectra and local energies.

    Attributes:
        scales: deviations of the numbers and of the energies.
    """

    scale: float
    scales: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, x: Tensor, scale: float) -> "_Seen":
        both = x.flatten(1), energy(four_axes(x).double() / scale)
        spreads = [of.std(dim=0) for of in both]
        numbers, energies = (of.clamp(min=LEAST_SPREAD * float(of.mean()) + 1e-6) for of in spreads)
        return cls(scale, (numbers, energies))

    def apart(self, made: Tensor, own: Tensor) -> Tensor:
        """Energy distances of some samples to those of a combination, (2,)."""
        found = [
            (
                x.flatten(1) / self.scales[0],
                energy(four_axes(x).double() / self.scale) / self.scales[1],
            )
            for x in (made[:EACH], own[:EACH])
        ]
        return torch.tensor([energy_distance(*pair) for pair in zip(*found, strict=True)])


def _pairs(
    known: Tensor, sizes: tuple[int, ...], generator: torch.Generator
) -> dict[int, list[Change]]:
    """For each attribute, pairs of known combinations, rows of (M, n), that differ in it alone, the
    second one determined by all others; attributes with at least two."""
    found: dict[int, list[Change]] = {i: [] for i in range(len(sizes))}
    for b, label in enumerate(known):
        if not determined(label[None], torch.cat([known[:b], known[b + 1 :]]), sizes).item():
            continue
        differ = known != label
        for a in (differ.sum(dim=1) == 1).nonzero().squeeze(1).tolist():
            found[int(differ[a].nonzero())].append((a, b))
    chosen = {
        i: [pairs[k] for k in torch.randperm(len(pairs), generator=generator)[:PAIRS]]
        for i, pairs in found.items()
    }
    return {i: pairs for i, pairs in chosen.items() if len(pairs) > 1}


def _without(move: Trusted, means: Tensor, known: Tensor, b: int) -> Trusted:
    """The move, had it not seen samples of a combination."""
    others = torch.arange(len(known)) != b
    return replace(move, effects=_effects(means[others], known[others], move.cardinalities))


def _effects(means: Tensor, known: Tensor, sizes: Sequence[int]) -> Tensor:
    """Least squares for what each value of each attribute adds, (Σ|C_i|, ...), from the mean
    features of known combinations (M, ...)."""
    codes = one_hot(known, sizes)
    ridge = 1e-6 * len(codes) * torch.eye(codes.shape[1], dtype=torch.float64)
    found: Tensor = torch.linalg.solve(codes.T @ codes + ridge, codes.T @ means.flatten(1))
    return found.reshape(codes.shape[1], *means.shape[1:])
