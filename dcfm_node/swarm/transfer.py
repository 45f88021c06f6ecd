"""Downloads snapshots from several holders at once (SPEC 5.3). Pure: events in, effects out.

A snapshot is cut into chunks, and its digest covers their hashes. So a hash list from anyone can be
checked, and then every chunk on its own: a wrong byte shows its sender at once. A node passes on
verified chunks while the rest still arrives. Every reader begins with the rarest chunks, so an
author on a slow line sends each chunk about once. A peer that delivers anything is slow; one that
delivers nothing is late. A set of chunks is an integer: chunk i is bit i.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

from dcfm_node.records.entries import Snapshot
from dcfm_node.swarm.chunks import chunk_count, chunk_length
from dcfm_node.swarm.download import Buffer, Download, bits_of, bytes_of

WINDOW = 16
"""Most chunks requested from one peer and not yet delivered."""
FIRST_WINDOW = 4
PROMPT_S = 0.5
"""Seconds. A window grows while chunks come within this time, else it shrinks: another peer could
deliver the chunks that wait at a slow one."""
PATIENCE_S = 30.0
"""Seconds. A peer that owes chunks and delivers none for this long is late. The time doubles each
time."""
MAX_PATIENCE_S = 480.0
RELIEF_S = 5.0
"""Seconds after which it is late already if another holder is idle."""
FIRST_ASK_S, LAST_ASK_S = 2.0, 30.0
"""First and longest pause in seconds before asking a peer again that does not hold a snapshot."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask a peer whether it holds a snapshot, and request its hash list."""

    peer: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Want:
    """Request a chunk from a peer."""

    peer: bytes
    digest: bytes
    index: int


@dataclass(frozen=True, slots=True)
class Check:
    """The hash list and the size are known. The caller reports by `resumed` which chunks on disk
    fit them."""

    snapshot: Snapshot
    hashes: bytes


@dataclass(frozen=True, slots=True)
class Store:
    """Write a verified chunk to disk."""

    digest: bytes
    index: int
    data: Buffer


@dataclass(frozen=True, slots=True)
class Offer:
    """Report to a peer that asked which chunks this node can give. An empty `have` means all.

    `hashes` is empty if the peer has the list already.
    """

    peer: bytes
    digest: bytes
    hashes: bytes
    have: bytes


@dataclass(frozen=True, slots=True)
class Complete:
    """All chunks are stored and have these hashes."""

    digest: bytes
    hashes: bytes


@dataclass(frozen=True, slots=True)
class Blame:
    """A peer sent data that the signed record refutes. It is not asked for this snapshot again."""

    peer: bytes
    digest: bytes
    reason: str


Effect = Ask | Want | Check | Store | Offer | Complete | Blame


@dataclass(slots=True)
class _Peer:
    owed: dict[tuple[bytes, int], float] = field(default_factory=dict)
    """By (digest, index) of each requested chunk, when it was requested."""
    window: int = FIRST_WINDOW
    patience: float = PATIENCE_S
    since: float = 0.0
    """When it last delivered, or was first asked after an idle time."""
    strikes: int = 0
    """How often it was late since its last delivery."""


