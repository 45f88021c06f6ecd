"""Recovery of a node's own journal: when the node may write, and in which epoch (SPEC 3.5).

A node whose disk was lost or rolled back could sign a second history. So its peers store the end of
its journal and its highest epoch. The node writes only after enough peers have stored the epoch
that it chose. It never uses an epoch again, even if every entry of that epoch was lost.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from dcfm_node.records.messages import Head, Heartbeat, Sync
from dcfm_node.swarm.journal import Journals

MAX_REMEMBERED_HEARTBEAT = 2**52
"""No node sends so many heartbeats. A peer's higher claim about this node's counter or epoch is
ignored unless it shows the heartbeat: it would leave this node no higher number."""

MAX_CLAIMED_EPOCH = 2**52
"""No node starts this often. A head in a higher epoch is ignored: it would leave this node no later
epoch."""


@dataclass
class Recovery:
    """What peers have reported about this node since it started.

    Args:
        quorum: the number of silos that makes a majority of the roster.
        peers: number of other silos on the roster.

    Attributes:
        heads: this node's journal, as each peer holds it.
        counts: this node's newest heartbeat counter, as each peer remembers it.
        epochs: this node's highest epoch, as each peer's disk holds it.
        shown: highest counter and epoch in heartbeats that this disk or a peer showed.
        epoch: the epoch in which this node writes or will write; -1 before it is known.
        writable: this node may extend its journal.
        carried: a peer reported by bundle what it holds; there may be no link at all (SPEC 10.2.2).
    """

    me: bytes
    quorum: int
    peers: int
    heads: dict[bytes, Head] = field(default_factory=dict)
    counts: dict[bytes, int] = field(default_factory=dict)
    epochs: dict[bytes, int] = field(default_factory=dict)
    shown: tuple[int, int] = (0, 0)
    epoch: int = -1
    writable: bool = False
    carried: bool = False
    _theirs: dict[bytes, Head] = field(default_factory=dict)
    """Each peer's own journal, as the peer states it. Its votes show the terms."""

    def hear(self, peer: bytes, sync: Sync) -> None:
        """Record what a peer holds."""
        if self.me in sync.heads:
            self.heads[peer] = sync.heads[self.me]
        if peer in sync.heads:
            self._theirs[peer] = sync.heads[peer]
        self.counts[peer], self.epochs[peer] = sync.beats.get(self.me, (0, 0))

    def hear_bundle(self, peer: bytes, head: Head) -> None:
        """Record how far a bundle's author held this node's journal. An older bundle may come
        later."""
        known = self.heads.get(peer)
        if known is None or _end(known) < _end(head):
            self.heads[peer] = head
        self.carried = True

    def show(self, heartbeat: Heartbeat) -> None:
        """Record a heartbeat that this node signed, now or before its last start."""
        count, epoch = self.shown
        self.shown = max(count, heartbeat.counter), max(epoch, heartbeat.epoch)

    def told(self, journals: Journals) -> dict[bytes, Head]:
        """This node's journal as each peer holds it, without incredible claims."""
        most = max(MAX_CLAIMED_EPOCH - 1, journals.head(self.me).epoch)
        return {peer: head for peer, head in self.heads.items() if head.epoch <= most}

    def ahead(self, journals: Journals) -> list[bytes]:
        """Peers that claim to hold more of this node's journal than the node itself."""
        own = _end(journals.head(self.me))
        return [peer for peer, head in self.told(journals).items() if _end(head) > own]

    def known(
        self,
        journals: Journals,
        linked: Sequence[bytes],
        *,
        settled: bool,
        at_last: bool = False,
        doubted: Collection[bytes] = (),
    ) -> bool:
        """Whether this node knows where its journal ends, and holds all of it.

        Enough are: a quorum of peers whose own journals this node holds as far as they stated; or,
        once links had time to come up (`settled`), all linked peers.

        Args:
            at_last: this node has waited so long that a quorum that includes itself is enough; some
                peers may be silent on purpose.
            doubted: peers whose claims to hold more are ignored: they never show it when asked.
        """
        if self.me in journals.forks or any(p not in doubted for p in self.ahead(journals)):
            return False
        told = self.told(journals)
        followed = [peer for peer in told if self._followed(peer, journals)]
        enough = min(self.quorum, self.peers) if not at_last else self.quorum - 1
        return len(followed) >= enough or (
            settled and self._reached(linked) and all(peer in told for peer in linked)
        )

    def begin(self, journals: Journals, heartbeat: int) -> bool:
        """Choose the epoch, above all used ones. Returns False if it is chosen already.

        Peers' statements about epochs count until the choice. After it, only the heartbeats that
        they show count; otherwise one peer could keep this node from writing by claiming more again
        and again.

        Args:
            heartbeat: counter of this node's own newest heartbeat.
        """
        claimed = [self.heads[peer].epoch for peer in self.ahead(journals)]
        last = max(journals.head(self.me).epoch, *claimed, -1)
        if self.epoch > last and self.epoch >= self.shown[1]:
            return False
        used = max(self.shown[1], _credible(self.epochs))
        self.epoch = max(last, used, heartbeat, self._remembered()) + 1
        return True

    def acknowledged(self, linked: Sequence[bytes], *, settled: bool) -> bool:
        """Whether a quorum of disks, this node's included, holds this epoch; or, once `settled`,
        those of all linked peers."""
        keep = self.keepers()
        return len(keep) + 1 >= self.quorum or (
            settled and self._reached(linked) and all(peer in keep for peer in linked)
        )

    def keepers(self) -> list[bytes]:
        """Peers whose disks hold this epoch as this node's highest. A peer that knows a higher
        epoch shows its heartbeat."""
        return [peer for peer, epoch in self.epochs.items() if epoch == self.epoch]

    def next_count(self, last: int) -> int:
        """Counter of the next heartbeat: above the last one and what peers remember, and not below
        the epoch."""
        return max(last, self._remembered(), self.epoch - 1) + 1

    def _reached(self, linked: Sequence[bytes]) -> bool:
        return bool(linked) or self.carried

    def _remembered(self) -> int:
        return max(self.shown[0], _credible(self.counts))

    def _followed(self, peer: bytes, journals: Journals) -> bool:
        theirs = self._theirs.get(peer)
        return theirs is None or _end(theirs) <= _end(journals.head(peer)) or theirs.forked >= 0


def _credible(told: Mapping[bytes, int]) -> int:
    return max((count for count in told.values() if count < MAX_REMEMBERED_HEARTBEAT), default=0)


def _end(head: Head) -> tuple[int, int]:
    return head.epoch, head.seq
