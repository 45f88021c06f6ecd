"""SPEC 5.4.3: by the delta where the base is held, whole where that fails."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from random import Random

from dcfm_node.daemon.deltas import Deltas, restore
from dcfm_node.records.entries import Delta, Snapshot
from dcfm_node.store.delta import encode
from dcfm_node.store.snapshots import SnapshotStore
from dcfm_node.swarm.chunks import snapshot_of

OLD, NEW = Random(0).randbytes(5_000), Random(1).randbytes(5_000)


class Desk:
    """Deltas over a real store, with what they asked of the network and what arrived."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, SnapshotStore(folder)
        self.fetched: list[Snapshot] = []
        self.cancelled: list[bytes] = []
        self.arrived: list[bytes] = []
        self.spawned: list[Coroutine[None, None, None]] = []
        self.base = self.adopt(OLD)
        self.named = {self.base.digest}
        self.deltas = Deltas(
            self.store,
            2,
            fetch=self.fetched.append,
            cancel=self.cancelled.append,
            arrived=self.arrived.append,
            spawn=self.spawned.append,
            named=lambda digest: digest in self.named,
        )

    def adopt(self, data: bytes) -> Snapshot:
        path = self.folder / "output"
        path.write_bytes(data)
        return self.store.adopt(path)

    def delta(self) -> tuple[bytes, Delta]:
        """The coded file's bytes, which the store does not hold, and what a record says of it."""
        paths = [self.folder / name for name in ("old", "new", "coded")]
        paths[0].write_bytes(OLD)
        paths[1].write_bytes(NEW)
        encode(*paths, 2)
        data = paths[2].read_bytes()
        return data, Delta(base=self.base.digest, coded=snapshot_of(data))


WANTED = snapshot_of(NEW)


def test_a_delta_makes_the_snapshot(tmp_path: Path) -> None:
    async def run() -> None:
        desk = Desk(tmp_path)
        data, delta = desk.delta()
        desk.deltas.fetch(WANTED, delta)
        assert desk.fetched == [delta.coded]
        desk.adopt(data)
        desk.deltas.fetched(delta.coded.digest)
        await desk.spawned.pop()
        assert desk.arrived == [WANTED.digest] and desk.fetched == [delta.coded]
        path = desk.store.path(WANTED.digest)
        assert path is not None and path.read_bytes() == NEW
        assert desk.store.hashes(delta.coded.digest) is not None

    asyncio.run(run())


def test_without_the_base_or_a_delta_it_is_fetched_whole(tmp_path: Path) -> None:
    async def run() -> None:
        desk = Desk(tmp_path)
        _, delta = desk.delta()
        desk.store.remove(desk.base.digest)
        desk.deltas.fetch(WANTED, delta)
        desk.deltas.fetch(WANTED, None)
        assert desk.fetched == [WANTED, WANTED]
        desk.deltas.fetched(WANTED.digest)
        assert desk.arrived == [WANTED.digest]

    asyncio.run(run())


def test_a_delta_that_makes_something_else_is_thrown_away(tmp_path: Path) -> None:
    async def run() -> None:
        desk = Desk(tmp_path)
        data, delta = desk.delta()
        other = snapshot_of(NEW[::-1])
        for bad, wanted in ((data, other), (b"nonsense", WANTED)):
            named = Delta(base=delta.base, coded=desk.adopt(bad))
            desk.fetched.clear()
            desk.deltas.fetch(wanted, named)
            desk.deltas.fetched(named.coded.digest)
            await desk.spawned.pop()
            assert desk.fetched == [named.coded, wanted] and desk.arrived == []
            assert desk.store.hashes(named.coded.digest) is None
            assert desk.store.path(wanted.digest) is None

    asyncio.run(run())


def test_a_delta_of_which_nothing_comes_is_given_up(tmp_path: Path) -> None:
    async def run() -> None:
        desk = Desk(tmp_path)
        _, delta = desk.delta()
        desk.deltas.fetch(WANTED, delta)
        wanted = desk.deltas._wanted[delta.coded.digest]
        desk.deltas.moved(delta.coded.digest)
        desk.deltas._late(wanted)
        assert desk.cancelled == []
        desk.deltas._late(wanted)
        assert desk.cancelled == [delta.coded.digest]
        assert desk.fetched == [delta.coded, WANTED]

    asyncio.run(run())


def test_a_snapshot_that_is_given_up_is_given_up_in_both_forms(tmp_path: Path) -> None:
    async def run() -> None:
        desk = Desk(tmp_path)
        _, delta = desk.delta()
        desk.deltas.fetch(WANTED, delta)
        desk.deltas.cancel(WANTED.digest)
        assert desk.cancelled == [delta.coded.digest, WANTED.digest]

    asyncio.run(run())


def test_a_start_serves_the_deltas_of_what_is_held(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    useful, useless = (desk.adopt(data) for data in (b"one", b"two"))
    again = SnapshotStore(tmp_path)
    deltas = {
        WANTED.digest: Delta(base=desk.base.digest, coded=useful),
        b"o" * 32: Delta(base=desk.base.digest, coded=useless),
    }
    restore(again, deltas, {WANTED.digest}, {WANTED.digest, b"o" * 32})
    assert again.hashes(useful.digest) and again.path(useless.digest) is None


def test_what_is_named_as_a_snapshot_is_no_delta_whoever_says_so(tmp_path: Path) -> None:
    """Else a member has any expert deleted at everybody who holds it."""

    async def run() -> None:
        desk = Desk(tmp_path)
        expert = desk.adopt(b"another silo's expert")
        desk.named.add(expert.digest)
        hostile = Delta(base=desk.base.digest, coded=expert)
        desk.deltas.fetch(WANTED, hostile)
        assert desk.fetched == [WANTED]
        desk.deltas.drop(hostile)
        restore(desk.store, {WANTED.digest: hostile}, set(), desk.named)
        assert desk.store.path(expert.digest) is not None

    asyncio.run(run())


def test_a_delta_that_is_named_as_a_snapshot_later_is_both(tmp_path: Path) -> None:
    async def run() -> None:
        desk = Desk(tmp_path)
        expert = snapshot_of(b"another silo's expert")
        desk.deltas.fetch(WANTED, Delta(base=desk.base.digest, coded=expert))
        desk.named.add(expert.digest)  # its author is heard of only now
        desk.adopt(b"another silo's expert")
        desk.deltas.fetched(expert.digest)
        assert desk.arrived == [expert.digest]
        await desk.spawned.pop()
        assert desk.store.path(expert.digest) is not None and desk.fetched[-1] == WANTED

    asyncio.run(run())


def test_one_delta_of_two_snapshots_is_decoded_into_two_files(tmp_path: Path) -> None:
    """Else a member has what another's delta makes overwritten while it is taken over."""

    async def run() -> None:
        desk = Desk(tmp_path)
        data, delta = desk.delta()
        desk.adopt(data)
        for wanted in (WANTED, snapshot_of(NEW[::-1])):
            desk.deltas.fetch(wanted, delta)
            desk.deltas.fetched(delta.coded.digest)
        await asyncio.gather(*desk.spawned)
        assert desk.arrived == [WANTED.digest]
        path = desk.store.path(WANTED.digest)
        assert path is not None and path.read_bytes() == NEW

    asyncio.run(run())
