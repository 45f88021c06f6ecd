"""Which combinations can be composed, from the label counts that silos publish: minimum coverage
(Eq. 2 of DCFM), the affine hull of what is observed (arXiv 2410.06303), and levels of novelty."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, combinations, product

PRIME = 2**61 - 1
"""Ranks are found modulo this prime: small numbers, no rounding."""

Combination = tuple[int, ...]
Row = dict[int, int]


@dataclass(frozen=True, slots=True)
class Coverage:
    """What all silos together hold of the attribute space.

    Attributes:
        observed: number of combinations that occur.
        needed: number that Eq. 2 of DCFM requires: 1 + Σ_i (|C_i| - 1).
        missing_values: (attribute index, value index) that no silo holds, in order.
        rank: number of independent combinations among those that occur, each as its attributes'
            one-hot codes. With `needed` of them, all others are in their affine hull.
        outside: number of unseen combinations that are not in that hull.
        level_1: number of unseen combinations that differ from one that occurs in one attribute.
        level_2: number of all other unseen ones: at least two attributes must change.
        completing: unseen combinations of values that occur. Once silos hold them too, all other
            combinations of such values are in the hull. There are as few as possible.
    """

    observed: int
    needed: int
    missing_values: tuple[tuple[int, int], ...]
    rank: int
    outside: int
    level_1: int
    level_2: int
    completing: tuple[Combination, ...]

    @property
    def missing_combinations(self) -> int:
        """How many more combinations Eq. 2 of DCFM requires."""
        return max(0, self.needed - self.observed)

    @property
    def sufficient(self) -> bool:
        """Whether novel combinations are identifiable."""
        return not self.missing_values and not self.missing_combinations


def coverage(
    counts: Mapping[Combination, int],
    cardinalities: Sequence[int],
    feasible: Sequence[Combination] = (),
) -> Coverage:
    """Coverage of the silos' counts taken together (Eq. 2 of DCFM).

    Args:
        counts: how often each combination occurs, over all silos.
        cardinalities: |C_i|, the number of values of each attribute.
        feasible: the combinations that can occur; empty means all. Others, and values that occur in
            none of them, are neither needed nor missing.
    """
    seen = sorted(label for label, count in counts.items() if count > 0)
    return _coverage(tuple(seen), tuple(cardinalities), tuple(feasible))


@lru_cache(maxsize=8)
def _coverage(
    seen: tuple[Combination, ...], sizes: tuple[int, ...], feasible: tuple[Combination, ...]
) -> Coverage:
    values = {(i, value) for label in seen for i, value in enumerate(label)}
    space = [(i, v) for i, size in enumerate(sizes) for v in range(size)]
    needed = min(1 + sum(size - 1 for size in sizes), math.prod(sizes))
    if feasible:
        space = sorted({pair for label in feasible for pair in enumerate(label)})
        needed = len(_basis(feasible, sizes))
    hull, unseen = _basis(seen, sizes), list(unseen_of(seen, sizes, feasible))
    level_1 = sum(level == 1 for level in levels(unseen, seen))
    return Coverage(
        observed=len(seen),
        needed=needed,
        missing_values=tuple(pair for pair in space if pair not in values),
        rank=len(hull),
        outside=sum(bool(_reduced(_one_hot(c, sizes), hull)) for c in unseen),
        level_1=level_1,
        level_2=len(unseen) - level_1,
        completing=_completing(seen, sizes, hull, feasible),
    )


def outside_hull(
    seen: Iterable[Combination],
    cardinalities: Sequence[int],
    feasible: Sequence[Combination] = (),
) -> frozenset[Combination]:
    """Unseen combinations that are not in the affine hull of the seen ones: nothing seen tells how
    their values go together."""
    labels, sizes = sorted(set(seen)), tuple(cardinalities)
    hull, unseen = _basis(labels, sizes), unseen_of(labels, sizes, feasible)
    return frozenset(c for c in unseen if _reduced(_one_hot(c, sizes), hull))


def alone(silos: Mapping[str, Sequence[Combination]]) -> dict[str, int]:
    """How many combinations each silo alone counts, the most first; silos without any are left
    out.

    Args:
        silos: what each silo counts.
    """
    owners = Counter(chain.from_iterable(silos.values()))
    found = Counter({silo: sum(owners[of] == 1 for of in labels) for silo, labels in silos.items()})
    return dict((+found).most_common())


def unseen_of(
    seen: Iterable[Combination], sizes: Sequence[int], feasible: Sequence[Combination] = ()
) -> Iterator[Combination]:
    """The combinations that are not among these, in order.

    Args:
        feasible: the combinations that can occur; empty means all.
    """
    known = set(seen)
    return (c for c in feasible or product(*map(range, sizes)) if c not in known)


def levels(unseen: Iterable[Combination], seen: Iterable[Combination]) -> Iterator[int]:
    """Of each unseen combination: 1 if it differs from a seen one in one attribute, else 2."""
    near = set(_all_but_one(seen))
    return (1 if any(part in near for part in _all_but_one([c])) else 2 for c in unseen)


def meetings(seen: Iterable[Combination]) -> frozenset[tuple[int, int, int, int]]:
    """Which two values meet in a seen combination: (i, value of i, j, value of j), i < j."""
    return frozenset(
        (i, label[i], j, label[j]) for label in seen for i, j in combinations(range(len(label)), 2)
    )


def unmet(
    label: Combination, met: Collection[tuple[int, int, int, int]]
) -> tuple[tuple[int, int], ...]:
    """The pairs of attributes, of three or more, whose values in this combination meet in no seen
    one (`meetings`): what only their meeting does, no data show. Of two attributes, every unseen
    combination is such a pair."""
    pairs = combinations(range(len(label)), 2) if len(label) > 2 else ()
    return tuple((i, j) for i, j in pairs if (i, label[i], j, label[j]) not in met)


def _completing(
    seen: tuple[Combination, ...],
    sizes: tuple[int, ...],
    hull: Mapping[int, Row],
    feasible: tuple[Combination, ...],
) -> tuple[Combination, ...]:
    there = [sorted({label[i] for label in seen}) for i in range(len(sizes))]
    full, rows, found = 1 + sum(len(values) - 1 for values in there), dict(hull), []
    of_these = [c for c in feasible if all(v in of for v, of in zip(c, there, strict=True))]
    for label in (of_these if feasible else product(*there)) if seen else ():
        if len(rows) == full:
            break
        if _extends(rows, label, sizes):
            found.append(label)
    return tuple(found)


def _all_but_one(labels: Iterable[Combination]) -> Iterator[tuple[int, Combination, Combination]]:
    """Each combination without one attribute, for each attribute."""
    return ((i, c[:i], c[i + 1 :]) for c in labels for i in range(len(c)))


def _one_hot(label: Combination, sizes: Sequence[int]) -> Row:
    """The codes of all attributes as one sparse vector. Their sums are 1, so that linear
    combinations of such vectors that equal one are affine."""
    starts = (sum(sizes[:i]) for i in range(len(sizes)))
    return {start + value: 1 for start, value in zip(starts, label, strict=True)}


def _basis(labels: Iterable[Combination], sizes: Sequence[int]) -> dict[int, Row]:
    """Reduced rows that span the combinations' vectors, by the place of their leading 1."""
    rows: dict[int, Row] = {}
    full = 1 + sum(size - 1 for size in sizes)
    for label in labels:
        if len(rows) == full:
            break
        _extends(rows, label, sizes)
    return rows


def _extends(rows: dict[int, Row], label: Combination, sizes: Sequence[int]) -> bool:
    """Add a combination to a basis, if that does not span it. Returns whether it was added."""
    if not (new := _reduced(_one_hot(label, sizes), rows)):
        return False
    lead, scale = min(new), pow(new[min(new)], -1, PRIME)
    new = {at: value * scale % PRIME for at, value in new.items()}
    for at, row in rows.items():
        if lead in row:
            rows[at] = _without(row, new, lead)
    rows[lead] = new
    return True


def _reduced(vector: Row, rows: Mapping[int, Row]) -> Row:
    """What rows do not span of a vector; empty if they span it."""
    for at in list(vector):
        if at in rows:
            vector = _without(vector, rows[at], at)
    return vector


def _without(vector: Row, row: Row, lead: int) -> Row:
    """A vector minus as much of a row as clears its leading place."""
    factor = vector[lead]
    found = dict(vector)
    for at, value in row.items():
        if left := (found.get(at, 0) - factor * value) % PRIME:
            found[at] = left
        else:
            found.pop(at, None)
    return found
