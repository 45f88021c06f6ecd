"""The weight of each silo (SPEC 6.9): by its stated samples, up to the run's limit.

Nobody can check these counts. They weigh averages, the routing to teachers and the start of a
student, so one silo's statement must not outweigh all others.
"""

from collections.abc import Mapping

from dcfm_node.records.entries import Label
from dcfm_node.records.manifest import MAX_COMBINATIONS


def factors(totals: Mapping[bytes, int], max_share: float) -> dict[bytes, float]:
    """The factor for each silo's counts, at most 1, that keeps every silo within `max_share` of the
    sum. An equal share is always allowed.

    Args:
        totals: samples by silo, at least 1 each.
        max_share: most weight of one silo, above 0, at most 1.
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


def capped(
    counts: Mapping[bytes, Mapping[Label, int]], max_share: float
) -> dict[bytes, dict[Label, int]]:
    """Label counts by silo, scaled down if a silo exceeds its share.

    No count falls to 0, so every stated combination stays known. If one silo exceeds its share, all
    counts are in fractions of a sample, fine enough that the smallest counts of MAX_COMBINATIONS
    labels add up to one sample.
    """
    totals = {key: sum(of.values()) for key, of in counts.items()}
    scale = factors(totals, max_share)
    parts = MAX_COMBINATIONS if min(scale.values(), default=1.0) < 1.0 else 1
    return {
        key: {label: max(1, round(count * scale[key] * parts)) for label, count in of.items()}
        for key, of in counts.items()
    }
