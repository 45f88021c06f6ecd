"""Carries chunks between links and files: serves peers, and fetches the requested snapshots."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from random import Random

from dcfm_node.errors import PeerError
from dcfm_node.net import frames as wire
from dcfm_node.net.frames import Buffer
from dcfm_node.net.peers import Faulted, Flooded, Refused
from dcfm_node.net.rate_limits import BulkLimiter
from dcfm_node.records.entries import Snapshot
from dcfm_node.swarm import transfer
from dcfm_node.swarm.chunks import SnapshotFiles, chunk_count, chunk_hash
from dcfm_node.swarm.transfer import Transfers
from dcfm_node.swarm.uploads import Uploads

SCAN_CHUNKS = 16
"""Chunks of a partial file to hash between two polls of the sockets."""
SENDS = 16
"""Chunks to send between two polls of the sockets."""
RETRY_S = 30.0
"""Seconds until a download continues after the disk refused a write."""
PROGRESS_S = 0.5
REFUSALS = (OSError, MemoryError)
"""Errors of the machine when it reads or writes a chunk."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A snapshot is complete, verified and in its final place."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class FetchProgressed:
    """Progress of a download, at most every `PROGRESS_S` seconds."""

    digest: bytes
    done_bytes: int
    total: int


@dataclass(frozen=True, slots=True)
class BadPeer:
    """A peer sent something invalid. `digest` is empty if it was not a message."""

    peer_id: bytes
    digest: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """The disk refused a write. The download pauses for `RETRY_S` seconds."""

    digest: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class ServeFailed:
    """The node could not read a held snapshot for a peer."""

    digest: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Crashed:
    """The bulk thread ended because of a bug; all transfers stopped."""

    reason: str


BulkEvent = (
    Fetched
    | FetchProgressed
    | BadPeer
    | Flooded
    | FetchFailed
    | ServeFailed
    | Crashed
    | Refused
    | Faulted
)


@dataclass(slots=True)
class _Scan:
    """The hashing of the chunks in a partial file."""

    hashes: bytes
    next: int = 0
    found: list[int] = field(default_factory=list)


