"""What each silo weighs (SPEC 6.9): by the samples it says it has, and no more than the run allows.

Counts are what a silo says of itself. They weigh averages, what teachers are asked and where a
student starts, so that one silo's word must not outweigh all others'.
"""

from collections.abc import Mapping

from dcfm_node.records.entries import Join, Label
from dcfm_node.records.manifest import MAX_COMBINATIONS


def factors(totals: Mapping[bytes, int], max_share: float) -> dict[bytes, float]:
    """What each silo's counts are multiplied by, 1 or less, so that none has over `max_share` of
    their sum, or an equal share where that is more.

    Args:
        totals: samples by silo, 1 or more each.
    """
    limit = max(max_share, 1.0 / len(totals)) if totals else 1.0
    largest = sorted(totals, key=lambda key: (-totals[key], key))
    rest, most = float(sum(totals.values())), float("inf")
    for number, key in enumerate(largest):
        # With `number` silos at the limit the others have 1 - number * limit of the sum.
        left = 1.0 - number * limit
        if left <= 1e-9:
            most = min(most, float(totals[key]))
            break
        if totals[key] <= limit * rest / left:
            break
        rest -= totals[key]
        most = limit * rest / (left - limit) if left - limit > 1e-9 else float(totals[largest[-1]])
    return {key: min(1.0, most / total) for key, total in totals.items()}


def capped(joins: Mapping[bytes, Join], max_share: float) -> dict[bytes, dict[Label, int]]:
    """Label counts by silo as they weigh: what each said, scaled down where it is over its share.
    None falls to 0: what a silo holds stays known. Where one is over, all are counted in parts of a
    sample: as many labels as there may be, of the least weight each, add up to one sample."""
    totals = {key: sum(count for _, count in join.counts) for key, join in joins.items()}
    scale = factors(totals, max_share)
    parts = MAX_COMBINATIONS if min(scale.values(), default=1.0) < 1.0 else 1
    return {
        key: {label: max(1, round(count * scale[key] * parts)) for label, count in join.counts}
        for key, join in joins.items()
    }
