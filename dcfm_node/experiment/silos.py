"""The data of an experiment's silos, as the nodes of a run would prepare them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dcfm_node.flow.codec import moments_of, standardised
from dcfm_node.flow.stages import EncodedSamples
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.moments import Scale
from dcfm_node.samples import Samples
from dcfm_node.swarm.scaling import weighed
from dcfm_node.wire.canonical import pack, sha256


def scale_of_silos(manifest: Manifest, silos: Sequence[EncodedSamples]) -> Scale | None:
    """The scale, as the nodes of a run derive it."""
    told = {
        silo.key: (len(train.x), moments_of(train.x, manifest.groups))
        for silo, train in zip(manifest.roster, silos, strict=True)
    }
    return weighed(told, manifest.policy.max_share)


def both_standardised(
    parts: tuple[EncodedSamples, EncodedSamples], scale: Scale | None
) -> tuple[EncodedSamples, EncodedSamples]:
    """Training and hold-out samples in a scale."""
    train, holdout = (replace(part, x=standardised(part.x, scale)) for part in parts)
    return train, holdout


def digest_of(data: Samples, scale: Scale | None) -> str:
    """Digest of samples, and of the scale that they are trained in."""
    parts = (np.ascontiguousarray(data.x).tobytes(), np.ascontiguousarray(data.c).tobytes())
    return sha256(*parts, pack(scale.model_dump() if scale is not None else None)).hex()
