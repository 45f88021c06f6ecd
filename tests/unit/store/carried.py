"""Bundles on disk."""

from pathlib import Path

from dcfm_node.records.entries import Expert, Snapshot
from dcfm_node.store.bundles import CarriedBundle, read_bundle, write_bundle
from dcfm_node.store.snapshots import describe
from dcfm_node.swarm.bundle import label, messages
from dcfm_node.swarm.exchange import Exchange
from dcfm_node.swarm.liveness import Liveness
from dcfm_node.wire.canonical import sha256
from dcfm_node.wire.envelope import Signer, seal_bundle
from tests.unit.swarm.builders import Run


def said(tmp_path: Path) -> tuple[Run, Snapshot, Path]:
    """A run in which the first silo published one expert, whose bytes are on disk."""
    run, weights = Run(3), tmp_path / "weights"
    weights.write_bytes(b"weights" * 1_000)
    snapshot = describe(weights)
    run.authors[0].say(Expert(round=0, snapshot=snapshot, parents=(), metrics={}))
    return run, snapshot, weights


def bundle(tmp_path: Path, signer: Signer | None = None) -> tuple[Run, Snapshot, Path]:
    run, snapshot, weights = said(tmp_path)
    node = Exchange.create(run.manifest, run.keys[1], Liveness(live_s=1.0, stall_s=1.0, duty_s=1.0))
    node.restore(run.authors[0].journal, [])
    signer = signer or run.authors[1].signer
    folder = tmp_path / "bundle"

    def sign(entries: bytes) -> bytes:
        made = label(
            run.manifest, signer.key, node.replica.journals, {snapshot.digest: True}, entries
        )
        return seal_bundle(made, signer)

    write_bundle(folder, messages(node.replica.journals, {}), {snapshot.digest: weights}, sign)
    return run, snapshot, folder


def forged(tmp_path: Path, file: bytes) -> tuple[Run, CarriedBundle]:
    """A bundle whose author signed a file of entries of its own making."""
    run, _, folder = bundle(tmp_path)
    (folder / "entries").write_bytes(file)
    node = Exchange.create(run.manifest, run.keys[1], Liveness(live_s=1.0, stall_s=1.0, duty_s=1.0))
    made = label(run.manifest, run.keys[1], node.replica.journals, {}, sha256(file))
    (folder / "bundle").write_bytes(seal_bundle(made, run.authors[1].signer))
    return run, read_bundle(folder, run.manifest)


def framed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
