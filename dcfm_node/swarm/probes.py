"""Probes: known combinations that nobody trains on (SPEC 6.12).

What is left must still determine the effect of every value. So the vectors [1, one-hot of every
value but the first of each attribute] of the combinations left must span the whole space: no novel
combination is then outside of their affine hull, Eq. 2 of DCFM holds for them, and every value
occurs in one of them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from dcfm_node.records.entries import Label
from dcfm_node.wire.canonical import pack, sha256

PRIME = 2**31 - 1
"""Ranks are computed modulo this number, exactly and alike everywhere."""
MAX_LOOKED_AT = 16_384
"""Most combinations that the search for a spanning set looks at."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The probes, ascending; where there are none, why, in words."""

    probes: tuple[Label, ...]
    why: str = ""


def choose(
    salt: bytes,
    counts: Sequence[Mapping[Label, int]],
    cardinalities: Sequence[int],
    share: float,
    margin: int = 1,
    *,
    feasible: Sequence[Label] = (),
) -> Chosen:
    """Choose which known combinations to withhold.

    Those that several silos count come first: what one silo alone counts may not exist, and then
    nobody can score it. Otherwise the order is by hash, so that nobody chooses. Among the last
    ones, as few are kept as determine the effect of every value. Of the others the first ones are
    withheld, as long as no silo loses more than half of its samples.

    Args:
        salt: the same for all runs with these attributes, so that a run which continues another
            withholds the same as far as it can.
        counts: of each silo, how often it holds each combination.
        cardinalities: |C_i|, the number of values of each attribute.
        share: most probes, as a share of the known combinations; at least one is tried.
        margin: at least this many times the combinations that determine all effects are kept.
        feasible: the combinations that can occur; empty means all. Only their values have effects.
    """
    if share <= 0.0:
        return Chosen((), "the run withholds no combinations: probes.share is 0")
    owners = Counter(chain.from_iterable(counts))
    order = sorted(owners, key=lambda label: (owners[label] == 1, sha256(salt, pack(label))))
    needed = spanning(order[::-1], cardinalities)
    full = len(spanning(feasible, cardinalities)) if feasible else rank_needed(cardinalities)
    if len(needed) < full:
        return Chosen((), _uncovered(order, cardinalities, full))
    spare = [label for label in order if label not in needed]
    if not spare:
        return Chosen((), "every held combination is needed to determine the others")
    wanted = min(max(1, int(share * len(order))), len(order) - margin * len(needed))
    if wanted < 1:
        return Chosen((), f"the {len(order)} held combinations are too few to withhold one")
    left = [sum(of.values()) // 2 for of in counts]
    found: list[Label] = []
    for label in spare:
        lost = [of.get(label, 0) for of in counts]
        if all(loss <= room for loss, room in zip(lost, left, strict=True)):
            left = [room - loss for loss, room in zip(lost, left, strict=True)]
            found.append(label)
        if len(found) == wanted:
            break
    why = "" if found else "without any one combination that can be spared, a silo loses over half"
    return Chosen(tuple(sorted(found)), why and f"{why} of its samples")


def rank_needed(cardinalities: Sequence[int]) -> int:
    """1 + Σ_i (|C_i| - 1), the dimension of all combinations' vectors (Eq. 2 of DCFM)."""
    return 1 + sum(size - 1 for size in cardinalities)


def spanning(labels: Sequence[Label], cardinalities: Sequence[int]) -> frozenset[Label]:
    """The labels whose vectors do not depend on those of the labels before them. As soon as they
    span all that the values of these labels can, or after MAX_LOOKED_AT, no more are looked at."""
    firsts = [1]
    for size in cardinalities:
        firsts.append(firsts[-1] + size - 1)
    full = rank_needed([len(set(values)) for values in zip(*labels, strict=True)])
    basis: dict[int, dict[int, int]] = {}  # by its highest place, where it has a 1
    found = []
    for label in labels[:MAX_LOOKED_AT]:
        row = {0: 1} | {firsts[i] + value - 1: 1 for i, value in enumerate(label) if value}
        if _extends(basis, row):
            found.append(label)
            if len(found) == full:
                break
    return frozenset(found)


def _extends(basis: dict[int, dict[int, int]], row: dict[int, int]) -> bool:
    """Reduce a sparse row (place: number) by a basis, and add what is left; False if nothing is."""
    while row:
        top = max(row)
        if top not in basis:
            scale = pow(row[top], -1, PRIME)
            basis[top] = {place: number * scale % PRIME for place, number in row.items()}
            return True
        times = row[top]
        for place, number in basis[top].items():
            rest = (row.get(place, 0) - times * number) % PRIME
            if rest:
                row[place] = rest
            else:
                row.pop(place, None)
    return False


def _uncovered(known: Sequence[Label], cardinalities: Sequence[int], full: int) -> str:
    """Why the known combinations do not determine all effects, which takes `full` of them, in
    words."""
    values = (len(set(values)) for values in zip(*known, strict=True))
    if full == rank_needed(cardinalities) and (missing := sum(cardinalities) - sum(values)):
        return f"{missing} values occur in no held combination"
    if (more := full - len(known)) > 0:
        return f"{more} more held combinations would be needed (Eq. 2)"
    return "the held combinations do not determine the effects of all values"
