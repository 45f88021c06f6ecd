"""What a node holds, looked after: whether it may be loaded, and whether it is still there."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from dcfm_node.errors import PeerError
from dcfm_node.store.snapshots import SnapshotStore
from dcfm_node.store.tensors import Schema, check_snapshot
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


def flaw_of(snapshots: SnapshotStore, digest: bytes, form: Schema) -> str:
    """Why a snapshot on disk may not be loaded; empty if it may.

    Raises:
        OSError: nobody can tell, since it is gone or this disk does not give it.
    """
    path = snapshots.path(digest)
    if path is None:
        raise FileNotFoundError("it is gone from the disk")
    try:
        check_snapshot(path, form)
    except PeerError as error:
        return str(error)
    return ""
