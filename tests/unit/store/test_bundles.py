"""SPEC 10: bundles on disk, sound and hostile."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from dcfm_node.errors import Failed, PeerError
from dcfm_node.records.base import MAX_SNAPSHOT_BYTES
from dcfm_node.records.messages import Entries, Sync
from dcfm_node.store.audit import audit
from dcfm_node.store.bundles import (
    MAX_ENTRIES_FILE_BYTES,
    read_bundle,
    write_bundle,
)
from dcfm_node.store.snapshots import describe
from dcfm_node.swarm.bundle import label, messages
from dcfm_node.swarm.exchange import Exchange
from dcfm_node.swarm.liveness import Liveness
from dcfm_node.wire.canonical import sha256
from dcfm_node.wire.envelope import Signer, encode_message, seal_bundle
from tests.unit.store.carried import bundle, forged, framed, said
from tests.unit.swarm.builders import Run


def test_what_was_written_is_read(tmp_path: Path) -> None:
    run, snapshot, folder = bundle(tmp_path)
    found = read_bundle(folder, run.manifest)
    envelopes = [envelope for message in found.messages() for envelope in message.entries]
    assert envelopes == [sealed.envelope for sealed in run.authors[0].journal]
    assert found.take(snapshot, tmp_path / "copy")
    assert describe(tmp_path / "copy") == snapshot
    other = snapshot.model_copy(update={"digest": bytes(32)})
    assert not found.take(other, tmp_path / "copy")
    sound = audit(found, run.manifest)
    assert (sound.author, sound.snapshots, sound.unchained) == ("silo-0001", 1, 0)
    assert sound.records == {"silo-0000": 2, "silo-0001": 0, "silo-0002": 0}


def test_what_the_receiver_has_is_left_out(tmp_path: Path) -> None:
    """SPEC 10.1.2."""
    run, _, _ = said(tmp_path)
    node = Exchange.create(run.manifest, run.keys[1], Liveness(live_s=1.0, stall_s=1.0, duty_s=1.0))
    first, second = run.authors[0].journal
    node.restore([first], [])
    since = node.replica.journals.heads()
    node.restore([second], [])
    assert [list(m.entries) for m in messages(node.replica.journals, since)] == [[second.envelope]]
    assert list(messages(node.replica.journals, node.replica.journals.heads())) == []


def test_a_folder_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    bundle(tmp_path)
    with pytest.raises(Failed, match="exists already"):
        write_bundle(tmp_path / "bundle", [], {}, lambda entries: b"")


@pytest.mark.parametrize("name", ["bundle", "entries"])
def test_a_missing_file_or_a_link_is_told(tmp_path: Path, name: str) -> None:
    run, _, folder = bundle(tmp_path)
    moved = (folder / name).rename(tmp_path / "moved")
    with pytest.raises(Failed, match="cannot be read"):
        read_bundle(folder, run.manifest)
    (folder / name).symlink_to(moved)
    with pytest.raises(Failed, match="cannot be read"):
        read_bundle(folder, run.manifest)
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(Failed, match="is a folder"):
        read_bundle(folder, run.manifest)


@pytest.mark.parametrize("name", ["bundle", "entries"])
def test_a_pipe_is_not_waited_for_and_a_file_of_any_size_is_not_read(
    tmp_path: Path, name: str
) -> None:
    run, _, folder = bundle(tmp_path)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(Failed, match="not a regular file"):
        read_bundle(folder, run.manifest)
    (folder / name).unlink()
    (folder / name).touch()
    os.truncate(folder / name, MAX_ENTRIES_FILE_BYTES + 1)  # it takes no room on the disk
    with pytest.raises(Failed, match="is too large"):
        read_bundle(folder, run.manifest)


def test_more_messages_or_entries_than_a_bundle_may_hold_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SPEC 10.1.4."""
    envelope = Run(3).authors[0].join().envelope
    part = framed(encode_message(Entries(run=Run(3).id, entries=(envelope,) * 3, beats=())))
    _, found = forged(tmp_path, part * 4)
    assert len(list(found.messages())) == 4
    monkeypatch.setattr("dcfm_node.store.bundles.MAX_MESSAGES", 3)
    with pytest.raises(PeerError, match="more than 3 messages"):
        list(found.messages())
    monkeypatch.setattr("dcfm_node.store.bundles.MAX_MESSAGES", 4)
    monkeypatch.setattr("dcfm_node.store.bundles.MAX_ENVELOPES", 11)
    taken = found.messages()
    assert [len(next(taken).entries) for _ in range(3)] == [3, 3, 3]
    with pytest.raises(PeerError, match="or 11 entries"):
        next(taken)


