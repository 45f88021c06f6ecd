"""The view: what the journals, taken together, say of the run.

Questions that need several records (is this lease a majority's?) are answered when asked, because
their parts arrive in any order.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from dcfm_node.records.entries import Checkpoint, Expert, Label, Lease, Snapshot, Student
from dcfm_node.swarm import conformity, shares
from dcfm_node.swarm.audit import too_many
from dcfm_node.swarm.faults import Fault
from dcfm_node.swarm.fold import Fold
from dcfm_node.swarm.said import Said


class View(Fold):
    """Every record of the run, and what follows from them."""

    # Silos

    def active(self) -> Sequence[bytes]:
        """Roster keys that neither withdrew nor are in quarantine, in roster order."""
        if self._active is None:
            out = self.withdrawn.keys() | self.quarantined().keys()
            self._active = [silo.key for silo in self.manifest.roster if silo.key not in out]
        return self._active

    def condemned(self, entry: bytes) -> bool:
        """Whether nobody uses an expert or student any more (SPEC 6.7.2)."""
        return self.refused_by_quorum(entry) or self._refused_by_comparers(entry)

    def refused_by_quorum(self, entry: bytes) -> bool:
        """Whether a quorum refused an expert, or could not load a student."""
        return entry in self.crowded

    def _refused_by_comparers(self, entry: bytes) -> bool:
        expert, verdicts = self.expert_entries.get(entry), self.verdicts.get(entry, {})
        refusers = {judge for judge, said in verdicts.items() if said.body.cause == "score"}
        if expert is None or not refusers:
            return False
        return too_many(refusers, self.comparers(expert.author), len(self.manifest.roster))

    def comparers(self, author: bytes) -> set[bytes]:
        """Silos that hold a combination which this one holds, by their joins, and not itself."""
        if author not in self._comparers:
            held = {key: {label for label, _ in join.counts} for key, join in self.joins.items()}
            own = held.pop(author, set())
            self._comparers[author] = {key for key, labels in held.items() if own & labels}
        return self._comparers[author]

    def quarantined(self) -> Mapping[bytes, str]:
        """Members who take no part any more, and why: on proof, or because a quorum refused
        experts of theirs twice."""
        if self._quarantined is None:
            found = {author: faults[0].why for author, faults in self.proven().items()}
            refused: dict[bytes, int] = {}
            for entry in self.crowded:
                said = self.expert_entries.get(entry) or self.students.get(entry)
                author = said.author if said is not None else self._named(entry)
                if author is not None:
                    refused[author] = refused.get(author, 0) + 1
            why = "a quorum refused two of its experts or students"
            again = {author: why for author, times in sorted(refused.items()) if times > 1}
            self._quarantined = again | found
        return self._quarantined

    def _named(self, entry: bytes) -> bytes | None:
        """Whose entry a quorum says that it refused, where that is not held: its author may have
        taken it back, so as to publish one after the other."""
        subjects = Counter(said.body.subject for said in self.verdicts[entry].values())
        subject, times = subjects.most_common(1)[0]
        return subject if times >= self.manifest.quorum else None

    def proven(self) -> Mapping[bytes, Sequence[Fault]]:
        """Faults that members' own records prove, by member: one of each cause."""
        beyond = self.ballots.beyond()
        found = {
            silo.key: [
                *self.faults.proven.get(silo.key, {}).values(),
                *([beyond[silo.key]] if silo.key in beyond else ()),
                *([self.forked[silo.key]] if silo.key in self.forked else ()),
            ]
            for silo in self.manifest.roster
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

    def weighed(self, authors: Iterable[bytes]) -> Mapping[bytes, Mapping[Label, int]]:
        """Label counts by silo as they weigh among these (SPEC 6.9); of those with a join."""
        joins = {key: self.joins[key] for key in authors if key in self.joins}
        return shares.capped(joins, self.manifest.policy.max_share)

    def samples(self, author: bytes) -> int:
        """How many samples a silo says that it trains on; 0 before its join."""
        join = self.joins.get(author)
        return sum(count for _, count in join.counts) if join is not None else 0

    def share(self, author: bytes) -> float:
        """What a silo weighs among all that take part, of 1 (SPEC 6.9)."""
        if author not in self.joins or author not in self.active():
            return 0.0
        totals = {key: self.samples(key) for key in self.active() if key in self.joins}
        scale = shares.factors(totals, self.manifest.policy.max_share)
        weights = {key: totals[key] * scale[key] for key in totals}
        return weights[author] / math.fsum(weights.values())

    # Leaders

    def certified(self, lease: bytes) -> Said[Lease] | None:
        """The lease of that entry digest, if a majority's votes of its term name its author."""
        return self.ballots.certified.get(lease)

    def leader(self, term: int) -> Said[Lease] | None:
        """The certified lease of a term. Majorities intersect: there is at most one leader."""
        return self.ballots.leader(term)

    def last_leader(self, round_: int | None = None) -> Said[Lease] | None:
        """The certified lease of the highest term that has one, of a round if given."""
        return self.ballots.last_leader(round_)

    def led(self, round_: int) -> set[bytes]:
        """Who led a round before, whatever came of it: others are tried first."""
        return {s.author for s in self.ballots.certified.values() if s.body.round == round_}

    def last_term(self) -> int:
        """The highest term that counts (SPEC 7.1); 0 before the first."""
        return self.ballots.last_term

    def checkpoints_of(self, round_: int) -> Sequence[Said[Checkpoint]]:
        """How far the distillation of a round is: its valid checkpoints, the newest last."""
        leases = (said for said in self.ballots.certified.values() if said.body.round == round_)
        said = (s for of in leases for s in self.checkpoints.get(of.digest, {}).get(of.author, ()))
        found = [s for s in said if self._is_valid(s) and not self.superseded(s.body)]
        blamed = self.blamed(round_) if found else ()
        return sorted((s for s in found if s.author not in blamed), key=lambda s: s.body.term)

    # Students

    def valid_students(self) -> Sequence[Said[Student]]:
        """Students published under a certified lease, as the method has them, oldest first."""
        if self._valid is None:
            said = self.elected_students()
            found = [s for s in said if self._is_valid(s) and not conformity.flaw(self, s)]
            found.sort(key=lambda said: (said.body.round, said.body.term, said.digest))
            self._valid = found
        return self._valid

    def unfounded(self) -> Sequence[tuple[Said[Student], str]]:
        """Students under certified leases that do not count, as far as is known, and why."""
        said = [s for s in self.elected_students() if self._is_valid(s)]
        whys = ((student, conformity.flaw(self, student)) for student in said)
        return [(student, why) for student, why in whys if why]

    def elected_students(self) -> Sequence[Said[Student]]:
        """Students of certified leases by their authors, valid or not: as many as majorities
        elected leaders, at most."""
        leases = self.ballots.certified.values()
        said = (self.by_lease.get(of.digest, {}).get(of.author) for of in leases)
        return [student for student in said if student is not None]

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
        is condemned: it counts no more, and its round is distilled again without them."""
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
        resumed = [said.body.resumed for said in rejected if said.body.resumed is not None]
        makers = {author for digest in resumed for author in self.checkpointed.get(digest, ())}
        return {said.author for said in rejected} | makers

    def distilled_round(self) -> int | None:
        """The highest round of which there is a valid student, superseded or not."""
        found = self.valid_students()
        return found[-1].body.round if found else None

    def taught(self, student: bytes) -> Sequence[bytes]:
        """Authors of the experts that a student, by its entry, was made from, as far as known."""
        said = self.students.get(student)
        experts = map(self.expert_entries.get, said.body.teachers if said is not None else ())
        return [expert.author for expert in experts if expert is not None]

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
