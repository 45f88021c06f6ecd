"""The scale by which all silos standardise their data, from what their joins state (SPEC 6.13)."""

from collections.abc import Mapping

from dcfm_node.records.entries import Join
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.moments import Moments, Scale, pooled
from dcfm_node.swarm.shares import factors


def scale_of(manifest: Manifest, joins: Mapping[bytes, Join]) -> Scale | None:
    """The scale that follows from these silos' joins; None if none states moments, as in a run that
    continues another: it keeps the scale that its manifest names, because networks know no other
    (SPEC 6.13.8)."""
    told = {
        key: (sum(count for _, count in join.counts), join.moments) for key, join in joins.items()
    }
    return weighed(told, manifest.policy.max_share)


def weighed(told: Mapping[bytes, tuple[int, Moments | None]], max_share: float) -> Scale | None:
    """The scale of silos' moments, weighed by their numbers of samples (SPEC 6.9)."""
    known = {key: (many, moments) for key, (many, moments) in told.items() if moments is not None}
    scale = factors({key: many for key, (many, _) in known.items()}, max_share)
    return pooled([(many * scale[key], moments) for key, (many, moments) in known.items()])
