"""Fetching a snapshot as what changed since one that is held, and whole where that fails."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Set
from dataclasses import dataclass

import structlog

from dcfm_node.errors import PeerError
from dcfm_node.records.entries import Delta, Snapshot
from dcfm_node.store.delta import decode
from dcfm_node.store.snapshots import SnapshotStore

log = structlog.get_logger()

PATIENCE_S = 10.0
"""Without a byte of the delta for so long, the snapshot is fetched whole: those who hold it may
have got it that way."""


def restore(
    store: SnapshotStore, deltas: Mapping[bytes, Delta], held: Set[bytes], named: Set[bytes]
) -> None:
    """After a start, serve the deltas on disk that make what is held, and keep no others. What is
    `named` as a snapshot is no delta, whoever says so."""
    for digest, delta in deltas.items():
        if digest in held:
            store.verify(delta.coded.digest)
        elif delta.coded.digest not in named:
            store.remove(delta.coded.digest)


@dataclass(slots=True)
class _Wanted:
    snapshot: Snapshot
    delta: Delta
    moved: bool = False
    timer: asyncio.TimerHandle | None = None


class Deltas:
    """Stands between what the swarm wants fetched and the network.

    Args:
        width: bytes of a number in the run's snapshots.
        fetch, cancel: the network's.
        arrived: called with the digest of a snapshot that is whole on disk, still unchecked.
        spawn: runs a coroutine beside the loop.
        named: whether a record names a digest as that of a snapshot. Any member may name it as a
            delta, too: what is named so is never taken for one, nor given up or removed as one.
    """

    def __init__(
        self,
        store: SnapshotStore,
        width: int,
        *,
        fetch: Callable[[Snapshot], None],
        cancel: Callable[[bytes], None],
        arrived: Callable[[bytes], None],
        spawn: Callable[[Coroutine[None, None, None]], None],
        named: Callable[[bytes], bool],
    ) -> None:
        self._store, self._width, self._named = store, width, named
        self._fetch, self._cancel, self._arrived, self._spawn = fetch, cancel, arrived, spawn
        self._wanted: dict[bytes, _Wanted] = {}
        """By the digest of the delta."""

    def fetch(self, snapshot: Snapshot, delta: Delta | None) -> None:
        """Get a snapshot, by its delta where the base is on disk."""
        if delta is None or not self._serves(delta):
            self._fetch(snapshot)
            return
        self._wanted[delta.coded.digest] = wanted = _Wanted(snapshot, delta)
        self._wait(wanted)
        self._fetch(delta.coded)

    def cancel(self, digest: bytes) -> None:
        """Give a snapshot up."""
        for wanted in [w for w in self._wanted.values() if w.snapshot.digest == digest]:
            self._give_up(wanted)
        self._cancel(digest)

    def drop(self, delta: Delta) -> None:
        """Remove a delta whose snapshot nobody needs any more."""
        if not self._named(delta.coded.digest):
            self._store.remove(delta.coded.digest)

    def moved(self, digest: bytes) -> None:
        """Bytes of a download came."""
        if digest in self._wanted:
            self._wanted[digest].moved = True

    def fetched(self, digest: bytes) -> None:
        """A download is whole: a snapshot, or a delta to be decoded."""
        wanted = self._wanted.get(digest)
        if wanted is None:
            self._arrived(digest)
            return
        self._forget(wanted)
        self._spawn(self._decode(wanted))
        if self._named(digest):
            self._arrived(digest)

    def _serves(self, delta: Delta) -> bool:
        """Whether a snapshot can be had by its delta."""
        coded = delta.coded.digest
        taken = coded in self._wanted or self._named(coded)
        return not taken and self._store.hashes(delta.base) is not None

    def _wait(self, wanted: _Wanted) -> None:
        wanted.moved = False
        loop = asyncio.get_running_loop()
        wanted.timer = loop.call_later(PATIENCE_S, self._late, wanted)

    def _late(self, wanted: _Wanted) -> None:
        if wanted.moved:
            self._wait(wanted)
            return
        self._give_up(wanted)
        self._fetch(wanted.snapshot)

    def _give_up(self, wanted: _Wanted) -> None:
        self._forget(wanted)
        if not self._named(wanted.delta.coded.digest):
            self._cancel(wanted.delta.coded.digest)

    def _forget(self, wanted: _Wanted) -> None:
        del self._wanted[wanted.delta.coded.digest]
        if wanted.timer is not None:
            wanted.timer.cancel()

    async def _decode(self, wanted: _Wanted) -> None:
        digest = wanted.snapshot.digest
        try:
            await asyncio.to_thread(self._make, wanted)
        except Exception as error:  # whatever it is: the snapshot itself is still to be had
            log.warning("delta_failed", snapshot=digest.hex()[:8], why=repr(error)[:200])
            self.drop(wanted.delta)
            self._fetch(wanted.snapshot)
            return
        self._arrived(digest)

    def _make(self, wanted: _Wanted) -> None:
        base = self._store.path(wanted.delta.base)
        coded = self._store.path(wanted.delta.coded.digest)
        if base is None or coded is None:
            raise PeerError("the base or the delta is gone from the disk")
        made = coded.with_stem(wanted.snapshot.digest.hex()).with_suffix(".made")
        try:
            decode(base, coded, made, wanted.snapshot.size, self._width)
            self._store.install(made, wanted.snapshot.digest)
        finally:
            made.unlink(missing_ok=True)
