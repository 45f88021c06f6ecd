"""The view: what the journals, taken together, say of the run.

A fold over entries in which the order between authors does not matter: two nodes that hold the
same journals hold the same view (SPEC 6.1). Questions that need several records (is this lease a
majority's?) are answered when asked, because their parts arrive in any order.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

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
from dcfm_node.swarm.faults import JUDGED, Fault, Faults, first_beyond, within_reach
from dcfm_node.wire.envelope import Sealed

B = TypeVar("B", Audit, Expert, Vote, Lease, Checkpoint, Student, Endorse, Refuse, Verdict)


@dataclass(frozen=True, slots=True)
class Said(Generic[B]):
    """A record's body, with who said it and the digest of its entry."""

    author: bytes
    digest: bytes
    body: B


@dataclass
class View:
    """Every record of the run, by the question it answers."""

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
    ) -> "View":
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

    # Silos

    def active(self) -> Sequence[bytes]:
        """Roster keys that neither withdrew nor are in quarantine, in roster order."""
        if self._active is None:
            out = self.withdrawn.keys() | self.quarantined().keys()
            self._active = [silo.key for silo in self.manifest.roster if silo.key not in out]
        return self._active

    def condemned(self, entry: bytes) -> bool:
        """Whether a quorum refused an expert, or could not load a student: nobody uses it."""
        return len(self.verdicts.get(entry, ())) >= self.manifest.quorum

    def quarantined(self) -> Mapping[bytes, str]:
        """Members who take no part any more, and why: on proof, or because a quorum refused
        experts of theirs twice."""
        if self._quarantined is None:
            found = {author: faults[0].why for author, faults in self.proven().items()}
            refused: dict[bytes, int] = {}
            for entry in self.verdicts:
                said = self.expert_entries.get(entry) or self.students.get(entry)
                if said is not None and self.condemned(entry):
                    refused[said.author] = refused.get(said.author, 0) + 1
            why = "a quorum refused two of its experts or students"
            again = {author: why for author, times in refused.items() if times > 1}
            self._quarantined = again | found
        return self._quarantined

    def proven(self) -> Mapping[bytes, Sequence[Fault]]:
        """Faults that members' own records prove, by member."""
        cast = {
            term: {author: said.digest for author, said in by.items()}
            for term, by in self.votes.items()
            if term > self.last_term()
        }
        beyond = first_beyond(cast, self.last_term())
        authors = (silo.key for silo in self.manifest.roster)
        found = {
            author: [
                *self.faults.proven.get(author, ()),
                *([beyond[author]] if author in beyond else ()),
                *([self.forked[author]] if author in self.forked else ()),
            ]
            for author in authors
        }
        return {author: faults for author, faults in found.items() if faults}

    def missing(self, round_: int) -> Sequence[bytes]:
        """Active silos that published no expert of this round or a later one, in roster order."""
        if round_ not in self._missing:
            newest = self.newest_experts
            self._missing[round_] = [
                key for key in self.active() if key not in newest or newest[key].body.round < round_
            ]
        return self._missing[round_]

    def newest_snapshots(self) -> Mapping[bytes, Snapshot]:
        """What the newest experts of active silos published, by digest."""
        if self._snapshots is None:
            newest = (self.newest_experts.get(key) for key in self.active())
            found = (said.body.snapshot for said in newest if said is not None)
            self._snapshots = {snapshot.digest: snapshot for snapshot in found}
        return self._snapshots

    def latest_expert(self, author: bytes, at_most: int | None = None) -> Said[Expert] | None:
        """An author's newest expert, of round `at_most` or earlier if given."""
        newest = self.newest_experts.get(author)
        if newest is None or at_most is None or newest.body.round <= at_most:
            return newest
        rounds = [r for r in self.experts[author] if r <= at_most]
        return self.experts[author][max(rounds)] if rounds else None

    # Leaders

    def certified(self, lease: bytes) -> Said[Lease] | None:
        """The lease of that entry digest, if a majority's votes of its term name its author."""
        if self._certified is None:
            self._certified = {key: said for key, said in self.leases.items() if self._wins(said)}
        return self._certified.get(lease)

    def _wins(self, said: Said[Lease]) -> bool:
        if said.body.term > self.last_term():
            return False
        cited = set(said.body.votes)
        voters = sum(
            vote.digest in cited
            and vote.body.candidate == said.author
            and vote.body.round == said.body.round
            for vote in self.votes.get(said.body.term, {}).values()
        )
        return voters >= self.manifest.quorum

    def leader(self, term: int) -> Said[Lease] | None:
        """The certified lease of a term. Majorities intersect: there is at most one leader."""
        leases = (self.certified(digest) for digest in sorted(self.leases))
        return next((said for said in leases if said and said.body.term == term), None)

    def last_leader(self, round_: int | None = None) -> Said[Lease] | None:
        """The certified lease of the highest term that has one, of a round if given."""
        found = [said for said in map(self.certified, self.leases) if said is not None]
        of_round = [said for said in found if round_ is None or said.body.round == round_]
        return max(of_round, key=lambda said: (said.body.term, said.digest), default=None)

    def last_term(self) -> int:
        """The highest term that counts (SPEC 7.1); 0 before the first."""
        if self._reach is None:
            self._reach = within_reach(self.votes)
        return self._reach

    def terms(self, round_: int) -> list[int]:
        """Terms in which anyone voted for a leader of this round, ascending."""
        cast, last = self.votes.items(), self.last_term()
        return sorted(
            t for t, by in cast if t <= last and any(v.body.round == round_ for v in by.values())
        )

    def checkpoints_of(self, round_: int) -> Sequence[Said[Checkpoint]]:
        """How far the distillation of a round is: its valid checkpoints, the newest last."""
        said = (s for by in self.checkpoints.values() for s in by if s.body.round == round_)
        found = [s for s in said if self._is_valid(s) and not self.superseded(s.body)]
        blamed = self.blamed(round_) if found else ()
        return sorted((s for s in found if s.author not in blamed), key=lambda s: s.body.term)

    # Students

    def valid_students(self) -> Sequence[Said[Student]]:
        """Students published under a certified lease whose teachers are known, oldest first."""
        if self._valid is None:
            found = [said for said in self.students.values() if self._is_valid(said)]
            found.sort(key=lambda said: (said.body.round, said.body.term, said.digest))
            self._valid = found
        return self._valid

    def _is_valid(self, said: Said[Student] | Said[Checkpoint]) -> bool:
        lease = self.certified(said.body.lease)
        return (
            lease is not None
            and lease.author == said.author
            and (lease.body.term, lease.body.round) == (said.body.term, said.body.round)
            and all(teacher in self.expert_entries for teacher in said.body.teachers)
            and not self.condemned(said.digest)
        )

    def superseded(self, student: Student | Checkpoint) -> Sequence[bytes]:
        """Silos that taught a student and withdrew since, were put in quarantine, or whose expert
        a quorum refused: it counts no more, and its round is distilled again without them."""
        active = self.active()
        entries = [self.expert_entries.get(entry) for entry in student.teachers]
        out = {
            said.author
            for said in entries
            if said is not None and (said.author not in active or self.condemned(said.digest))
        }
        return [silo.key for silo in self.manifest.roster if silo.key in out]

    def counting_students(self) -> Sequence[Said[Student]]:
        """Valid students that are not superseded; by round, of one round those last that a quorum
        endorsed, then by term."""
        valid = self.valid_students()
        found = [s for s in valid if not (self.superseded(s.body) or self.overruled(s))]
        return sorted(found, key=lambda said: (said.body.round, self.endorsed_by_quorum(said)))

    def student(self, round_: int) -> Said[Student] | None:
        """The student of a round: one that a quorum endorsed, else the highest term's, which
        fences every earlier leader."""
        found = [said for said in self.counting_students() if said.body.round == round_]
        return found[-1] if found else None

    # What silos think of students

    def endorsed_by_quorum(self, student: Said[Student]) -> bool:
        """Whether silos may train on from a student or, of a final one, release it."""
        return len(self.endorsed.get(student.digest, ())) >= self.manifest.quorum

    def rejected(self, student: Said[Student]) -> bool:
        """Whether so many silos refused a student that no quorum can endorse it."""
        spared = len(self.manifest.roster) - len(self.refused.get(student.digest, ()))
        return spared < self.manifest.quorum

    def rejected_of(self, round_: int) -> Sequence[Said[Student]]:
        """Rejected students of a round."""
        return [s for s in self.valid_students() if s.body.round == round_ and self.rejected(s)]

    def overruled(self, student: Said[Student]) -> bool:
        """Whether a student was rejected and its round is distilled again, since its leader alone
        may be at fault. Not for ever: among more than the roster less a quorum is an honest one."""
        spare = len(self.manifest.roster) - self.manifest.quorum
        return self.rejected(student) and len(self.rejected_of(student.body.round)) <= spare

    def blamed(self, round_: int) -> set[bytes]:
        """Who may be why a round's students were rejected: their leaders, and those whose
        checkpoints they went on from."""
        rejected = self.rejected_of(round_)
        resumed = {said.body.resumed for said in rejected}
        begun = (said for by in self.checkpoints.values() for said in by)
        makers = {said.author for said in begun if said.body.snapshot.digest in resumed}
        return {said.author for said in rejected} | makers

    def distilled_round(self) -> int | None:
        """The highest round of which there is a valid student, superseded or not."""
        found = self.valid_students()
        return found[-1].body.round if found else None

    def taught_by(self, snapshot: bytes) -> Sequence[bytes] | None:
        """Authors of the experts that a valid student of that snapshot was made from."""
        named = (said for said in self.valid_students() if said.body.snapshot.digest == snapshot)
        student = next(named, None)
        if student is None:
            return None
        return [self.expert_entries[entry].author for entry in student.body.teachers]

    def newest_student(self) -> Said[Student] | None:
        """The counting student of the highest round."""
        found = self.counting_students()
        return found[-1] if found else None

    def released(self, student: Said[Student]) -> bool:
        """Whether a student is final, and a quorum of silos endorsed it."""
        return student.body.final and self.endorsed_by_quorum(student)

    def latest(self) -> Said[Student] | None:
        """The newest counting student that is released: what `fetch --latest` gives."""
        found = [said for said in self.counting_students() if self.released(said)]
        return found[-1] if found else None
