"""The scale by which all silos standardise their data, from what their joins state (SPEC 6.11)."""

from collections.abc import Mapping

from dcfm_node.records.entries import Join
from dcfm_node.records.moments import Scale, pooled
from dcfm_node.swarm.shares import factors


def scale_of(joins: Mapping[bytes, Join], max_share: float) -> Scale | None:
    """The scale of these silos, weighed by their samples (SPEC 6.9); None if none has moments."""
    telling = {key: join for key, join in joins.items() if join.moments is not None}
    totals = {key: sum(count for _, count in join.counts) for key, join in telling.items()}
    scale = factors(totals, max_share)
    return pooled(
        [
            (totals[key] * scale[key], join.moments)
            for key, join in sorted(telling.items())
            if join.moments is not None
        ]
    )
