"""Which form a snapshot must have before anything loads it, and whether it does (SPEC 5.1.3).

Any member may name any snapshot, in a record of any kind. So each record is judged by the form that
it asks for itself: nobody makes another's snapshot unfit by what he says it is, and what fits one
use is not taken for fit for another.
"""

import errno
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, NamedTuple

from dcfm_node.errors import PeerError
from dcfm_node.records.entries import Snapshot
from dcfm_node.records.manifest import Manifest
from dcfm_node.store.snapshots import SnapshotStore
from dcfm_node.store.tensors import Schema, check_snapshot, ensemble_schema
from dcfm_node.swarm.effects import AuditExperts, Distil, Score, Train, Work
from dcfm_node.swarm.view import View
from dcfm_node.worker.messages import Ready


class Form(NamedTuple):
    """One network, those of these silos together, or how far a student is; of a size in bytes, or
    of any (0)."""

    kind: Literal["network", "ensemble", "checkpoint"]
    silos: tuple[str, ...] = ()
    size: int = 0

    def of(self, snapshot: Snapshot) -> "Form":
        """The same, of the size that a record says."""
        return self._replace(size=snapshot.size)

    def includes(self, other: "Form") -> bool:
        """Whether whatever is not this is not the other either."""
        return other == self or (self.size == 0 and other._replace(size=0) == self)


NETWORK, CHECKPOINT = Form("network"), Form("checkpoint")


@dataclass(frozen=True)
class Forms:
    """Of a run's snapshots.

    Attributes:
        ready: what the worker says of the run's tensors.
    """

    manifest: Manifest
    ready: Ready
    snapshots: SnapshotStore
    _fit: dict[bytes, set[Form]] = field(default_factory=lambda: defaultdict(set))
    """The forms that each snapshot was found to have."""

    def asked(self, view: View) -> Mapping[bytes, Mapping[bytes | None, Form]]:
        """By snapshot, the form that each record which names it asks of it, by entry; under None
        what the manifest asks."""
        found: dict[bytes, dict[bytes | None, Form]] = defaultdict(dict)
        if (continues := self.manifest.continues) is not None and continues.student is not None:
            found[continues.student.digest][None] = NETWORK.of(continues.student)
        for expert in view.expert_entries.values():
            found[expert.body.snapshot.digest][expert.digest] = NETWORK.of(expert.body.snapshot)
        for student in view.students.values():
            form = self.of_student(view, student.digest).of(student.body.snapshot)
            found[student.body.snapshot.digest][student.digest] = form
        for digest, checkpoints in view.checkpointed.items():
            found[digest] |= {
                s.digest: CHECKPOINT.of(s.body.snapshot) for s in checkpoints.values()
            }
        return found

    def of_student(self, view: View, entry: bytes) -> Form:
        """What the student of an entry must be."""
        if not self.manifest.method.ensemble:
            return NETWORK
        names = map(self.manifest.silo_name, view.taught(entry))
        return Form("ensemble", tuple(names))

    def flaw(self, digest: bytes, form: Form) -> str:
        """Why a snapshot on disk may not be loaded as this; empty if it may.

        Raises:
            OSError: nobody can tell, since it is gone or this disk does not give it.
        """
        path = self.snapshots.path(digest)
        if path is None:
            raise FileNotFoundError(errno.ENOENT, "it is gone from the disk")
        if form.size not in (0, size := path.stat().st_size):
            return f"the record says {form.size} bytes, it has {size}"
        schema = self._schema(form)
        if not schema:  # an empty file would fit
            return f"the run's method has no {form.kind}"
        try:
            check_snapshot(path, schema)
        except PeerError as error:
            return str(error)
        self._fit[digest] |= {form, form._replace(size=0)}
        return ""

    def doubtful(self, work: Work, view: View) -> list[tuple[bytes, Form]]:
        """What a piece of work would load as something that it was not checked for. This node's own
        work needs no check, unless somebody says that it is something else."""
        inputs = list(self._inputs(work, view))
        open_ = [(digest, form) for digest, form in inputs if form not in self._fit.get(digest, ())]
        if not open_:
            return []
        asked = self.asked(view)
        return [
            (digest, form)
            for digest, form in open_
            if digest in self._fit or len(set(asked.get(digest, {}).values())) > 1
        ]

    def intact(self, named: Mapping[bytes, Collection[Form]]) -> set[bytes]:
        """Snapshots of this run that are on disk and sound. A disk can change a bit, and a crash
        can leave one unchecked: what is not sound is dropped, and fetched again if it is wanted."""
        found = set()
        for digest in self.snapshots.held():
            # Also what no record names yet: a torn file would be taken for a peer's fault.
            if not self.snapshots.verify(digest) or digest not in named:
                continue
            if all(map(partial(self._unsound, digest), set(named[digest]))):
                self.snapshots.remove(digest)
            else:
                found.add(digest)
        for digest in self.snapshots.partials() - named.keys():
            self.snapshots.discard(digest)
        return found

    def _inputs(self, work: Work, view: View) -> Iterable[tuple[bytes, Form]]:
        """What a piece of work loads, and as what."""
        match work:
            case Train():
                given = (work.init, work.anchor, *(digest for _, digest in work.peers))
                yield from ((digest, NETWORK) for digest in given if digest is not None)
            case Distil():
                yield from ((digest, NETWORK) for _, _, digest in work.teachers)
                if work.resume is not None:
                    yield work.resume, CHECKPOINT
            case Score():
                yield work.snapshot, self.of_student(view, work.student)
                if work.reference is not None:
                    yield work.reference, NETWORK
            case AuditExperts():
                yield from ((digest, NETWORK) for _, _, digest in work.experts)

    def _schema(self, form: Form) -> Schema:
        match form.kind:
            case "network":
                return self.ready.tensors
            case "checkpoint":
                return self.ready.checkpoint
            case "ensemble":
                return ensemble_schema(self.ready.tensors, self.ready.beside_experts, form.silos)

    def _unsound(self, digest: bytes, form: Form) -> bool:
        try:
            return bool(self.flaw(digest, form))
        except OSError:  # what this disk does not give, a peer's may
            return True
