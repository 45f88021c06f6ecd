"""What somebody deletes while a node runs is noticed, and fetched again."""

import asyncio
from pathlib import Path

import pytest

from dcfm_node.daemon.upkeep import LOOK_S, look_after
from dcfm_node.store.snapshots import SnapshotStore
from dcfm_node.swarm.effects import Event, Gone


class EnoughError(Exception):
    """Ends what never ends."""


def test_a_deleted_snapshot_is_told_to_the_swarm_once(tmp_path: Path) -> None:
    store, told = SnapshotStore(tmp_path), list[Event]()
    (tmp_path / "made").write_bytes(b"weights")
    digest = store.adopt(tmp_path / "made").digest
    looks = 0

    async def pause(seconds: float) -> None:
        nonlocal looks
        assert seconds == LOOK_S
        looks += 1
        if looks == 2:
            assert told == []
            next((tmp_path / "snapshots").iterdir()).unlink()
        if looks == 4:
            assert told == [Gone(digest)], "once, until it is there again"
            (tmp_path / "made").write_bytes(b"weights")
            store.adopt(tmp_path / "made")
        if looks == 5:
            next((tmp_path / "snapshots").iterdir()).unlink()
        if looks == 6:
            raise EnoughError

    with pytest.raises(EnoughError):
        asyncio.run(look_after(store, told.append, pause))
    assert told == [Gone(digest)] * 2
