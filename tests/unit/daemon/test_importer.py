"""What importing a bundle says that it held and brought (SPEC 10.2)."""

import asyncio
import errno
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from dcfm_node.api.requests import ImportedBundle
from dcfm_node.daemon.importer import PAUSE_S, BundleImporter
from dcfm_node.daemon.imports import LastImports
from dcfm_node.daemon.inbox import Present
from dcfm_node.errors import Failed
from dcfm_node.net.rate_limits import BYTES_AT_ONCE, BYTES_PER_S
from dcfm_node.records.messages import Entries
from dcfm_node.store.snapshots import SnapshotStore
from dcfm_node.swarm.effects import Event, Held, Tick
from dcfm_node.swarm.node import Node
from dcfm_node.wire.envelope import encode_message
from tests.unit.store.carried import bundle, forged, framed
from tests.unit.swarm.builders import Run, join


def importer_of(run: Run, state: Path) -> BundleImporter:
    """Of a node that knows nothing of the run yet."""
    state.mkdir()
    node = Node(
        signer=run.authors[2].signer,
        manifest=run.manifest,
        counts=(((0, 0), 5),),
        distils=True,
        rng=random.Random(0),
        wall_ms=0,
    )
    node.handle(Tick(), 0.0)

    async def handle(event: Event) -> None:
        node.handle(event, 0.0)

    async def check(digest: bytes) -> None:
        node.handle(Held(digest), 0.0)

    imports = LastImports(state / "bundles.json", run.id)
    snapshots = SnapshotStore(state)
    present = Present(node)
    return BundleImporter(
        present, snapshots, state / "import", handle, check, lambda _: None, imports
    )


def test_counts_are_the_exporters_and_what_was_new_is_told_beside(tmp_path: Path) -> None:
    run, _, folder = bundle(tmp_path)  # of silo 1: two records of silo 0, and its snapshot
    (folder / "snapshots" / ".DS_Store").write_text("what a file manager leaves on a stick")
    importer = importer_of(run, tmp_path / "state")

    def take_in() -> ImportedBundle:
        return asyncio.run(importer.take_in(folder))

    first = take_in()
    assert (first.author, first.records, first.snapshots) == ("silo-0001", 2, 1)
    assert (first.new_records, first.new_snapshots, first.wanted) == (2, 1, 0)
    told = {name: (c.bundle_of, c.records, c.snapshots) for name, c in importer.carried.items()}
    assert told == {"silo-0000": ("silo-0001", 2, 1), "silo-0001": ("silo-0001", 0, 1)}

    before = dict(importer.carried)
    again = take_in()
    assert (again.records, again.snapshots) == (2, 1)
    assert (again.new_records, again.new_snapshots) == (0, 0)
    assert importer.carried == before, "an old copy is no sign of life"


@pytest.mark.parametrize("wanted", [True, False])
def test_a_damaged_snapshot_is_told_whether_it_was_wanted_or_not_and_the_rest_is_taken_in(
    tmp_path: Path, wanted: bool
) -> None:
    run, snapshot, folder = bundle(tmp_path)
    importer = importer_of(run, tmp_path / "state")
    sound = folder / "snapshots" / f"{snapshot.digest.hex()}.safetensors"
    damaged = folder / "snapshots" / f"{bytes(32).hex()}.safetensors"  # before it, and unwanted
    if wanted:
        damaged = sound
    damaged.write_bytes(b"not what it says")
    with pytest.raises(Failed, match=f"snapshots/{damaged.name}") as told:
        asyncio.run(importer.take_in(folder))
    assert told.value.exit_code == 1
    assert told.value.where == str(folder)
    assert "2 records, 2 of them new here" in str(told.value)
    assert len(importer.node.replica.journals.chains[run.keys[0]]) == 2
    assert (snapshot.digest in importer.snapshots.held()) is not wanted
    assert importer.carried["silo-0000"].records == 2


def test_half_a_copy_is_told_and_its_records_are_taken_in(tmp_path: Path) -> None:
    """SPEC 10.2.1."""
    run, snapshot, folder = bundle(tmp_path)
    importer = importer_of(run, tmp_path / "state")
    missing = folder / "snapshots" / f"{snapshot.digest.hex()}.safetensors"
    missing.unlink()
    with pytest.raises(Failed, match=f"missing: snapshots/{missing.name}") as told:
        asyncio.run(importer.take_in(folder))
    assert told.value.exit_code == 1
    assert "2 records, 2 of them new here; 0 snapshots" in str(told.value)
    assert len(importer.node.replica.journals.chains[run.keys[0]]) == 2


def test_a_bundle_is_taken_in_at_the_pace_of_a_link(tmp_path: Path) -> None:
    """SPEC 10.2.3: however often its author's bundles are imported, and whatever is in them."""
    envelope = Run(3).authors[0].say(join()).envelope
    message = encode_message(Entries(run=Run(3).id, entries=(envelope,) * 2_000, beats=()))
    run, found = forged(tmp_path, framed(message) * 64)
    shutil.rmtree(found.folder / "snapshots")
    importer, paused = importer_of(run, tmp_path / "state"), []

    async def pause(seconds: float) -> None:
        paused.append(seconds)

    importer = replace(importer, clock=lambda: sum(paused), pause=pause)
    size = 2_000 * len(envelope)
    assert 64 * size > 2 * BYTES_AT_ONCE
    for times in (1, 2):
        asyncio.run(importer.take_in(found.folder))
        least = (times * 64 * size - BYTES_AT_ONCE) / BYTES_PER_S
        assert least <= sum(paused) <= least + 64 * PAUSE_S * times


def test_what_a_full_disk_took_of_a_snapshot_makes_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _, folder = bundle(tmp_path)
    importer = importer_of(run, tmp_path / "state")

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("dcfm_node.store.bundles.describe", full)
    with pytest.raises(Failed, match="No space left") as told:
        asyncio.run(importer.take_in(folder))
    assert told.value.exit_code == 1
    assert not importer.folder.exists()
