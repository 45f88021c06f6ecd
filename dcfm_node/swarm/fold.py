"""The records of the run, stored by the questions they answer.

A fold over entries. The order between authors does not matter: two nodes that hold the same
journals hold the same view (SPEC 6.1). The cost of one record does not grow with the number of
earlier records: the manifest, or the number of elected leaders, bounds every search.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from dcfm_node.records.entries import (
    JUDGED,
    Accept,
    Audit,
    Cause,
    Checkpoint,
    Delta,
    Endorse,
    Expert,
    Join,
    Lease,
    Propose,
    Refuse,
    Snapshot,
    Student,
    Verdict,
    Vote,
    Withdraw,
)
from dcfm_node.records.manifest import Manifest
from dcfm_node.swarm.agreement import Agreement
from dcfm_node.swarm.ballots import Ballots
from dcfm_node.swarm.faults import Fault, Faults
from dcfm_node.swarm.preparation import Derived
from dcfm_node.swarm.said import Said
from dcfm_node.wire.envelope import Sealed

MAX_CHECKPOINTS = 8
"""Checkpoints kept of one lease, the last ones. They supersede earlier ones."""


@dataclass
class Fold:
    """Every record of the run that counts. `View` answers questions that need several of them."""

    manifest: Manifest
    joins: dict[bytes, Join] = field(default_factory=dict)
    join_entries: dict[bytes, Said[Join]] = field(default_factory=dict)
    """The same joins, by the digest of the entry."""
    experts: dict[bytes, dict[int, Said[Expert]]] = field(default_factory=dict)
    """By author, then round, ascending."""
    expert_entries: dict[bytes, Said[Expert]] = field(default_factory=dict)
    """The same experts, by the digest of the entry."""
    ballots: Ballots = field(init=False)
    agreement: Agreement = field(init=False)
    checkpoints: dict[bytes, dict[bytes, deque[Said[Checkpoint]]]] = field(default_factory=dict)
    """By lease, then author: the last ones that the author published."""
    checkpointed: dict[bytes, dict[bytes, Said[Checkpoint]]] = field(default_factory=dict)
    """By the digest of the snapshot, then author: the first checkpoint that names it."""
    named: set[bytes] = field(default_factory=set)
    """Digests of every snapshot that the run's records name."""
    sizes: dict[bytes, dict[int, None]] = field(default_factory=dict)
    """By digest of an expert's or student's snapshot, every size that a record states for it. At
    most one is true; a node that holds the snapshot knows which."""
    deltas: dict[bytes, Delta] = field(default_factory=dict)
    """By the digest of the snapshot that they produce; empty in a run without deltas."""
    students: dict[bytes, Said[Student]] = field(default_factory=dict)
    """By entry digest; only an author's first student of a term."""
    by_lease: dict[bytes, dict[bytes, Said[Student]]] = field(default_factory=dict)
    """The same students, by lease, then author."""
    endorsed: dict[bytes, dict[bytes, Said[Endorse]]] = field(default_factory=dict)
    """By the digest of the student's entry, then endorser."""
    refused: dict[bytes, dict[bytes, Said[Refuse]]] = field(default_factory=dict)
    verdicts: dict[bytes, dict[bytes, Said[Verdict]]] = field(default_factory=dict)
    """By the digest of the refused entry, then judge."""
    judged: Counter[tuple[bytes, bytes]] = field(default_factory=Counter)
    """By (judge, subject), the number of the subject's entries that the judge refused."""
    crowded: set[bytes] = field(default_factory=set)
    """Digests of entries that at least a quorum refused by verdict."""
    accusations: dict[tuple[bytes, Cause], dict[bytes, Said[Verdict]]] = field(default_factory=dict)
    """Every verdict, by (subject, cause), then judge."""
    audits: dict[int, dict[bytes, Said[Audit]]] = field(default_factory=dict)
    """By round, then auditor."""
    forked: Mapping[bytes, Fault] = field(default_factory=dict)
    """Authors that are proven to have signed two histories."""
    faults: Faults = field(default_factory=Faults)
    withdrawn: dict[bytes, Withdraw] = field(default_factory=dict)
    newest_experts: dict[bytes, Said[Expert]] = field(default_factory=dict)
    """By author, its expert of the highest round."""
    derivations: dict[tuple[bytes, ...], Derived] = field(default_factory=dict)
    """By the joins' entry digests. What follows from them is the same in every view of the run."""
    _active: Sequence[bytes] | None = None
    _missing: dict[int, list[bytes]] = field(default_factory=dict)
    _comparers: dict[bytes, set[bytes]] = field(default_factory=dict)
    _snapshots: dict[bytes, Snapshot] | None = None
    _valid: list[Said[Student]] | None = None
    _counting: list[Said[Student]] | None = None
    _quarantined: dict[bytes, str] | None = None
    # Answers kept until an entry arrives that may change them

    def __post_init__(self) -> None:
        self.ballots = Ballots(len(self.manifest.roster), self.manifest.quorum)
        self.agreement = Agreement(self.manifest.quorum)

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        entries: Iterable[Sealed],
        forked: Mapping[bytes, Fault] | None = None,
        derivations: dict[tuple[bytes, ...], Derived] | None = None,
    ) -> Self:
        """Fold entries. Each author's entries must come in chain order.

        Args:
            derivations: of an earlier view of this run; it is gone on with.
        """
        kept = derivations if derivations is not None else {}
        view = cls(manifest, forked=forked or {}, derivations=kept)
        for sealed in entries:
            view.add(sealed)
        return view

    def add(self, sealed: Sealed) -> None:
        """Fold one more entry."""
        author, digest, seq = sealed.entry.author, sealed.digest, sealed.entry.seq
        self._counting = None  # any record may change it
        if self.faults.see(author, digest, sealed.entry.body):
            self._forget()
        elected = len(self.ballots.certified)
        match sealed.entry.body:
            case Join() as body:
                if self.joins.setdefault(author, body) is body:
                    self.join_entries[digest] = Said(author, digest, body, seq)
                self._comparers.clear()
                self._forget()
            case Expert() as body:
                self._add_expert(Said(author, digest, body, seq))
            case Vote() | Lease() | Propose() | Accept() as body:
                self._add_ballot(author, digest, seq, body)
            case Checkpoint() as body:
                self._add_checkpoint(Said(author, digest, body, seq))
            case Student() as body:
                self._add_student(Said(author, digest, body, seq))
            case Withdraw() as body:
                self.withdrawn.setdefault(author, body)
                self._forget()
            case body:
                self._add_judgement(author, digest, seq, body)
        if len(self.ballots.certified) > elected:
            self._valid = None

    def _add_judgement(
        self, author: bytes, digest: bytes, seq: int, body: Endorse | Refuse | Verdict | Audit
    ) -> None:
        match body:
            case Endorse():
                if author not in self.refused.get(body.student, {}):
                    by = self.endorsed.setdefault(body.student, {})
                    by.setdefault(author, Said(author, digest, body, seq))
            case Refuse():
                if author not in self.endorsed.get(body.student, {}):
                    against = self.refused.setdefault(body.student, {})
                    against.setdefault(author, Said(author, digest, body, seq))
            case Verdict():
                self._add_verdict(Said(author, digest, body, seq))
            case Audit():
                audits = self.audits.setdefault(body.round, {})
                audits.setdefault(author, Said(author, digest, body, seq))

    def _forget(self) -> None:
        """Drop the kept answers: the active silos may have changed, and with them what counts."""
        self._quarantined = self._active = self._valid = self._snapshots = None
        self._missing.clear()

    def _add_ballot(
        self, author: bytes, digest: bytes, seq: int, body: Vote | Lease | Propose | Accept
    ) -> None:
        before = self.agreement.prepared
        match body:
            case Vote():
                self.agreement.vote(author, body)
                if self.ballots.vote(Said(author, digest, body, seq)):
                    self._forget()
            case Lease():
                self.ballots.lease(Said(author, digest, body, seq))
            case Propose():
                self.agreement.add(Said(author, digest, body, seq))
            case Accept():
                self.agreement.add(Said(author, digest, body, seq))
        if self.agreement.prepared is not before:
            self._comparers.clear()  # they follow from what silos train on
            self._forget()

    def _add_expert(self, said: Said[Expert]) -> None:
        newest = self.newest_experts.get(said.author)
        if newest is not None and newest.body.round >= said.body.round:
            return  # a silo's rounds rise, so the basis of the convergence test never changes
        self.experts.setdefault(said.author, {})[said.body.round] = said
        self.expert_entries[said.digest] = self.newest_experts[said.author] = said
        self._name(said.body)
        self._missing.clear()
        self._snapshots = self._valid = None
        if said.digest in self.crowded:
            self._forget()

    def _add_checkpoint(self, said: Said[Checkpoint]) -> None:
        body = said.body
        by = self.checkpoints.setdefault(body.lease, {})
        by.setdefault(said.author, deque(maxlen=MAX_CHECKPOINTS)).append(said)
        self.checkpointed.setdefault(body.snapshot.digest, {}).setdefault(said.author, said)
        self.named.add(body.snapshot.digest)
        self._valid = None

    def _add_student(self, said: Said[Student]) -> None:
        by = self.by_lease.setdefault(said.body.lease, {})
        if said.author in by:
            return
        by[said.author] = self.students[said.digest] = said
        self._name(said.body)
        self._valid = None
        if said.digest in self.crowded:
            self._forget()

    def _add_verdict(self, said: Said[Verdict]) -> None:
        body = said.body
        self.accusations.setdefault((body.subject, body.cause), {})[said.author] = said
        if body.entry is None or body.cause not in JUDGED:
            return
        judges = self.verdicts.setdefault(body.entry, {})
        self.judged[said.author, body.subject] += said.author not in judges
        judges[said.author] = said
        if crowd := len(judges) >= self.manifest.quorum:
            self.crowded.add(body.entry)
        if crowd or body.entry in self.expert_entries or body.entry in self.students:
            self._forget()

    def _name(self, body: Expert | Student) -> None:
        snapshot, delta = body.snapshot, body.delta
        self.named.add(snapshot.digest)
        self.sizes.setdefault(snapshot.digest, {})[snapshot.size] = None
        if self.manifest.transfer.delta and delta and delta.coded.size < snapshot.size:
            self.deltas.setdefault(snapshot.digest, delta)
