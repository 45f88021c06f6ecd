"""The preparation: what follows from the joins that silos agreed to build on (SPEC 6.12)."""

from collections.abc import Sequence
from dataclasses import dataclass

from dcfm_node.records.entries import Join, Preparation
from dcfm_node.records.manifest import Manifest
from dcfm_node.swarm.probes import choose
from dcfm_node.swarm.said import Said
from dcfm_node.wire.envelope import run_id


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
    chosen = choose(run_id(manifest), counts, manifest.cardinalities, manifest.probes.share)
    joined = tuple(said.digest for said in ordered)
    return Derived(Preparation(joins=joined, probes=chosen.probes), chosen.why)
