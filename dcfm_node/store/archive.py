"""A run as a node's state folder keeps it, read beside a daemon or without one; never written."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dcfm_node.errors import Failed, PeerError
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
    """What a state folder holds of one run."""

    state: Path
    manifest: Manifest
    journals: Journals
    view: View

    def snapshot(self, digest: bytes) -> Path | None:
        """Where a snapshot lies; None when it is not on disk. Its bytes are not checked."""
        path = snapshot_path(self.state, digest)
        return path if path.is_file() else None


def open_archive(state: Path, run: bytes | None = None) -> Archive:
    """Read a run, the node's present one by default.

    Raises:
        Failed: the folder holds no such run, or its journals are damaged.
    """
    found = find_archive(state, run)
    if found is None:
        name = f"in run {run.hex()[:16]}" if run is not None else "in any run yet"
        raise Failed(
            f"this node took no part {name}", where=str(state), fix="start it: dcfm-node start"
        )
    return found


def find_archive(state: Path, run: bytes | None = None) -> Archive | None:
    """The same; None where the folder holds no such run."""
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
    """The manifest of the run that a node was last in; None where it was in none, in one of another
    version, or where its journals do not open, of which more is said when it starts."""
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
    """The manifests of all runs that a state folder keeps and this version reads, the present one
    first."""
    if not (state / DATABASE).is_file():
        return []
    store = JournalStore(state / DATABASE, read_only=True)
    found = []
    try:
        for encoded in store.manifests():
            with suppress(PeerError):  # of another version, which `--run` cannot name either
                found.append(decode_manifest(encoded))
    finally:
        store.close()
    return found


def earlier_lineage(state: Path, manifest: Manifest, runs: int = MAX_RUNS) -> bytes | None:
    """The lineage of the run that one continues, and of those before it, as far as this node took
    part in them."""
    if manifest.continues is None or not runs:
        return None
    found = find_archive(state, manifest.continues.run)
    if found is None:
        return None
    return bundle(found.manifest, found.journals, earlier_lineage(state, found.manifest, runs - 1))


def _decoded(encoded: bytes, state: Path) -> Manifest:
    try:
        return decode_manifest(encoded)
    except PeerError as error:
        raise Failed(
            f"the run that is kept here is of another version: {error}",
            where=str(state),
            fix="read it with the version of dcfm-node that took part in it",
        ) from error
