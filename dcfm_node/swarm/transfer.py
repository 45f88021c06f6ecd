"""Downloading snapshots from several holders at once (SPEC 5). Pure: events in, effects out.

A snapshot is cut into chunks of 1 MiB. Its signed record carries the SHA-256 over the list of their
SHA-256, so a list from anyone can be checked, and then every chunk on its own: whoever sent a wrong
byte is known at once. A peer is slow as long as it delivers anything, and only then late.
"""

import hashlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from dcfm_node.records.entries import Snapshot

CHUNK_BYTES = 1 << 20
"""Every chunk of a snapshot has this size except its last."""
WINDOW = 16
"""Chunks asked of one peer and not yet delivered, at most."""
FIRST_WINDOW = 4
PATIENCE_S = 30.0
"""A peer that owes chunks and delivers none for so long is late; doubled each time it is."""
MAX_PATIENCE_S = 480.0
RELIEF_S = 5.0
"""It is late after so long already when another holder has nothing to do."""
FIRST_ASK_S, LAST_ASK_S = 2.0, 30.0
"""Pauses before a peer that does not hold a snapshot is asked again."""


class SnapshotFiles(Protocol):
    """Where the bytes of snapshots lie. May raise OSError; called from the bulk thread alone."""

    def view(self, digest: bytes) -> memoryview | None:
        """The mapped bytes of a snapshot held whole, None when it is not held."""
        ...

    def begin(self, snapshot: Snapshot) -> None:
        """Allocate the partial file of a snapshot, or reopen the one that is there."""
        ...

    def read_partial(self, digest: bytes, index: int) -> bytes:
        """Chunk `index` as the partial file has it, to be hashed again when resuming."""
        ...

    def write(self, digest: bytes, index: int, data: bytes) -> None:
        """Put chunk `index` at its place in the partial file."""
        ...

    def finish(self, digest: bytes) -> None:
        """Hash the whole file, sync it and rename it into place. PeerError on a mismatch."""
        ...

    def discard(self, digest: bytes) -> None:
        """Remove the partial file, if there is one."""
        ...


