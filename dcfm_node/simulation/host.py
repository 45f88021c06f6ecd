"""One simulated machine, and the results of its worker."""

import hashlib
from dataclasses import dataclass, field

from dcfm_node.records.entries import Join, Snapshot
from dcfm_node.records.manifest import Manifest
from dcfm_node.simulation.disk import Disk
from dcfm_node.swarm.effects import Effect, Event
from dcfm_node.swarm.node import Node
from dcfm_node.wire.envelope import Signs

WALL_MS = 1_700_000_000_000
"""A correct wall clock, in Unix milliseconds, when the fake clock starts."""


@dataclass
class Host:
    """One machine: a disk, and a node process while it is up."""

    signer: Signs
    disk: Disk = field(default_factory=Disk)
    node: Node | None = None
    dead: bool = False
    """It will not start again."""
    boots: int = 0
    work: int = 0
    """Number of the present work. Timers of earlier work see that it changed."""
    waiting: list[Event] | None = None
    """Events that arrived while the machine is stopped; None while it runs."""
    refused: list[Effect] = field(default_factory=list)
    """Effects that wait for room on the disk, from the first record that did not fit on."""
    wall_ms: int = WALL_MS
    slowness: float = 1.0
    counts: dict[bytes, int] = field(default_factory=dict)
    """By silo, the highest heartbeat counter that this process knew."""


def done(host: Host) -> bool:
    """Whether a node is up, reports that the run is over, and holds the released student."""
    node = host.node
    if node is None or node.step is None or node.step.phase.stage != "done":
        return False
    latest = node.replica.view.latest()
    held = latest is not None and latest.body.snapshot.digest in node.held
    return held and node.work is None and host.waiting is None


def made_up_snapshot(name: str) -> Snapshot:
    """A snapshot without a file."""
    digest = hashlib.sha256(name.encode()).digest()
    return Snapshot(digest=digest, size=1_000)


def fits(join: Join, manifest: Manifest) -> bool:
    """Whether label counts fit this run. A worker can use no others."""
    sizes = manifest.cardinalities
    return any(count for _, count in join.counts) and all(
        len(label) == len(sizes) and all(i < size for i, size in zip(label, sizes, strict=True))
        for label, _ in join.counts
    )
