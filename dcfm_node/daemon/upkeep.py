"""What a node holds, looked after: whether it is still there."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from dcfm_node.store.snapshots import SnapshotStore
from dcfm_node.swarm.effects import Event, Gone

log = structlog.get_logger()

LOOK_S = 5.0


async def look_after(
    snapshots: SnapshotStore,
    put: Callable[[Event], None],
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Tell the swarm, which fetches it again, of every snapshot that somebody deleted. Never ends.

    Args:
        put: takes an event for the swarm.
        pause: lets seconds pass.
    """
    told: set[bytes] = set()
    while True:
        await pause(LOOK_S)
        vanished = await asyncio.to_thread(snapshots.vanished)
        for digest in sorted(vanished - told):
            log.warning("snapshot_vanished", snapshot=digest.hex()[:8], next="fetch what is needed")
            put(Gone(digest))
        told = vanished