def chunk_count(size: int) -> int:
    """Chunks of a snapshot of `size` bytes."""
    return -(-size // CHUNK_BYTES)


def chunk_length(size: int, index: int) -> int:
    """Bytes in chunk `index` of a snapshot of `size` bytes."""
    return min(CHUNK_BYTES, size - index * CHUNK_BYTES)


def chunk_hashes(data: bytes | memoryview) -> bytes:
    """SHA-256 of every chunk, concatenated: 32 bytes each."""
    view = memoryview(data)
    return b"".join(
        hashlib.sha256(view[start : start + CHUNK_BYTES]).digest()
        for start in range(0, len(view), CHUNK_BYTES)
    )


def chunk_root(hashes: bytes) -> bytes:
    """SHA-256 over the concatenated hashes: what `Snapshot.chunks` says."""
    return hashlib.sha256(hashes).digest()


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask a peer whether it holds a snapshot, and for its hash list."""

    peer: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Want:
    """Ask a peer for a chunk."""

    peer: bytes
    digest: bytes
    index: int


@dataclass(frozen=True, slots=True)
class Check:
    """The list is known: say by `resumed` which chunks on disk fit it."""

    digest: bytes
    hashes: bytes


@dataclass(frozen=True, slots=True)
class Store:
    """A verified chunk."""

    digest: bytes
    index: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Complete:
    """Every chunk was stored."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class Blame:
    """A peer sent what the signed record refutes; it is asked for this snapshot no more."""

    peer: bytes
    digest: bytes
    reason: str


Effect = Ask | Want | Check | Store | Complete | Blame


@dataclass(slots=True)
class _Peer:
    owed: dict[tuple[bytes, int], None] = field(default_factory=dict)
    """(digest, index) of the chunks asked of it."""
    window: int = FIRST_WINDOW
    patience: float = PATIENCE_S
    since: float = 0.0
    """When it last delivered, or was first asked after a rest."""
    strikes: int = 0
    """How often it was late since it last delivered."""


@dataclass(slots=True)
class _Download:
    snapshot: Snapshot
    hashes: bytes = b""
    missing: deque[int] = field(default_factory=deque)
    """To be asked for; may name chunks that arrived late meanwhile."""
    stored: bytearray = field(default_factory=bytearray)
    """1 for every chunk that we have; empty until `resumed`."""
    left: int = 0
    done_bytes: int = 0
    holders: dict[bytes, None] = field(default_factory=dict)
    banned: dict[bytes, None] = field(default_factory=dict)
    asks: dict[bytes, tuple[float, float]] = field(default_factory=dict)
    """(when to ask, pause after that) of every peer asked before."""


class Transfers:
    """What to ask of whom. Every method that takes an event returns the effects, in order.

    Args:
        rng: spreads the asking of peers in time.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._peers: dict[bytes, _Peer] = {}
        self._downloads: dict[bytes, _Download] = {}

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._downloads

    def progress(self, digest: bytes) -> tuple[int, int]:
        """(bytes stored, bytes in all) of a download under way."""
        download = self._downloads[digest]
        return download.done_bytes, download.snapshot.size

    def fetch(self, snapshot: Snapshot, now: float) -> list[Effect]:
        """Start a download; one that is under way goes on as it is."""
        self._downloads.setdefault(snapshot.digest, _Download(snapshot))
        return self._asks(now)

    def cancel(self, digest: bytes, now: float) -> list[Effect]:
        """Forget a download; the peers' windows serve the others."""
        if self._downloads.pop(digest, None) is not None:
            for peer in self._peers.values():
                peer.owed = {key: None for key in peer.owed if key[0] != digest}
        return self._wants(now)

    def peer_up(self, peer: bytes, now: float) -> list[Effect]:
        """A peer is linked: ask it at once."""
        self._peers.setdefault(peer, _Peer())
        for download in self._downloads.values():
            download.asks.pop(peer, None)
        return self._asks(now)

    def peer_down(self, peer: bytes, now: float) -> list[Effect]:
        """A peer's last link is gone: others are asked for what it owed."""
        for digest in self._downloads:
            self._take_back(peer, digest)
        self._peers.pop(peer, None)
        return self._wants(now)

    def holds(self, peer: bytes, digest: bytes, hashes: bytes, now: float) -> list[Effect]:
        """A peer says that it holds a snapshot, whose hash list is this."""
        download = self._downloads.get(digest)
        if download is None or peer not in self._peers or peer in download.banned:
            return []
        if chunk_root(hashes) != download.snapshot.chunks:
            return self._blame(peer, digest, "its hash list is not the signed one", now)
        if len(hashes) != 32 * chunk_count(download.snapshot.size):
            return self._blame(peer, digest, "its hash list does not fit the signed size", now)
        download.holders[peer] = None
        if not download.hashes:
            download.hashes = hashes
            return [Check(digest, hashes)]
        return self._wants(now)

    def lacks(self, peer: bytes, digest: bytes, now: float) -> list[Effect]:
        """A peer says that it does not hold a snapshot (any more)."""
        self._take_back(peer, digest)
        return self._wants(now)

    def resumed(self, digest: bytes, indices: Iterable[int], now: float) -> list[Effect]:
        """After `Check`: these chunks on disk fit the list."""
        download = self._downloads.get(digest)
        if download is None or download.stored:
            return []
        size = download.snapshot.size
        download.stored = bytearray(chunk_count(size))
        for index in indices:
            download.stored[index] = 1
            download.done_bytes += chunk_length(size, index)
        download.missing.extend(i for i, have in enumerate(download.stored) if not have)
        download.left = len(download.missing)
        return self._completed(digest) if not download.left else self._wants(now)

    def chunk(
        self, peer: bytes, digest: bytes, index: int, data: bytes, now: float
    ) -> list[Effect]:
        """A peer delivered a chunk."""
        known, download = self._peers.get(peer), self._downloads.get(digest)
        if known is None:
            return []
        if download is None or not download.stored or peer in download.banned:
            return self._wants(now)
        if not self._fits(download, index, data):
            return self._blame(peer, digest, f"chunk {index} is not what was signed", now)
        known.owed.pop((digest, index), None)
        known.window, known.strikes = min(WINDOW, known.window + 1), 0
        known.patience, known.since = PATIENCE_S, now
        if download.stored[index]:
            return self._wants(now)
        download.stored[index] = 1
        download.left -= 1
        download.done_bytes += len(data)
        stored: list[Effect] = [Store(digest, index, data)]
        return stored + (self._wants(now) if download.left else self._completed(digest))

    def tick(self, now: float) -> list[Effect]:
        """Time passed: peers that are late lose their chunks to others, and asking goes on."""
        for name, peer in self._peers.items():
            if peer.owed and now - peer.since >= self._patience(name):
                for digest, index in peer.owed:
                    self._downloads[digest].missing.appendleft(index)
                self._peers[name] = _Peer(
                    window=max(1, peer.window // 2),
                    patience=min(MAX_PATIENCE_S, 2 * peer.patience),
                    strikes=peer.strikes + 1,
                )
        return self._asks(now) + self._wants(now)

    def _patience(self, name: bytes) -> float:
        """Seconds of silence that make a peer late: few when an idle one could step in."""
        peer = self._peers[name]
        digests = dict.fromkeys(digest for digest, _ in peer.owed)
        idle = any(
            not other.owed and not other.strikes and key in self._downloads[digest].holders
            for key, other in self._peers.items()
            for digest in digests
        )
        return min(RELIEF_S, peer.patience) if idle else peer.patience

    def _asks(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for digest, download in self._downloads.items():
            for peer in self._peers:
                if peer in download.holders or peer in download.banned:
                    continue
                due, pause = download.asks.get(peer, (now, FIRST_ASK_S))
                if now >= due:
                    later = now + pause * self._rng.uniform(0.75, 1.25)
                    download.asks[peer] = (later, min(LAST_ASK_S, 2 * pause))
                    effects.append(Ask(peer, digest))
        return effects

    def _wants(self, now: float) -> list[Effect]:
        """Fill the windows: the least burdened peer first, its rarest snapshot first."""
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
            index = self._downloads[digest].missing.popleft()
            peer.owed[digest, index] = None
            effects.append(Want(name, digest, index))
            if len(peer.owed) >= peer.window:
                del free[name]
        return effects

    def _rarest(self, peer: bytes) -> bytes | None:
        """The snapshot with the fewest holders of those from which this peer can give a chunk."""
        found, fewest = None, len(self._peers) + 1
        for digest, download in self._downloads.items():
            if peer not in download.holders or len(download.holders) >= fewest:
                continue
            while download.missing and download.stored[download.missing[0]]:
                download.missing.popleft()
            if download.missing:
                found, fewest = digest, len(download.holders)
        return found

    def _fits(self, download: _Download, index: int, data: bytes) -> bool:
        size = download.snapshot.size
        return (
            0 <= index < chunk_count(size)
            and len(data) == chunk_length(size, index)
            and hashlib.sha256(data).digest() == download.hashes[32 * index : 32 * index + 32]
        )

    def _blame(self, peer: bytes, digest: bytes, reason: str, now: float) -> list[Effect]:
        self._downloads[digest].banned[peer] = None
        self._take_back(peer, digest)
        blamed: list[Effect] = [Blame(peer, digest, reason)]
        return blamed + self._wants(now)

    def _take_back(self, peer: bytes, digest: bytes) -> None:
        """The peer gives nothing of this snapshot: what it owes is asked of others."""
        known, download = self._peers.get(peer), self._downloads.get(digest)
        if known is None or download is None:
            return
        download.holders.pop(peer, None)
        for key in [key for key in known.owed if key[0] == digest]:
            del known.owed[key]
            download.missing.appendleft(key[1])

    def _completed(self, digest: bytes) -> list[Effect]:
        self.cancel(digest, 0.0)
        return [Complete(digest)]
