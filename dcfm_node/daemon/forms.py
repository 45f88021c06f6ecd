"""Which form a snapshot must have before anything loads it, and whether it does (SPEC 5.1.3)."""

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dcfm_node.errors import PeerError
from dcfm_node.records.manifest import Manifest
from dcfm_node.store.snapshots import SnapshotStore
from dcfm_node.store.tensors import Schema, check_snapshot, ensemble_schema
from dcfm_node.swarm.view import View
from dcfm_node.worker.messages import Ready


@dataclass(frozen=True)
class Forms:
    """Of a run's snapshots.

    Attributes:
        ready: what the worker says of the run's tensors.
    """

    manifest: Manifest
    ready: Ready
    snapshots: SnapshotStore

    def of(self, view: View, digest: bytes) -> Schema:
        """What a snapshot must hold: one network, those of an ensemble's teachers, or how far a
        student is."""
        if digest in view.expert_snapshots:
            # Whatever else names it: nobody can make another's expert unfit by that.
            return self.ready.tensors
        if digest in view.checkpointed:
            return self.ready.checkpoint
        members = view.taught_by(digest) if self.manifest.method.ensemble else None
        return self.ready.tensors if members is None else self._ensemble(members)

    def of_ensemble(self, view: View, digest: bytes) -> Schema:
        """What a student that is an ensemble must hold, whatever else names its snapshot."""
        return self._ensemble(view.taught_by(digest) or ())

    def flaw(self, digest: bytes, form: Schema) -> str:
        """Why a snapshot on disk may not be loaded; empty if it may.

        Raises:
            OSError: nobody can tell, since it is gone or this disk does not give it.
        """
        path = self.snapshots.path(digest)
        if path is None:
            raise FileNotFoundError(errno.ENOENT, "it is gone from the disk")
        try:
            check_snapshot(path, form)
        except PeerError as error:
            return str(error)
        return ""

    def intact(self, named: Mapping[bytes, Schema]) -> set[bytes]:
        """Snapshots of this run that are on disk and sound. A disk can change a bit, and a crash
        can leave one unchecked: what is not sound is dropped, and fetched again if it is wanted."""
        found = set()
        for digest in self.snapshots.held():
            # Also what no record names yet: a torn file would be taken for a peer's fault.
            if not self.snapshots.verify(digest) or digest not in named:
                continue
            if self._unsound(digest, named[digest]):
                self.snapshots.remove(digest)
            else:
                found.add(digest)
        for digest in self.snapshots.partials() - named.keys():
            self.snapshots.discard(digest)
        return found

    def _unsound(self, digest: bytes, form: Schema) -> bool:
        try:
            return bool(self.flaw(digest, form))
        except OSError:  # what this disk does not give, a peer's may
            return True

    def _ensemble(self, members: Sequence[bytes]) -> Schema:
        names = [self.manifest.silo_name(key) for key in members]
        return ensemble_schema(self.ready.tensors, self.ready.router, names)