def test_snapshots_beyond_what_a_bundle_may_hold_are_not_read(tmp_path: Path) -> None:
    """SPEC 10.1.4: files that take no room on the disk would cost hours to hash."""
    run, snapshot, folder = bundle(tmp_path)
    held = {snapshot.digest: True} | {bytes([n]) * 32: True for n in range(40)}
    for digest in held.keys() - {snapshot.digest}:
        path = folder / "snapshots" / f"{digest.hex()}.safetensors"
        path.touch()
        os.truncate(path, MAX_SNAPSHOT_BYTES)
    node = Exchange.create(run.manifest, run.keys[1], Liveness(live_s=1.0, stall_s=1.0, duty_s=1.0))
    made = label(run.manifest, run.keys[1], node.replica.journals, held, sha256(b""))
    (folder / "bundle").write_bytes(seal_bundle(made, run.authors[1].signer))
    (folder / "entries").write_bytes(b"")
    found = read_bundle(folder, run.manifest)
    with pytest.raises(PeerError, match="take more than"):
        audit(found, run.manifest)
    for path in sorted((folder / "snapshots").iterdir())[20:]:
        path.unlink()
    # Within it, none is read that is larger than those of the run, or that its author did not sign.
    told = found.damage(most=snapshot.size)
    assert "missing: snapshots/" in told
    assert "not what the name says" in told


def test_what_no_node_takes_in_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcfm_node.store.bundles.MAX_ENTRIES_FILE_BYTES", 100)
    with pytest.raises(Failed, match="more than 100 bytes of records") as told:
        bundle(tmp_path)
    assert "--since" in told.value.fix
    monkeypatch.undo()
    monkeypatch.setattr("dcfm_node.store.bundles.MAX_SNAPSHOTS_BYTES", 100)
    with pytest.raises(Failed, match="more than 100 bytes of snapshots"):
        bundle(tmp_path)
    assert not (tmp_path / "bundle").exists()


def test_a_label_must_be_small_signed_of_this_run_and_of_its_roster(tmp_path: Path) -> None:
    """SPEC 10.2."""
    run, _, folder = bundle(tmp_path)
    with pytest.raises(PeerError, match=r"another run; .* policy\.stall_s"):
        read_bundle(folder, Run(3, stall_s=7.0).manifest)
    (folder / "bundle").write_bytes(bytes(600_000))
    with pytest.raises(Failed, match="is too large"):
        read_bundle(folder, run.manifest)
    shutil.rmtree(folder)
    run, _, folder = bundle(tmp_path, Signer.from_seed(b"s" * 32))
    with pytest.raises(PeerError, match="not on the roster"):
        read_bundle(folder, run.manifest)


def test_entries_changed_on_the_way_are_refused(tmp_path: Path) -> None:
    run, _, folder = bundle(tmp_path)
    data = (folder / "entries").read_bytes()
    for changed in (data[:-1], data + b"\0", b""):
        (folder / "entries").write_bytes(changed)
        with pytest.raises(PeerError, match="not those that its author signed"):
            read_bundle(folder, run.manifest)


RUN = Run(3)
SYNC = Sync(run=RUN.id, version="", heads={}, beats={}, reply=True)
ELSEWHERE = Entries(run=bytes(32), entries=(), beats=())


@pytest.mark.parametrize(
    "parts",
    [
        [b"\xff\xff\xff\xff"],
        [b"\0\0"],
        [(1 << 20).to_bytes(4, "big") + b"short"],
        [framed(b"")],
        [framed(encode_message(SYNC))],
        [framed(encode_message(ELSEWHERE))],
    ],
    ids=["4 GiB", "half a length", "cut", "empty", "a sync", "another run"],
)
def test_hostile_messages_are_refused_though_their_author_signed_them(
    tmp_path: Path, parts: Sequence[bytes]
) -> None:
    """SPEC 10.2.1 and 1.3."""
    run, found = forged(tmp_path, b"".join(parts))
    with pytest.raises(PeerError):
        list(found.messages())
    with pytest.raises(PeerError):
        audit(found, run.manifest)


