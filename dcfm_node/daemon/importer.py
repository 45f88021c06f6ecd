"""Taking in what was carried here by hand: a bundle, by the rules of a link (SPEC 10.2)."""

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from dcfm_node.api.requests import ImportedBundle
from dcfm_node.daemon.imports import LastImport, LastImports
from dcfm_node.daemon.inbox import Present
from dcfm_node.errors import Failed, PeerError
from dcfm_node.net.rate_limits import LinkLimiter
from dcfm_node.records.base import MAX_SNAPSHOT_BYTES
from dcfm_node.store.bundles import CarriedBundle, read_bundle
from dcfm_node.store.snapshots import SnapshotStore
from dcfm_node.swarm.effects import Carried, Event, Received
from dcfm_node.swarm.node import Node
from dcfm_node.wire.canonical import sha256

log = structlog.get_logger()

PAUSE_S = 0.25
COPY = "copy it again, whole; if that does not help, ask its site for another"


@dataclass(frozen=True)
class BundleImporter:
    """Imports bundles into a running node.

    Args:
        folder: a scratch folder of its own, on the snapshots' filesystem.
        handle: hands the swarm an event, and waits until what it led to is carried out.
        check: holds a snapshot that is whole on disk, if it may be loaded.
        unfetch: gives a download up.
        imports: remembers who was heard of.
        clock, pause: seconds, and how they are let pass.
        limiters: how much is still taken of an author's entries, by its key.
    """

    present: Present
    snapshots: SnapshotStore
    folder: Path
    handle: Callable[[Event], Awaitable[None]]
    check: Callable[[bytes], Coroutine[None, None, None]]
    unfetch: Callable[[bytes], None]
    imports: LastImports
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    limiters: dict[bytes, LinkLimiter] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def node(self) -> Node:
        """The present one."""
        return self.present.node

    @property
    def carried(self) -> Mapping[str, LastImport]:
        """What last came of silos by bundle, by name."""
        return self.imports.by_silo

    async def take_in(self, folder: Path) -> ImportedBundle:
        """Import a bundle: its entries, then every snapshot of it that this node wants.

        Raises:
            Failed: it cannot be read or does not hold, also in what is not wanted here;
                records before a fault, and sound snapshots, stay taken in.
        """
        async with self.lock:
            return await self._take_in(folder)

    async def _take_in(self, folder: Path) -> ImportedBundle:
        before = self._held()
        try:
            bundle = await asyncio.to_thread(read_bundle, folder, self.node.manifest)
            carried = await self._entries(bundle)
            taken = await self._snapshots(bundle)
            new = Counter(
                author
                for entry, author in self._held().items()
                if entry in carried and entry not in before
            )
            self._note(bundle.label.author, new, len(taken))
            present = len(await asyncio.to_thread(bundle.snapshots))
            most = self.node.quota or MAX_SNAPSHOT_BYTES
            damage = await asyncio.to_thread(bundle.damage, taken, most)
        except PeerError as error:
            raise Failed(
                f"the bundle is refused: {error}",
                where=str(folder),
                fix=COPY,
            ) from error
        except OSError as error:
            raise Failed(f"cannot be imported: {error.strerror}", where=str(folder)) from error
        name = self.node.manifest.silo_name(bundle.label.author)
        log.info("bundle_imported", peer=name, records=new.total(), snapshots=len(taken))
        if damage:
            raise Failed(
                f"the bundle is damaged: {damage}; what was sound in it is taken in:"
                f" {len(carried)} records, {new.total()} of them new here; {len(taken)} snapshots"
                " that were wanted here",
                where=str(folder),
                fix=COPY,
            )
        return ImportedBundle(
            author=name,
            records=len(carried),
            new_records=new.total(),
            snapshots=present,
            new_snapshots=len(taken),
            wanted=len(self.node.fetching.keys() - self.snapshots.held()),
        )

    async def _entries(self, bundle: CarriedBundle) -> set[bytes]:
        """Digests of the envelopes in it, all of which were offered to the swarm, at the pace at
        which a link's are taken: verifying them must not keep the loop from all else (SPEC 4.7)."""
        carried: set[bytes] = set()
        author, heads = bundle.label.author, bundle.label.heads
        if author == self.node.me:
            raise PeerError("this node exported it itself")
        messages, limiter = bundle.messages(), self._limiter(author)
        while (message := await asyncio.to_thread(next, messages, None)) is not None:
            while not limiter.take(sum(map(len, message.entries)), self.clock()):
                await self.pause(PAUSE_S)
            await self.handle(Received(author, message))
            if trouble := self.node.exchange.peers[author].trouble:
                raise PeerError(trouble)
            carried.update(map(sha256, message.entries))
        if (head := heads.get(self.node.me)) is not None:
            await self.handle(Carried(author, head))
        return carried

    async def _snapshots(self, bundle: CarriedBundle) -> set[bytes]:
        """Digests of those taken over. Others may become wanted by what these make known."""
        taken: set[bytes] = set()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700)
        try:
            await self._take(bundle, taken)
        finally:  # what was copied in part, on a full disk, makes room again
            await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)
        return taken

    async def _take(self, bundle: CarriedBundle, taken: set[bytes]) -> None:
        for digest, snapshot in list(self.node.fetching.items()):
            copy = self.folder / digest.hex()
            with suppress(PeerError, Failed):  # it is damaged: `damage` finds it again, and tells
                if await asyncio.to_thread(bundle.take, snapshot, copy):
                    taken.add(digest)
            if digest in taken:
                self.unfetch(digest)
                await asyncio.to_thread(self.snapshots.adopt, copy)
                await self.check(digest)

    def _limiter(self, author: bytes) -> LinkLimiter:
        """What is taken of an author, bundle after bundle."""
        return self.limiters.setdefault(author, LinkLimiter(self.clock()))

    def _held(self) -> dict[bytes, bytes]:
        """Author by the digest of its envelope, of all entries held."""
        chains = self.node.replica.journals.chains
        return {sha256(sealed.envelope): key for key, chain in chains.items() for sealed in chain}

    def _note(self, author: bytes, new: Counter[bytes], snapshots: int) -> None:
        """Of the bundle's author, and of every other silo that it brought something new of. What
        brought nothing new may be an old copy, and tells of nobody."""
        told = {author, *new} - {self.node.me} if new or snapshots else set()
        name, now = self.node.manifest.silo_name, time.time_ns() // 1_000_000
        self.imports.note(
            {
                name(key): LastImport(
                    time_ms=now, bundle_of=name(author), records=new[key], snapshots=snapshots
                )
                for key in told
            }
        )
