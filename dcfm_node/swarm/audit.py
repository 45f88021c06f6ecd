"""Which peers' experts a silo refuses, from what they scored on its hold-out data (SPEC 6.6), and
how many such silos it takes until nobody uses one.

A score is a place on a scale that every silo has by itself: 0 is its own expert, 1 is one that
knows nothing, measured on the same rows, and those are rows of combinations that the peer says it
holds. So no unit, data set or difficulty enters. An honest silo of other data is near 0 there,
whatever it knows or lacks elsewhere.
"""

from collections.abc import Mapping, Set
from statistics import median_low

OUTLIER = 3.5
"""Modified z-score of an outlier (Iglewicz and Hoaglin, 1993)."""
CONSISTENT = 1.4826
"""Makes the median absolute deviation estimate a normal's standard deviation."""
MIN_COMPARED = 3
"""With fewer, the own expert among them, nobody can be told from the others."""
FIGURES = {
    "joint": "velocity error on full labels",
    "composed": "velocity error composed from its marginals",
    "distance": "distance from the common initial weights",
}
"""Scores that decide, and words for them. Others inform."""


def refusals(scores: Mapping[bytes, Mapping[str, float]]) -> dict[bytes, str]:
    """Experts to refuse, and why.

    One is refused where it is nearer to knowing nothing than to the median of all, and an outlier
    among them or worse than knowing nothing: a few hostile ones among few spread so far that none
    is an outlier.

    Args:
        scores: by expert, its places by figure; a figure is absent where there is nothing to
            compare it on.
    """
    found: dict[bytes, list[str]] = {}
    for figure, words in FIGURES.items():
        places = {key: given[figure] for key, given in scores.items() if figure in given}
        # The silo's own expert, at 0 by definition, is one of them.
        everyone = [0.0, *places.values()]
        if len(everyone) < MIN_COMPARED:
            continue
        # Of two middle ones the better: half of so few may be hostile.
        middle = median_low(everyone)
        spread = CONSISTENT * median_low(abs(place - middle) for place in everyone)
        limit = max((middle + 1) / 2, min(1.0, middle + OUTLIER * spread))
        for key, place in places.items():
            if place > limit:
                why = f"{words} at {place:.2f} of the way to knowing nothing, over {limit:.2f}"
                found.setdefault(key, []).append(why)
    return {key: "; ".join(whys) for key, whys in found.items()}


def too_many(refusers: Set[bytes], comparers: Set[bytes], roster: int) -> bool:
    """Whether nobody learns from an expert (SPEC 6.7.2): so many refused its scores that an honest
    silo is among them while no more than a third lie, and so did most of those who could tell.

    Args:
        comparers: silos that hold a combination which the expert's silo holds, without it.
        roster: how many silos there are.
    """
    some = 3 * len(refusers) > roster
    return some and 2 * len(refusers & comparers) > len(comparers)
