"""Taking in what was carried here by hand: a bundle, by the rules of a link (SPEC 10.2)."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from dcfm_node.errors import Failed, PeerError
from dcfm_node.store.bundles import CarriedBundle, read_bundle
from dcfm_node.store.snapshots import SnapshotStore
from dcfm_node.swarm.effects import Carried, Event, Received
from dcfm_node.swarm.node import Node

log = structlog.get_logger()


@dataclass(frozen=True)
class Courier:
    """Imports bundles into a running node.

    Args:
        folder: a scratch folder of its own, on the snapshots' filesystem.
        handle: hands the swarm an event, and waits until what it led to is carried out.
        check: holds a snapshot that is whole on disk, if it may be loaded.
        unfetch: gives a download up.
    """

    node: Node
    snapshots: SnapshotStore
    folder: Path
    handle: Callable[[Event], Awaitable[None]]
    check: Callable[[bytes], Coroutine[None, None, None]]
    unfetch: Callable[[bytes], None]
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def take_in(self, folder: Path) -> dict[str, Any]:
        """Import a bundle: its entries, then every snapshot of it that this node wants.

        Raises:
            Failed: it cannot be read or does not hold; what was sound before that stays.
        """
        async with self.lock:
            return await self._take_in(folder)

    async def _take_in(self, folder: Path) -> dict[str, Any]:
        before = self._records()
        try:
            bundle = await asyncio.to_thread(read_bundle, folder, self.node.manifest)
            await self._entries(bundle)
            taken = await self._snapshots(bundle)
        except PeerError as error:
            raise Failed(
                f"the bundle is refused: {error}",
                where=str(folder),
                fix="copy it again, whole; if that does not help, ask its site for another",
            ) from error
        except OSError as error:
            raise Failed(f"cannot be imported: {error.strerror}", where=str(folder)) from error
        name = self.node.manifest.silo_name(bundle.label.author)
        log.info("bundle_imported", peer=name, records=self._records() - before, snapshots=taken)
        return {
            "schema": "dcfm-node/bundle-import/1",
            "from": name,
            "records": self._records() - before,
            "snapshots": taken,
            "wanted": len(self.node.fetching.keys() - self.snapshots.held()),
        }

    async def _entries(self, bundle: CarriedBundle) -> None:
        author, heads = bundle.label.author, bundle.label.heads
        if author == self.node.me:
            raise PeerError("this node exported it itself")
        messages = bundle.messages()
        while (message := await asyncio.to_thread(next, messages, None)) is not None:
            await self.handle(Received(author, message))
            if trouble := self.node.exchange.peers[author].trouble:
                raise PeerError(trouble)
        if (head := heads.get(self.node.me)) is not None:
            await self.handle(Carried(author, head))

    async def _snapshots(self, bundle: CarriedBundle) -> int:
        """How many were taken over. Others may become wanted by what these make known."""
        taken = 0
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700)
        for digest, snapshot in list(self.node.fetching.items()):
            copy = self.folder / digest.hex()
            if await asyncio.to_thread(bundle.take, snapshot, copy):
                self.unfetch(digest)
                await asyncio.to_thread(self.snapshots.adopt, copy)
                await self.check(digest)
                taken += 1
        return taken

    def _records(self) -> int:
        return sum(len(chain) for chain in self.node.exchange.journals.chains.values())
