"""Own-journal recovery: when a node may write, and under which epoch (SPEC 3.5).

A node whose disk was lost or rolled back would otherwise sign a second history. Peers keep on their
disks the end of its journal and its highest epoch, and it writes only once enough of them keep the
one that it has chosen: an epoch is never used again, even if every entry of it was lost.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from dcfm_node.records.messages import Head, Heartbeat, Sync
from dcfm_node.swarm.journal import Journals

MAX_REMEMBERED_HEARTBEAT = 2**52
"""No node sends so many heartbeats. A peer that claims so of our counter or epoch, and shows no
such heartbeat, would leave us no higher one."""

MAX_CLAIMED_EPOCH = 2**52
"""No node starts this often: a head of ours in such an epoch would leave us no later one."""


@dataclass
class Recovery:
    """What peers say of this node, since it started.

    Args:
        quorum: a majority of the roster.
        peers: how many others the roster has.

    Attributes:
        heads: this node's journal, as each peer holds it.
        counts: this node's newest heartbeat, as each peer remembers it.
        epochs: this node's highest epoch, as each peer's disk knows it.
        shown: the highest counter and epoch in heartbeats that our disk or our peers showed.
        epoch: under which this node writes or is about to; -1 before that is known.
        writable: it may extend its journal.
        carried: some peer said by bundle what it holds: there may be no link at all (SPEC 10.2.2).
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
    """Each peer's own journal, as it says: a vote of its own tells of a term."""

    def hear(self, peer: bytes, sync: Sync) -> None:
        """A peer says what it holds."""
        if self.me in sync.heads:
            self.heads[peer] = sync.heads[self.me]
        if peer in sync.heads:
            self._theirs[peer] = sync.heads[peer]
        self.counts[peer], self.epochs[peer] = sync.beats.get(self.me, (0, 0))

    def hear_bundle(self, peer: bytes, head: Head) -> None:
        """A bundle's author held this node's journal so far. An older bundle may come later."""
        known = self.heads.get(peer)
        if known is None or _end(known) < _end(head):
            self.heads[peer] = head
        self.carried = True

    def show(self, heartbeat: Heartbeat) -> None:
        """A heartbeat that this node signed, now or before it was started."""
        count, epoch = self.shown
        self.shown = max(count, heartbeat.counter), max(epoch, heartbeat.epoch)

    def told(self, journals: Journals) -> dict[bytes, Head]:
        """This node's journal as peers hold it, without what is incredible and was not shown."""
        most = max(MAX_CLAIMED_EPOCH - 1, journals.head(self.me).epoch)
        return {peer: head for peer, head in self.heads.items() if head.epoch <= most}

    def ahead(self, journals: Journals) -> list[bytes]:
        """Peers that say they hold more of this node's journal than it does itself."""
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
        """Whether this node knows how its journal ends, and holds it that far.

        Enough is a quorum of peers whose own journals are held here as far as they said; or, once
        links had time to come up (`settled`), every linked peer.

        Args:
            at_last: it waited so long that a quorum with itself must do: somebody may be silent
                on purpose.
            doubted: peers that may claim more: asked again and again, they do not show it.
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
        """Choose the epoch, above all that was used; False if it is chosen already.

        What peers say of epochs counts when it is chosen; afterwards only what they show does, or
        one that goes on claiming more would keep this node from writing.

        Args:
            heartbeat: the count of this node's own newest heartbeat.
        """
        claimed = [self.heads[peer].epoch for peer in self.ahead(journals)]
        last = max(journals.head(self.me).epoch, *claimed, -1)
        if self.epoch > last and self.epoch >= self.shown[1]:
            return False
        used = max(self.shown[1], _credible(self.epochs))
        self.epoch = max(last, used, heartbeat, self._remembered()) + 1
        return True

    def acknowledged(self, linked: Sequence[bytes], *, settled: bool) -> bool:
        """Whether so many disks know of this epoch that a quorum of them does."""
        keep = self.keepers()
        return len(keep) + 1 >= self.quorum or (
            settled and self._reached(linked) and all(peer in keep for peer in linked)
        )

    def keepers(self) -> list[bytes]:
        """Peers on whose disks this epoch is the highest of this node's. One that knows a higher
        one shows it."""
        return [peer for peer, epoch in self.epochs.items() if epoch == self.epoch]

    def next_count(self, last: int) -> int:
        """Of the next heartbeat: above the last, what peers remember, and not below the epoch."""
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