def test_an_entry_of_a_stranger_is_refused(tmp_path: Path) -> None:
    stranger = Run(5).authors[4].anew(Run(3).id)
    message = Entries(run=Run(3).id, entries=(stranger.join().envelope,), beats=())
    run, found = forged(tmp_path, framed(encode_message(message)))
    with pytest.raises(PeerError, match="outside the roster"):
        audit(found, run.manifest)


def test_an_entry_that_does_not_fit_the_run_is_refused(tmp_path: Path) -> None:
    """SPEC 3.7: whoever verifies a bundle hears why its importer would take nothing of it."""
    bare = Run(3).authors[1].join(counts=())
    message = Entries(run=Run(3).id, entries=(bare.envelope,), beats=())
    run, found = forged(tmp_path, framed(encode_message(message)))
    with pytest.raises(PeerError, match=r"silo-0001.*counts no label"):
        audit(found, run.manifest)


@pytest.mark.parametrize("change", ["bit", "longer", "shorter", "empty"])
def test_a_snapshot_changed_on_the_way_is_refused(tmp_path: Path, change: str) -> None:
    """SPEC 5.3.1."""
    run, snapshot, folder = bundle(tmp_path)
    (path,) = (folder / "snapshots").iterdir()
    data = path.read_bytes()
    changed = {"bit": b"W" + data[1:], "longer": data + b"!", "shorter": data[:-1], "empty": b""}
    path.write_bytes(changed[change])
    found = read_bundle(folder, run.manifest)
    with pytest.raises(PeerError, match="not what a record says"):
        found.take(snapshot, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    with pytest.raises(PeerError, match=f"not what the name says.*: snapshots/{path.name}"):
        audit(found, run.manifest)


@pytest.mark.parametrize("whole", [True, False])
def test_a_snapshot_lost_on_the_way_is_named(tmp_path: Path, whole: bool) -> None:
    """SPEC 10.1.1: half a copy, with its folder of snapshots or without."""
    run, _, folder = bundle(tmp_path)
    (path,) = (folder / "snapshots").iterdir()
    path.unlink()
    if whole:
        path.parent.rmdir()
    with pytest.raises(PeerError, match=f"^missing: snapshots/{path.name}$"):
        audit(read_bundle(folder, run.manifest), run.manifest)


def test_a_snapshot_that_the_receiver_had_is_not_missed(tmp_path: Path) -> None:
    """SPEC 10.1.3."""
    run, snapshot, folder = bundle(tmp_path)
    node = Exchange.create(run.manifest, run.keys[1], Liveness(live_s=1.0, stall_s=1.0, duty_s=1.0))
    signer, held = run.authors[1].signer, {snapshot.digest: False}

    def sign(entries: bytes) -> bytes:
        return seal_bundle(
            label(run.manifest, signer.key, node.replica.journals, held, entries), signer
        )

    shutil.rmtree(folder)
    write_bundle(folder, [], {}, sign)
    assert audit(read_bundle(folder, run.manifest), run.manifest).snapshots == 0


def test_a_link_among_the_snapshots_is_not_followed(tmp_path: Path) -> None:
    run, snapshot, folder = bundle(tmp_path)
    (path,) = (folder / "snapshots").iterdir()
    path.unlink()
    path.symlink_to(tmp_path / "weights")
    found = read_bundle(folder, run.manifest)
    with pytest.raises(Failed, match="cannot be read"):
        found.take(snapshot, tmp_path / "copy")
    with pytest.raises(PeerError, match="not to be read"):
        audit(found, run.manifest)


def test_a_snapshot_of_another_size_than_its_record_says_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _, folder = bundle(tmp_path)
    (path,) = (folder / "snapshots").iterdir()
    os.truncate(path, MAX_SNAPSHOT_BYTES)  # it takes no room on the disk, and minutes to hash
    monkeypatch.setattr("dcfm_node.store.bundles.describe", None)
    with pytest.raises(PeerError, match=f"not what the name says.*{path.name}"):
        audit(read_bundle(folder, run.manifest), run.manifest)
