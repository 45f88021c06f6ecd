"""The view: what all journals together say about the run's members and students."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dcfm_node.records.entries import Checkpoint, Student
from dcfm_node.swarm import conformity
from dcfm_node.swarm.members import Members
from dcfm_node.swarm.quality import Announcement, announced, dissent, objects
from dcfm_node.swarm.said import Said


class View(Members):
    """Every record of the run, and what follows from them."""

    def checkpoints_of(self, round_: int) -> Sequence[Said[Checkpoint]]:
        """Valid checkpoints of a round's distillation, newest last."""
        leases = (said for said in self.ballots.certified.values() if said.body.round == round_)
        said = (s for of in leases for s in self.checkpoints.get(of.digest, {}).get(of.author, ()))
        found = [s for s in said if self._is_valid(s) and not self.superseded(s.body)]
        blamed = self.blamed(round_) if found else ()
        return sorted((s for s in found if s.author not in blamed), key=lambda s: s.body.term)

    # Students

    def valid_students(self) -> Sequence[Said[Student]]:
        """Students published under a certified lease that conform to the method, oldest first."""
        if self._valid is None:
            said = self.elected_students()
            found = [s for s in said if self._is_valid(s) and not conformity.flaw(self, s)]
            found.sort(key=lambda said: (said.body.round, said.body.term, said.digest))
            self._valid = found
        return self._valid

    def unfounded(self) -> Sequence[tuple[Said[Student], str]]:
        """Students under certified leases that do not count, and why, as far as this node knows."""
        said = [s for s in self.elected_students() if self._is_valid(s)]
        whys = ((student, conformity.flaw(self, student)) for student in said)
        return [(student, why) for student, why in whys if why]

    def elected_students(self) -> Sequence[Said[Student]]:
        """Students of certified leases by their leaders, valid or not. There are at most as many as
        elected leaders."""
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
        """Silos that taught a student and have withdrawn since, are in quarantine, or whose expert
        is condemned. Then the student no longer counts, and its round is distilled again without
        them."""
        active = self.active()
        entries = [self.expert_entries.get(entry) for entry in student.teachers]
        out = {
            said.author
            for said in entries
            if said is not None and (said.author not in active or self.condemned(said.digest))
        }
        return [silo.key for silo in self.manifest.roster if silo.key in out]

    def counting_students(self) -> Sequence[Said[Student]]:
        """Valid students that are neither superseded nor overruled, by round. In a round, those
        that a quorum endorsed come last; then by term."""
        if self._counting is None:
            valid = self.valid_students()
            found = [s for s in valid if not (self.superseded(s.body) or self.overruled(s))]
            found.sort(key=lambda said: (said.body.round, self.endorsed_by_quorum(said)))
            self._counting = found
        return self._counting

    def student(self, round_: int) -> Said[Student] | None:
        """The student of a round: one that a quorum endorsed, else that of the highest term, which
        fences all earlier leaders."""
        found = [said for said in self.counting_students() if said.body.round == round_]
        return found[-1] if found else None

    # What silos think of students

    def endorsed_by_quorum(self, student: Said[Student]) -> bool:
        """Whether a quorum endorsed a student. Then silos may train from it."""
        return len(self.endorsed.get(student.digest, ())) >= self.manifest.quorum

    def rejected(self, student: Said[Student]) -> bool:
        """Whether so many silos refused a student that no quorum can endorse it."""
        spared = len(self.manifest.roster) - len(self.refused.get(student.digest, ()))
        return spared < self.manifest.quorum

    def rejected_of(self, round_: int) -> Sequence[Said[Student]]:
        """Rejected students of a round."""
        return [s for s in self.valid_students() if s.body.round == round_ and self.rejected(s)]

    def overruled(self, student: Said[Student]) -> bool:
        """Whether a student is rejected and its round is distilled again, because the leader alone
        may be at fault. This ends: one of roster minus quorum plus one leaders is honest."""
        spare = len(self.manifest.roster) - self.manifest.quorum
        return self.rejected(student) and len(self.rejected_of(student.body.round)) <= spare

    def blamed(self, round_: int) -> set[bytes]:
        """Silos that may have caused the rejection of a round's students: their leaders, and the
        authors of the checkpoints from which they resumed."""
        rejected = self.rejected_of(round_)
        resumed = [said.body.resumed for said in rejected if said.body.resumed is not None]
        makers = {author for digest in resumed for author in self.checkpointed.get(digest, ())}
        return {said.author for said in rejected} | makers

    def distilled_round(self) -> int | None:
        """The highest round that has a valid student, superseded or not."""
        found = self.valid_students()
        return found[-1].body.round if found else None

    def taught(self, student: bytes) -> Sequence[bytes]:
        """Authors of the experts behind a student entry, as far as known."""
        said = self.students.get(student)
        experts = map(self.expert_entries.get, said.body.teachers if said is not None else ())
        return [expert.author for expert in experts if expert is not None]

    def newest_student(self) -> Said[Student] | None:
        """The counting student of the highest round."""
        found = self.counting_students()
        return found[-1] if found else None

    def released(self, student: Said[Student]) -> bool:
        """Whether a student is final, and a quorum of silos endorsed it whose figures do not object
        (SPEC 6.14)."""
        content = self.endorsed.get(student.digest, {}).keys() - self.objecting(student)
        return student.body.final and len(content) >= self.manifest.quorum

    def objecting(self, student: Said[Student]) -> set[bytes]:
        """Silos that refused a student, or measured its quality below the floor."""
        floor = self.manifest.policy.novel_floor
        endorsed = self.endorsed.get(student.digest, {})
        below = {key for key, said in endorsed.items() if objects(said.body.metrics, floor)}
        return below | self.refused.get(student.digest, {}).keys()

    def below_floor(self, student: Said[Student]) -> bool:
        """Whether so many silos object to a final student that it will never be released, and not
        because they refused it."""
        spared = len(self.manifest.roster) - len(self.objecting(student))
        short = spared < self.manifest.quorum
        return student.body.final and short and not self.rejected(student)

    def settled(self, student: Said[Student]) -> bool:
        """Whether its judges have decided on a student, for good."""
        if self.rejected(student) or self.below_floor(student):
            return True
        return self.released(student) if student.body.final else self.endorsed_by_quorum(student)

    def announcement(self, student: Said[Student]) -> Announcement:
        """What its judges' figures say of a student's quality, and who is still to judge it."""
        figures, final, run = self.figures(student), student.body.final, self.manifest
        novel = any("novel_rate" in of for of in figures.values()) or self.has_novel()
        found = announced(list(figures.values()), run.quorum, final=final, novel=novel)
        if not final:
            return found
        left = [] if self.settled(student) else set(self.active()) - figures.keys()
        found = replace(found, judged=len(figures), awaited=len(left))
        told = {run.silo_name(key): of for key, of in figures.items()} if not left else {}
        return replace(found, dissent=tuple(dissent(told, found, run.policy.novel_floor)))

    def has_novel(self) -> bool:
        """Whether there are combinations that no silo trains on."""
        known = {label for key in self.joins for label in self.trained_on(key)}
        return len(known) < self.manifest.combinations

    def figures(self, student: Said[Student]) -> Mapping[bytes, Mapping[str, float]]:
        """What each of its judges measured of a student, in roster order."""
        judged = (self.endorsed.get(student.digest, {}), self.refused.get(student.digest, {}))
        told = {key: said.body.metrics for by in judged for key, said in by.items()}
        return {silo.key: told[silo.key] for silo in self.manifest.roster if silo.key in told}

    def latest(self) -> Said[Student] | None:
        """The newest counting student that is released: the one that `fetch --latest` returns."""
        found = [said for said in self.counting_students() if self.released(said)]
        return found[-1] if found else None
