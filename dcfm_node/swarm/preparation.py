"""The preparation: what follows from the joins that silos agreed to build on (SPEC 6.11)."""

from collections.abc import Sequence
from dataclasses import dataclass

from dcfm_node.records.entries import Join, Preparation
from dcfm_node.records.manifest import Manifest
from dcfm_node.swarm.probes import choose
from dcfm_node.swarm.said import Said
from dcfm_node.swarm.scaling import scale_of
from dcfm_node.wire.canonical import pack, sha256


@dataclass(frozen=True, slots=True)
class Derived:
    """A preparation, and why it withholds no combination (in words), if it withholds none."""

    preparation: Preparation
    why: str


def derive(manifest: Manifest, joins: Sequence[Said[Join]]) -> Derived:
    """The preparation of a run from some silos' joins. Every node derives the same.

    Args:
        joins: at least one, of different silos.
    """
    ordered = sorted(joins, key=lambda said: said.digest)
    counts = [dict(said.body.counts) for said in ordered]
    salt = sha256(pack([attribute.model_dump() for attribute in manifest.attributes]))
    rule = manifest.probes
    chosen = choose(
        salt, counts, manifest.cardinalities, rule.share, rule.margin, feasible=manifest.feasible
    )
    joined = tuple(said.digest for said in ordered)
    scale = scale_of(manifest, {said.author: said.body for said in ordered})
    made = Preparation(joins=joined, probes=chosen.probes, scale=scale)
    return Derived(made, chosen.why)