class Carrier:
    """Moves chunks. Not thread-safe: only one thread may call it.

    Args:
        send: never blocks; returns False if the message was not sent. A timeout repairs that.
        upload: most bytes of chunks sent per second; the default sets no limit.
    """

    def __init__(
        self,
        files: SnapshotFiles,
        send: Callable[[bytes, list[Buffer]], bool],
        notify: Callable[[BulkEvent], None],
        rng: Random,
        upload: float = inf,
    ) -> None:
        self._files, self._send, self._notify = files, send, notify
        self._transfers = Transfers(rng)
        self._uploads = Uploads(upload)
        self._scans: dict[bytes, _Scan] = {}
        self._snapshots: dict[bytes, Snapshot] = {}
        self._others: dict[bytes, dict[int, Snapshot]] = {}
        """By digest: the other sizes that records name."""
        self._retries: dict[bytes, float] = {}
        self._told: dict[bytes, float] = {}
        self._malformed: dict[bytes, None] = {}
        self._limiters: dict[bytes, BulkLimiter] = {}

    def set_upload(self, upload: float) -> None:
        """Send at most this many bytes of chunks per second from now on."""
        self._uploads.set_rate(upload)

    def due(self, now: float) -> float:
        """The time at which `step` has work; `inf` if there is nothing to hash or send."""
        return now if self._scans else self._uploads.next_at(now)

    def fetch(self, snapshot: Snapshot, now: float) -> None:
        """Download a snapshot, unless it is held or downloading. A digest may come with several
        sizes; the right one is found later."""
        digest = snapshot.digest
        if digest not in self._snapshots:
            self._snapshots[digest], self._others[digest] = snapshot, {}
            self._start(digest, now)
        elif snapshot != self._snapshots[digest]:
            self._others[digest][snapshot.size] = snapshot
            if digest in self._transfers:
                self._apply(self._transfers.fetch(snapshot, now), now)

    def cancel(self, digest: bytes, now: float) -> None:
        """Stop a download, and delete its partial file."""
        if digest in self._snapshots:
            self._forget(digest)
            self._apply(self._transfers.cancel(digest, now), now)
            self._discard(digest)

    def linked(self, peer: bytes, up: bool, now: float) -> None:
        """A peer's first link came up, or its last went down."""
        self._malformed.pop(peer, None)
        if not up:
            self._uploads.forget(peer)
        change = self._transfers.peer_up if up else self._transfers.peer_down
        self._apply(change(peer, now), now)

    def received(self, peer: bytes, frames: Sequence[Buffer], now: float) -> None:
        """A message of an authenticated peer."""
        try:
            message = wire.decode(frames)
        except PeerError as error:
            if peer not in self._malformed:
                self._malformed[peer] = None
                self._notify(BadPeer(peer, b"", str(error)))
            return
        limiter = self._limiters.setdefault(peer, BulkLimiter(now))
        if not limiter.take(isinstance(message, wire.Ask), now):
            if limiter.dropped & (limiter.dropped - 1) == 0:  # the 1st, 2nd, 4th, 8th ...
                self._notify(Flooded(peer, limiter.dropped))
            return
        match message:
            case wire.Ask(digest):
                self._answer(peer, digest, now)
            case wire.Want(digest, index):
                self._uploads.want(peer, digest, index)
            case wire.Holds(digest, have, hashes):
                self._apply(self._transfers.holds(peer, digest, bytes(hashes), have, now), now)
            case wire.Has(digest, have):
                self._apply(self._transfers.has(peer, digest, have, now), now)
            case wire.Lacks(digest):
                self._apply(self._transfers.lacks(peer, digest, now), now)
            case wire.Chunk(digest, index, data):
                self._apply(self._transfers.chunk(peer, digest, index, data, now), now)

    def tick(self, now: float) -> None:
        """Continue paused downloads and time out requests; call it often."""
        for digest, due in list(self._retries.items()):
            if now >= due:
                del self._retries[digest]
                self._start(digest, now)
        self._apply(self._transfers.tick(now), now)

    def step(self, now: float) -> None:
        """Hash a few more chunks of a partial file, and send chunks that the rate allows."""
        for digest, scan in list(self._scans.items())[:1]:
            try:
                self._scan(digest, scan)
            except REFUSALS as error:
                self._postpone(digest, error, now)
                return
            if scan.next * 32 >= len(scan.hashes):
                del self._scans[digest]
                self._apply(self._transfers.resumed(digest, scan.found, now), now)
        for _ in range(SENDS):
            if (upload := self._uploads.take(now)) is None:
                return
            peer, digest, index = upload
            self._send(peer, wire.encode(self._chunk(digest, index)))

    def _start(self, digest: bytes, now: float) -> None:
        snapshot = self._snapshots[digest]
        try:
            held = self._files.hashes(digest) is not None
            if not held:
                self._files.begin(snapshot)
        except REFUSALS as error:
            self._postpone(digest, error, now)
            return
        if held:
            self._forget(digest)
            self._notify(Fetched(digest))
        else:
            for either in (snapshot, *self._others[digest].values()):
                self._apply(self._transfers.fetch(either, now), now)

    def _resize(self, snapshot: Snapshot, now: float) -> bool:
        """Use the snapshot's right size, which its hash list shows. False if the disk refused."""
        known = self._snapshots[snapshot.digest]
        if snapshot == known:
            return True
        self._others[snapshot.digest][known.size] = known
        self._snapshots[snapshot.digest] = snapshot
        try:
            self._files.begin(snapshot)
        except REFUSALS as error:
            self._postpone(snapshot.digest, error, now)
            return False
        return True

    def _apply(self, effects: list[transfer.Effect], now: float) -> None:
        for effect in effects:
            match effect:
                case transfer.Ask(peer, digest):
                    self._send(peer, wire.encode(wire.Ask(digest)))
                case transfer.Want(peer, digest, index):
                    self._send(peer, wire.encode(wire.Want(digest, index)))
                case transfer.Check(snapshot, hashes):
                    if self._resize(snapshot, now):
                        self._scans[snapshot.digest] = _Scan(hashes)
                case transfer.Store(digest, index, data):
                    self._store(digest, index, data, now)
                case transfer.Offer(peer, digest, hashes, have):
                    offer = wire.Holds(digest, have, hashes) if hashes else wire.Has(digest, have)
                    self._send(peer, wire.encode(offer))
                case transfer.Complete(digest, hashes):
                    self._finish(digest, hashes, now)
                case transfer.Blame(peer, digest, reason):
                    self._notify(BadPeer(peer, digest, reason))

    def _store(self, digest: bytes, index: int, data: Buffer, now: float) -> None:
        try:
            self._files.write(digest, index, data)
        except REFUSALS as error:
            self._postpone(digest, error, now)
            return
        if digest in self._transfers and now - self._told.get(digest, -PROGRESS_S) >= PROGRESS_S:
            self._told[digest] = now
            self._notify(FetchProgressed(digest, *self._transfers.progress(digest)))

    def _finish(self, digest: bytes, hashes: bytes, now: float) -> None:
        if digest in self._retries:  # the last chunk was not written
            return
        try:
            self._files.finish(digest, hashes)
        except REFUSALS as error:
            self._postpone(digest, error, now)
            return
        size = self._snapshots[digest].size
        self._forget(digest)
        self._notify(FetchProgressed(digest, size, size))
        self._notify(Fetched(digest))

    def _postpone(self, digest: bytes, error: Exception, now: float) -> None:
        """Pause a download. The chunks on disk are used when it continues."""
        self._scans.pop(digest, None)
        self._retries[digest] = now + RETRY_S
        self._notify(FetchFailed(digest, f"{type(error).__name__}: {error}"))
        self._apply(self._transfers.cancel(digest, now), now)

    def _forget(self, digest: bytes) -> None:
        for table in (self._snapshots, self._others, self._scans, self._retries, self._told):
            table.pop(digest, None)

    def _discard(self, digest: bytes) -> None:
        try:
            self._files.discard(digest)
        except REFUSALS as error:
            self._notify(FetchFailed(digest, f"cannot remove: {error}"))

    def _scan(self, digest: bytes, scan: _Scan) -> None:
        size = self._snapshots[digest].size
        for index in range(scan.next, min(scan.next + SCAN_CHUNKS, chunk_count(size))):
            data = self._files.read(digest, index)
            if data and chunk_hash(data) == scan.hashes[32 * index : 32 * index + 32]:
                scan.found.append(index)
            scan.next = index + 1

    def _answer(self, peer: bytes, digest: bytes, now: float) -> None:
        """Tell a peer what we hold of a snapshot; for a download, also when there is more."""
        hashes = self._files.hashes(digest)
        if hashes is not None:
            self._send(peer, wire.encode(wire.Holds(digest, b"", hashes)))
        elif digest in self._transfers:
            self._apply(self._transfers.asked(peer, digest), now)
        else:
            self._send(peer, wire.encode(wire.Lacks(digest)))

    def _chunk(self, digest: bytes, index: int) -> wire.Chunk | wire.Lacks:
        if self._files.hashes(digest) is None and not self._transfers.can_give(digest, index):
            return wire.Lacks(digest)
        try:
            data = self._files.read(digest, index)
        except REFUSALS as error:
            self._notify(ServeFailed(digest, f"{type(error).__name__}: {error}"))
            return wire.Lacks(digest)
        return wire.Chunk(digest, index, data) if data else wire.Lacks(digest)
