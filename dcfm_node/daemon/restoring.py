"""Makes the node from what the disk holds: at the start, and again after a failure."""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from dcfm_node.daemon.deltas import restore
from dcfm_node.daemon.disk import Said
from dcfm_node.daemon.forms import NETWORK, Forms
from dcfm_node.daemon.legacy import kept
from dcfm_node.daemon.limits import Settings, counts_told, moments_told, pace, quota
from dcfm_node.records.entries import Expert
from dcfm_node.store.journals import JournalStore
from dcfm_node.store.snapshots import SnapshotStore
from dcfm_node.swarm.node import Node
from dcfm_node.wire.envelope import Signer
from dcfm_node.worker.messages import Ready


@dataclass
class Restoring:
    """What a node is made from.

    Attributes:
        ready: what the worker says of data and networks.
        inherited: this silo's expert of the run that this one continues.
        clock: seconds.
    """

    settings: Settings
    journals: JournalStore
    snapshots: SnapshotStore
    ready: Ready
    inherited: Expert | None
    clock: Callable[[], float]

    def restored(self, said: Said) -> Node:
        """A node that knows what the store kept, and has not begun."""
        settings, manifest, ready = self.settings, self.settings.manifest, self.ready
        node = Node(
            signer=Signer(settings.keys.sign),
            manifest=manifest,
            counts=counts_told(settings, ready),
            quota=quota(manifest, ready.tensors, ready.beside_experts),
            distils=settings.config.distils,
            rng=random.Random(),
            wall_ms=time.time_ns() // 1_000_000 - int(self.clock() * 1_000),
            pace=pace(settings.config.gossip.interval_s),
            inherited=self.inherited,
            moments=moments_told(settings, ready),
        )
        node.restore(*said)
        return node

    def set_gossip(self, interval_s: float) -> None:
        """Give nodes that are made from now on another gossip interval."""
        config = self.settings.config
        gossip = config.gossip.model_copy(update={"interval_s": interval_s})
        config = config.model_copy(update={"gossip": gossip})
        self.settings = replace(self.settings, config=config)

    def again(self, old: Node) -> Node:
        """A node from what is on the disk, as after a restart, in place of one that failed."""
        run = old.run
        node = self.restored((*self.journals.load(run), self.journals.heartbeats(run)))
        node.held |= old.held & self.snapshots.held()
        return node

    async def find_snapshots(self, node: Node, forms: Forms) -> None:
        """Let a node hold the snapshots on disk that are sound and that its records name."""
        view = node.replica.view
        asked = {digest: set(by.values()) for digest, by in forms.asked(view).items()}
        for digest in kept(self.settings.manifest, self.inherited):
            asked[digest] = {*asked.get(digest, ()), NETWORK}
        node.held |= await asyncio.to_thread(forms.intact, asked)
        await asyncio.to_thread(restore, self.snapshots, view.deltas, node.held, view.named)
