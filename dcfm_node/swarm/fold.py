"""The records of the run, by the question they answer.

A fold over entries in which the order between authors does not matter: two nodes that hold the
same journals hold the same view (SPEC 6.1).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Self, TypeVar

from dcfm_node.records.entries import (
    Audit,
    Cause,
    Checkpoint,
    Delta,
    Endorse,
    Expert,
    Join,
    Lease,
    Refuse,
    Snapshot,
    Student,
    Verdict,
    Vote,
    Withdraw,
)
from dcfm_node.records.manifest import Manifest
from dcfm_node.swarm.faults import JUDGED, Fault, Faults
from dcfm_node.wire.envelope import Sealed

B = TypeVar("B", Audit, Expert, Vote, Lease, Checkpoint, Student, Endorse, Refuse, Verdict)


@dataclass(frozen=True, slots=True)
class Said(Generic[B]):
    """A record's body, with who said it and the digest of its entry."""

    author: bytes
    digest: bytes
    body: B


@dataclass
class Fold:
    """Every record of the run; `View` answers what takes several of them."""

    manifest: Manifest
    joins: dict[bytes, Join] = field(default_factory=dict)
    experts: dict[bytes, dict[int, Said[Expert]]] = field(default_factory=dict)
    """Author, then round."""
    expert_entries: dict[bytes, Said[Expert]] = field(default_factory=dict)
    """The same, by the digest of the entry."""
    votes: dict[int, dict[bytes, Said[Vote]]] = field(default_factory=dict)
    """Term, then voter; a second vote in one term does not count."""
    leases: dict[bytes, Said[Lease]] = field(default_factory=dict)
    checkpoints: dict[bytes, list[Said[Checkpoint]]] = field(default_factory=dict)
    """Author, then in the order in which it said them."""
    checkpoint_digests: set[bytes] = field(default_factory=set)
    """Of the snapshots of all that were ever said."""
    named: set[bytes] = field(default_factory=set)
    """Digests of every snapshot that the run's records name."""
    deltas: dict[bytes, Delta] = field(default_factory=dict)
    """By the digest of the snapshot that they make; empty in a run without deltas."""
    students: dict[bytes, Said[Student]] = field(default_factory=dict)
    endorsed: dict[bytes, dict[bytes, Said[Endorse]]] = field(default_factory=dict)
    """Digest of the student's entry, then endorser."""
    refused: dict[bytes, dict[bytes, Said[Refuse]]] = field(default_factory=dict)
    verdicts: dict[bytes, dict[bytes, Said[Verdict]]] = field(default_factory=dict)
    """Digest of the refused entry, then judge."""
    accusations: dict[tuple[bytes, Cause], dict[bytes, Said[Verdict]]] = field(default_factory=dict)
    """Every verdict by its subject and cause, then judge."""
    audits: dict[int, dict[bytes, Said[Audit]]] = field(default_factory=dict)
    """Round, then auditor."""
    forked: Mapping[bytes, Fault] = field(default_factory=dict)
    """Authors who are proven to have signed two histories."""
    faults: Faults = field(default_factory=Faults)
    withdrawn: dict[bytes, Withdraw] = field(default_factory=dict)
    newest_experts: dict[bytes, Said[Expert]] = field(default_factory=dict)
    """Author, then its expert of the highest round."""
    _active: list[bytes] | None = None
    _missing: dict[int, list[bytes]] = field(default_factory=dict)
    _comparers: dict[bytes, set[bytes]] = field(default_factory=dict)
    _snapshots: dict[bytes, Snapshot] | None = None
    _certified: dict[bytes, Said[Lease]] | None = None
    _valid: list[Said[Student]] | None = None
    _reach: int | None = None
    _quarantined: dict[bytes, str] | None = None
    # Answers kept until an entry arrives that may change them

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        entries: Iterable[Sealed],
        forked: Mapping[bytes, Fault] | None = None,
    ) -> Self:
        """Fold entries; within one author they must come in chain order."""
        view = cls(manifest, forked=forked or {})
        for sealed in entries:
            view.add(sealed)
        return view

    def add(self, sealed: Sealed) -> None:
        """Fold one more entry in."""
        author, digest = sealed.entry.author, sealed.digest
        self.faults.see(author, digest, sealed.entry.body)
        if isinstance(sealed.entry.body, Expert | Vote | Endorse | Refuse | Verdict):
            # Any of these may put somebody in quarantine, and so change who is active.
            self._quarantined = self._active = self._valid = self._snapshots = None
            self._missing.clear()
        match sealed.entry.body:
            case Join() as body:
                self.joins.setdefault(author, body)
                self._comparers.clear()
            case Expert() as body:
                self._add_expert(Said(author, digest, body))
            case Vote() as body:
                self.votes.setdefault(body.term, {}).setdefault(author, Said(author, digest, body))
                self._certified = self._reach = None
            case Lease() as body:
                self.leases[digest] = Said(author, digest, body)
                self._certified = self._valid = None
            case Checkpoint() as body:
                self.checkpoints.setdefault(author, []).append(Said(author, digest, body))
                self.checkpoint_digests.add(body.snapshot.digest)
                self.named.add(body.snapshot.digest)
            case Student() as body:
                self.students[digest] = Said(author, digest, body)
                self._name(body)
                self._valid = None
            case Withdraw() as body:
                self.withdrawn.setdefault(author, body)
                self._active = self._snapshots = None
                self._missing.clear()
            case body:
                self._add_judgement(author, digest, body)

    def _add_judgement(
        self, author: bytes, digest: bytes, body: Endorse | Refuse | Verdict | Audit
    ) -> None:
        match body:
            case Endorse():
                if author not in self.refused.get(body.student, {}):
                    self.endorsed.setdefault(body.student, {})[author] = Said(author, digest, body)
            case Refuse():
                if author not in self.endorsed.get(body.student, {}):
                    self.refused.setdefault(body.student, {})[author] = Said(author, digest, body)
            case Verdict():
                said = Said(author, digest, body)
                self.accusations.setdefault((body.subject, body.cause), {})[author] = said
                if body.entry is not None and body.cause in JUDGED:
                    self.verdicts.setdefault(body.entry, {})[author] = said
            case Audit():
                audits = self.audits.setdefault(body.round, {})
                audits.setdefault(author, Said(author, digest, body))

    def _add_expert(self, said: Said[Expert]) -> None:
        rounds = self.experts.setdefault(said.author, {})
        if said.body.round in rounds:
            return
        rounds[said.body.round] = self.expert_entries[said.digest] = said
        self._name(said.body)
        newest = self.newest_experts.get(said.author)
        if newest is None or newest.body.round < said.body.round:
            self.newest_experts[said.author] = said
            self._missing.clear()
            self._snapshots = None
        self._valid = None

    def _name(self, body: Expert | Student) -> None:
        snapshot, delta = body.snapshot, body.delta
        self.named.add(snapshot.digest)
        if self.manifest.transfer.delta and delta and delta.coded.size < snapshot.size:
            self.deltas.setdefault(snapshot.digest, delta)
