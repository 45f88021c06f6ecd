"""One simulated machine, and what its worker makes."""

import hashlib
from dataclasses import dataclass, field

from dcfm_node.records.entries import Join, Snapshot
from dcfm_node.records.manifest import Manifest
from dcfm_node.simulation.disk import Disk
from dcfm_node.swarm.effects import Effect, Event
from dcfm_node.swarm.node import Node
from dcfm_node.wire.envelope import Signs

WALL_MS = 1_700_000_000_000
"""What a wall clock that is right says when the fake clock begins."""


@dataclass
class Host:
    """One machine: a disk, and a node process while it is up."""

    signer: Signs
    disk: Disk = field(default_factory=Disk)
    node: Node | None = None
    dead: bool = False
    """It will not come back."""
    boots: int = 0
    work: int = 0
    """Number of the present work; timers of earlier ones find it changed."""
    waiting: list[Event] | None = None
    """What arrived while the machine stands still; None while it runs."""
    refused: list[Effect] = field(default_factory=list)
    """What waits for room on the disk, from the record on that it did not take."""
    wall_ms: int = WALL_MS
    slowness: float = 1.0
    counts: dict[bytes, int] = field(default_factory=dict)
    """The highest heartbeat of each silo that this process was seen to know."""


def done(host: Host) -> bool:
    """Whether a node is up, says the run is over, and holds what it says is released."""
    node = host.node
    if node is None or node.step is None or node.step.phase.stage != "done":
        return False
    latest = node.replica.view.latest()
    held = latest is not None and latest.body.snapshot.digest in node.held
    return held and node.work is None and host.waiting is None


def made_up_snapshot(name: str) -> Snapshot:
    """A snapshot that exists in name only."""
    digest = hashlib.sha256(name.encode()).digest()
    return Snapshot(digest=digest, size=1_000)


def fits(join: Join, manifest: Manifest) -> bool:
    """Whether label counts are of this run: a worker can weigh and load nothing else."""
    sizes = manifest.cardinalities
    return any(count for _, count in join.counts) and all(
        len(label) == len(sizes) and all(i < size for i, size in zip(label, sizes, strict=True))
        for label, _ in join.counts
    )
