"""Records what both planes send in the egress ledger, off the way of what is sent.

Sending only appends to a list. Every `WRITE_S` seconds another thread sorts what the list holds and
writes it, durable on return: a crash loses at most that. Nothing waits for the ledger. What the
disk refuses is kept in memory, added up, and written once the disk takes it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import structlog

from dcfm_node.daemon.disk import Disk
from dcfm_node.errors import Failed
from dcfm_node.store.bundles import framed_messages, sizes_of
from dcfm_node.store.egress import HOUR_MS, Ledger
from dcfm_node.store.pairing import PairingStore
from dcfm_node.swarm.chunks import chunk_count
from dcfm_node.swarm.egress import UNSORTED, Plane, Tally, What, sort

log = structlog.get_logger()

WRITE_S = 10.0
"""Seconds between two writes of the ledger."""
MAX_WAITING_BYTES = 32 << 20
"""Most bytes of messages that wait to be sorted. Beyond them, messages are counted unsorted."""
PAIRING = "pairing"
THE_LEDGER = "the egress ledger (dcfm-node egress)"


def wall_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


class Egress:
    """What a running node sent.

    Args:
        me, run: this node's key, and the id of its run.
        names: of the peers, by key.
        clock: Unix milliseconds.
    """

    def __init__(
        self,
        ledger: Ledger,
        disk: Disk,
        *,
        me: bytes,
        run: bytes,
        names: Mapping[bytes, str],
        clock: Callable[[], int] = wall_ms,
    ) -> None:
        self._ledger, self._disk, self._clock = ledger, disk, clock
        self._me, self._run, self._names = me, run, names
        self._lock, self._writing, self._closed = Lock(), asyncio.Lock(), False
        self._waiting: list[tuple[int, bytes, Plane, bytes, int]] = []
        self._waiting_bytes = 0
        self._unwritten = Tally()
        self._opened_ms = clock()
        self._compacted_ms = 0

    def sent(self, peer: bytes, plane: Plane, frames: list[Any]) -> None:
        """Note a message that a link took. Any thread may call it; it never waits for the disk.

        Args:
            frames: byte strings or views of bytes.
        """
        size = sum(map(len, frames))
        with self._lock:
            if self._waiting_bytes > MAX_WAITING_BYTES:
                now = self._clock()
                self._unwritten.add(What(peer, plane, UNSORTED), now, 1, size)
                return
            head = bytes(frames[0])
            self._waiting.append((self._clock(), peer, plane, head, size))
            self._waiting_bytes += len(head)

    def paired(self, guest: bytes, name: str, size: int) -> None:
        """Note an answer to a guest of an invite.

        Args:
            guest: its signing key; empty if it was refused.
            size: bytes.
        """
        with self._lock:
            if name:
                self._names = {**self._names, guest: name}
            self._unwritten.add(What(guest, "control", PAIRING), self._clock(), 1, size)

    async def begin(self) -> None:
        """Note the start in the ledger."""
        kept = await self._tried(lambda: self._ledger.begin(self._opened_ms))
        if kept is not None:
            log.error("egress_ledger_damaged", kept_as=str(kept), next="begin another")

    async def keep(self, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Write the ledger from time to time. Never ends."""
        while True:
            await pause(WRITE_S)
            await self.write()

    async def write(self, *, closed: bool = False) -> None:
        """Write what was sent since the last time.

        Args:
            closed: whether the node sends nothing more.
        """
        async with self._writing:
            if self._closed:
                return
            self._closed = closed
            await self._tried(lambda: self._write(closed))
        if closed and self._unwritten.items:
            items, size = self._unwritten.items, self._unwritten.size
            log.error("egress_unrecorded", messages=items, bytes=size, why="the disk refuses it")

    async def _tried(self, work: Callable[[], Any]) -> Any:
        try:
            found = await asyncio.to_thread(work)
        except Failed as error:
            items, size = self._unwritten.items, self._unwritten.size
            self._disk.refused(
                THE_LEDGER,
                f"{error.what}; {items} messages, {size} bytes, that this node sent are unrecorded,"
                " and are written once the disk takes them, unless the node ends before",
            )
            return None
        self._disk.accepted(THE_LEDGER)
        return found

    def _write(self, closed: bool) -> None:
        with self._lock:
            taken, self._waiting, self._waiting_bytes = self._waiting, [], 0
        sorted_ = Tally()
        for at, peer, plane, head, size in taken:
            for what, part in sort(peer, plane, head, size, self._me):
                sorted_.add(what, at, 1, part)
        with self._lock:
            self._unwritten.merge(sorted_.sums.items())
            tally, self._unwritten = self._unwritten, Tally()
        now = self._clock()
        try:
            self._ledger.write(
                self._run,
                self._names.items(),
                tally.sums.items(),
                now,
                opened_ms=self._opened_ms,
                closed=closed,
            )
        except BaseException:
            with self._lock:
                tally.merge(self._unwritten.sums.items())
                self._unwritten = tally
            raise
        if now // HOUR_MS != self._compacted_ms // HOUR_MS:
            self._ledger.compact(now)
            self._compacted_ms = now


def record_request(state: Path, host: bytes, name: str, size: int) -> None:
    """Record a request of `join` in the ledger of a state folder.

    Args:
        host: its signing key; empty if not known.
        size: bytes.

    Raises:
        Failed: the ledger cannot be written.
    """
    tally, now = Tally(), wall_ms()
    tally.add(What(host, "control", PAIRING), now, 1, size)
    store, ledger = PairingStore(state), Ledger(state)
    store.make()  # a node that never started has no state folder
    ledger.write(b"", [(host, name)], tally.sums.items(), now)
    store.own(ledger.path)


def record_bundle(
    state: Path,
    folder: Path,
    receiver: bytes,
    names: Mapping[bytes, str],
    *,
    run: bytes,
    me: bytes,
) -> None:
    """Record a bundle that was written by hand, file by file, in the ledger of a state folder.

    Args:
        receiver: key of the silo that it is for; empty if not known.
        names: of silos, by key.

    Raises:
        Failed: the ledger cannot be written.
    """
    tally, now = Tally(), wall_ms()
    label, entries, snapshots = sizes_of(folder)
    tally.add(What(receiver, "hand", "bundle"), now, 1, label)
    for data in framed_messages(folder):
        entries -= len(data)
        for what, part in sort(receiver, "hand", data, len(data), me):
            tally.add(what, now, 1, part)
    if entries:  # the lengths before the messages
        tally.add(What(receiver, "hand", "entries"), now, 0, entries)
    for digest, size in snapshots.items():
        tally.add(What(receiver, "hand", "chunk", digest=digest), now, chunk_count(size), size)
    try:
        Ledger(state).write(run, names.items(), tally.sums.items(), now)
    except Failed as error:
        error.fix = f"delete {folder}, make room on the disk, and export it again"
        error.what = f"the bundle is written and not recorded: {error.what}"
        raise
