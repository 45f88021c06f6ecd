"""Which peers' experts a silo refuses, from their scores on its hold-out data (SPEC 6.6), and how
many such silos end the use of an expert.

A score is a position on a scale of each silo's own. 0 is its own expert; 1 is a model that knows
nothing. Both are measured on the same rows, of combinations that the peer says it holds. So units,
data sets and difficulty do not matter: an honest silo with other data scores near 0, whatever it
lacks elsewhere.
"""

from collections.abc import Mapping, Set
from statistics import median_low

OUTLIER = 3.5
"""Modified z-score of an outlier (Iglewicz and Hoaglin, 1993)."""
CONSISTENT = 1.4826
"""Factor that turns the median absolute deviation into the standard deviation of a normal
distribution."""
MIN_COMPARED = 3
"""Fewest experts to compare, the own one included. With fewer, no outlier can be told from the
others."""
FIGURES = {
    "joint": "its error for whole combinations",
    "composed": "its error for one attribute at a time",
    "distance": "its distance from where all silos began",
}
"""Scores that decide, each with its description. Others only inform."""


def refusals(scores: Mapping[bytes, Mapping[str, float]]) -> dict[bytes, str]:
    """Experts to refuse, and why.

    An expert is refused if it is nearer to knowing nothing than to the median of all, and is also
    an outlier or worse than knowing nothing. The second case matters when a few hostile experts
    among few spread so far that none is an outlier.

    Args:
        scores: by expert, its scores by name; a score is absent if there is nothing to compare.
    """
    found: dict[bytes, list[str]] = {}
    for figure, words in FIGURES.items():
        places = {key: given[figure] for key, given in scores.items() if figure in given}
        # The silo's own expert, at 0 by definition, is one of them.
        everyone = [0.0, *places.values()]
        if len(everyone) < MIN_COMPARED:
            continue
        # The better of two middle ones: half of so few may be hostile.
        middle = median_low(everyone)
        spread = CONSISTENT * median_low(abs(place - middle) for place in everyone)
        limit = max((middle + 1) / 2, min(1.0, middle + OUTLIER * spread))
        for key, place in places.items():
            if place > limit:
                why = f"{words} is {in_words(place)}; over {100 * limit:.0f} is refused"
                found.setdefault(key, []).append(why)
    return {key: "; ".join(whys) for key, whys in found.items()}


def in_words(place: float) -> str:
    """A place on a silo's scale, for people."""
    return f"{max(0.0, 100 * place):.0f} on a scale from 0 (as good as its own) to 100 (useless)"


def too_many(refusers: Set[bytes], comparers: Set[bytes], roster: int) -> bool:
    """Whether no node uses an expert any more (SPEC 6.7.2): more than a third of the roster refused
    its scores, so that an honest silo is among them if at most a third lie; and so did most silos
    that can compare.

    Args:
        refusers: silos that refused the expert because of its score.
        comparers: other silos that hold a combination which the expert's silo holds.
        roster: number of silos on the roster.
    """
    some = 3 * len(refusers) > roster
    return some and 2 * len(refusers & comparers) > len(comparers)
