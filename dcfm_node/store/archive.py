"""Reads a run from a node's state folder, with or without a running daemon. Never writes to it."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dcfm_node.errors import Failed, MissingPackageError, PeerError
from dcfm_node.records.manifest import Manifest
from dcfm_node.store.journals import JournalStore
from dcfm_node.store.snapshots import snapshot_path
from dcfm_node.swarm.journal import Journals
from dcfm_node.swarm.lineage import MAX_RUNS, bundle
from dcfm_node.swarm.replica import Replica
from dcfm_node.swarm.view import View
from dcfm_node.wire.envelope import decode_manifest, run_id

DATABASE = "journals.sqlite"


@dataclass(frozen=True)
class Archive:
    """One run in a state folder."""

    state: Path
    manifest: Manifest
    journals: Journals
    view: View

    def snapshot(self, digest: bytes) -> Path | None:
        """Path of a snapshot; None if it is not on disk. Its bytes are not checked."""
        path = snapshot_path(self.state, digest)
        return path if path.is_file() else None


def open_archive(state: Path, run: bytes | None = None) -> Archive:
    """Read a run by its id; None for the node's present run.

    Raises:
        Failed: the folder does not hold that run, or its journals are damaged.
    """
    found = find_archive(state, run)
    if found is None:
        name = f"in run {run.hex()[:16]}" if run is not None else "in any run yet"
        raise Failed(
            f"this node took no part {name}", where=str(state), fix="run 'dcfm-node start' first"
        )
    return found


def find_archive(state: Path, run: bytes | None = None) -> Archive | None:
    """As `open_archive`, but None if the folder does not hold that run."""
    if not (state / DATABASE).is_file():
        return None
    store = JournalStore(state / DATABASE, read_only=True)
    try:
        encoded = store.manifest(run)
        if encoded is None:
            return None
        manifest = _decoded(encoded, state)
        entries, forks = store.load(run_id(manifest))
    finally:
        store.close()
    replica = Replica(manifest)
    replica.replay(entries, forks)
    return Archive(state, manifest, replica.journals, replica.view)


def last_run(state: Path) -> Manifest | None:
    """The manifest of the run that a node was last in. None if it was in none, if another version
    wrote it, or if the journals cannot be opened; the start then reports the reason."""
    if not (state / DATABASE).is_file():
        return None
    try:
        store = JournalStore(state / DATABASE, read_only=True)
    except Failed:
        return None
    try:
        encoded = store.manifest()
    except Failed:
        return None
    finally:
        store.close()
    try:
        return decode_manifest(encoded) if encoded is not None else None
    except PeerError:
        return None


def kept_runs(state: Path) -> list[Manifest]:
    """The manifests of all runs in a state folder that this version can read, the present run
    first."""
    if not (state / DATABASE).is_file():
        return []
    store = JournalStore(state / DATABASE, read_only=True)
    found = []
    try:
        for encoded in store.manifests():
            with suppress(PeerError):  # another version's: `--run` cannot name it either
                found.append(decode_manifest(encoded))
    finally:
        store.close()
    return found


def earlier_lineage(state: Path, manifest: Manifest, runs: int = MAX_RUNS) -> bytes | None:
    """The lineage of the run that a manifest continues, with those of the runs before it, as far as
    this node took part; None if there is none (SPEC 9.1)."""
    if manifest.continues is None or not runs:
        return None
    found = find_archive(state, manifest.continues.run)
    if found is None:
        return None
    return bundle(found.manifest, found.journals, earlier_lineage(state, found.manifest, runs - 1))


def _decoded(encoded: bytes, state: Path) -> Manifest:
    try:
        return decode_manifest(encoded)
    except MissingPackageError as error:
        raise Failed(
            f"cannot read the run in this folder: {error}",
            where=str(state),
            fix="install the packages that this run was made with",
        ) from error
    except PeerError as error:
        raise Failed(
            f"another version wrote the run in this folder: {error}",
            where=str(state),
            fix="read it with the version of dcfm-node that took part in it",
        ) from error