class Transfers:
    """What to request from which peer. Every method that takes an event returns the effects, in
    order.

    Args:
        rng: spreads the requests in time, and readers over chunks.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._peers: dict[bytes, _Peer] = {}
        self._downloads: dict[bytes, Download] = {}

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._downloads

    def progress(self, digest: bytes) -> tuple[int, int]:
        """(bytes stored, total bytes) of a download under way."""
        download = self._downloads[digest]
        return download.done_bytes, download.snapshot.size

    def can_give(self, digest: bytes, index: int) -> bool:
        """Whether this chunk of a download under way is verified."""
        download = self._downloads.get(digest)
        return download is not None and bool(download.stored >> index & 1)

    def fetch(self, snapshot: Snapshot, now: float) -> list[Effect]:
        """Start a download. One that is under way continues, and may turn out to have this size if
        records state different sizes."""
        download = self._downloads.setdefault(snapshot.digest, Download(snapshot))
        if not download.hashes and snapshot.size != download.snapshot.size:
            download.others[snapshot.size] = None
            download.banned.clear()  # they may have sent a list that fits only this size
        return self._asks(now)

    def cancel(self, digest: bytes, now: float) -> list[Effect]:
        """Stop a download. The peers' windows serve the others."""
        if self._downloads.pop(digest, None) is not None:
            for peer in self._peers.values():
                peer.owed = {k: at for k, at in peer.owed.items() if k[0] != digest}
        return self._wants(now)

    def peer_up(self, peer: bytes, now: float) -> list[Effect]:
        """A peer's link came up: ask it at once."""
        self._peers.setdefault(peer, _Peer())
        for download in self._downloads.values():
            download.asks.pop(peer, None)
        return self._asks(now)

    def peer_down(self, peer: bytes, now: float) -> list[Effect]:
        """A peer's last link is gone: request from others what it owed."""
        for digest, download in self._downloads.items():
            self._take_back(peer, digest)
            download.askers.pop(peer, None)
        self._peers.pop(peer, None)
        return self._wants(now)

    def asked(self, peer: bytes, digest: bytes) -> list[Effect]:
        """A peer asks for a snapshot that this node downloads: report the chunks here, and later
        ones."""
        download = self._downloads[digest]
        download.askers[peer] = 0
        return self._offers(digest, download)

    def holds(
        self, peer: bytes, digest: bytes, hashes: bytes, have: bytes, now: float
    ) -> list[Effect]:
        """A peer reports which chunks it can give, and the hash list."""
        download = self._downloads.get(digest)
        if download is None or peer not in self._peers or peer in download.banned:
            return []
        if not download.accepts(hashes):
            return self._blame(peer, digest, "its hash list is not the signed one", now)
        first = not download.hashes
        download.hashes = hashes
        told = self.has(peer, digest, have, now)
        return [Check(download.snapshot, hashes), *told] if first else told

    def has(self, peer: bytes, digest: bytes, have: bytes, now: float) -> list[Effect]:
        """A peer reports which chunks it can give now."""
        download = self._downloads.get(digest)
        if download is None or peer not in self._peers or peer in download.banned:
            return []
        if download.others and not download.hashes:
            return []  # the number of chunks is unknown; the peer is asked again
        bits = bits_of(have, chunk_count(download.snapshot.size))
        if bits is None:
            return self._blame(peer, digest, "it offers chunks that do not exist", now)
        # Messages overtake each other: a set smaller than an earlier one is older.
        download.hold(peer, bits | download.holders.get(peer, 0))
        return self._wants(now)

    def lacks(self, peer: bytes, digest: bytes, now: float) -> list[Effect]:
        """A peer reports that it does not hold a snapshot, or no longer."""
        self._take_back(peer, digest)
        return self._wants(now)

    def resumed(self, digest: bytes, indices: Iterable[int], now: float) -> list[Effect]:
        """The answer to `Check`: these chunks on disk fit the list."""
        download = self._downloads.get(digest)
        if download is None or download.resumed:
            return []
        size = download.snapshot.size
        for index in indices:
            download.stored |= 1 << index
            download.done_bytes += chunk_length(size, index)
        download.wanted = (1 << chunk_count(size)) - 1 & ~download.stored
        download.left = download.wanted.bit_count()
        download.resumed = True
        return self._wants(now) if download.left else self._completed(digest, now)

    def chunk(
        self, peer: bytes, digest: bytes, index: int, data: Buffer, now: float
    ) -> list[Effect]:
        """A peer delivered a chunk."""
        known, download = self._peers.get(peer), self._downloads.get(digest)
        if known is None:
            return []
        if download is None or not download.resumed or peer in download.banned:
            return self._wants(now)
        if not download.fits(index, data):
            return self._blame(peer, digest, f"chunk {index} does not match the signed hash", now)
        prompt = now - known.owed.pop((digest, index), now) <= PROMPT_S
        known.window = min(WINDOW, known.window + 1) if prompt else max(1, known.window - 1)
        known.strikes = 0
        known.patience, known.since = PATIENCE_S, now
        bit = 1 << index
        if download.stored & bit:
            return self._wants(now)
        download.stored |= bit
        download.wanted &= ~bit
        download.left -= 1
        download.done_bytes += len(data)
        stored: list[Effect] = [Store(digest, index, data)]
        return stored + (self._wants(now) if download.left else self._completed(digest, now))

    def tick(self, now: float) -> list[Effect]:
        """Time passed: others take over the chunks of late peers, and peers are asked again."""
        for name, peer in self._peers.items():
            if peer.owed and now - peer.since >= self._patience(name):
                for digest, index in peer.owed:
                    self._want_again(digest, index)
                self._peers[name] = _Peer(
                    window=max(1, peer.window // 2),
                    patience=min(MAX_PATIENCE_S, 2 * peer.patience),
                    strikes=peer.strikes + 1,
                )
        offers = [o for item in self._downloads.items() for o in self._offers(*item)]
        return self._asks(now) + self._wants(now) + offers

    def _patience(self, name: bytes) -> float:
        """Seconds of silence that make a peer late: few if an idle peer could take over."""
        peer = self._peers[name]
        idle = any(
            not other.owed
            and not other.strikes
            and self._downloads[digest].holders.get(key, 0) >> index & 1
            for key, other in self._peers.items()
            for digest, index in peer.owed
        )
        return min(RELIEF_S, peer.patience) if idle else peer.patience

    def _asks(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for digest, download in self._downloads.items():
            for peer in self._peers:
                # A peer that gave all it had may have more by now; its report may be lost.
                gives = download.holders.get(peer, 0) & ~download.stored
                if gives or peer in download.banned:
                    continue
                due, pause = download.asks.get(peer, (now, FIRST_ASK_S))
                pause = LAST_ASK_S if peer in download.holders else pause
                if now >= due:
                    later = now + pause * self._rng.uniform(0.75, 1.25)
                    download.asks[peer] = (later, min(LAST_ASK_S, 2 * pause))
                    effects.append(Ask(peer, digest))
        return effects

    def _offers(self, digest: bytes, download: Download) -> list[Effect]:
        """Offers of the chunks that each asking peer does not know of yet."""
        effects: list[Effect] = []
        size = chunk_count(download.snapshot.size)
        for peer, told in download.askers.items():
            if download.stored != told:
                hashes = b"" if told else download.hashes
                effects.append(Offer(peer, digest, hashes, bytes_of(download.stored, size)))
                download.askers[peer] = download.stored
        return effects

    def _wants(self, now: float) -> list[Effect]:
        """Fill the windows: the peer with the fewest requests first, the rarest chunks first."""
        effects: list[Effect] = []
        free = {name: peer for name, peer in self._peers.items() if len(peer.owed) < peer.window}
        while free:
            name = min(free, key=lambda key: (free[key].strikes, len(free[key].owed)))
            peer, digest = free[name], self._rarest(name)
            if digest is None:
                del free[name]
                continue
            if not peer.owed:
                peer.since = now
            download = self._downloads[digest]
            index = self._any(download.rarest(name))
            download.wanted &= ~(1 << index)
            peer.owed[digest, index] = now
            effects.append(Want(name, digest, index))
            if len(peer.owed) >= peer.window:
                del free[name]
        return effects

    def _rarest(self, peer: bytes) -> bytes | None:
        """The snapshot with the fewest holders, among those from which this peer can give a
        chunk."""
        found, fewest = None, len(self._peers) + 1
        for digest, download in self._downloads.items():
            holders = len(download.holders)
            if holders < fewest and download.wanted & download.holders.get(peer, 0):
                found, fewest = digest, holders
        return found

    def _any(self, chunks: int) -> int:
        """A random one of these chunks, so that several readers of one holder request different
        ones."""
        start = self._rng.randrange(chunks.bit_length())
        above = chunks >> start
        return start + (above & -above).bit_length() - 1

    def _blame(self, peer: bytes, digest: bytes, reason: str, now: float) -> list[Effect]:
        self._downloads[digest].banned[peer] = None
        self._take_back(peer, digest)
        blamed: list[Effect] = [Blame(peer, digest, reason)]
        return blamed + self._wants(now)

    def _take_back(self, peer: bytes, digest: bytes) -> None:
        """The peer gives nothing of this snapshot: request from others what it owes."""
        known, download = self._peers.get(peer), self._downloads.get(digest)
        if known is None or download is None:
            return
        download.drop(peer)
        for key in [key for key in known.owed if key[0] == digest]:
            del known.owed[key]
            self._want_again(*key)

    def _want_again(self, digest: bytes, index: int) -> None:
        download = self._downloads[digest]
        download.wanted |= 1 << index & ~download.stored

    def _completed(self, digest: bytes, now: float) -> list[Effect]:
        download = self._downloads[digest]
        offers: list[Effect] = [
            Offer(peer, digest, b"" if told else download.hashes, b"")
            for peer, told in download.askers.items()
        ]
        return [Complete(digest, download.hashes), *offers, *self.cancel(digest, now)]
