"""Which experts and students this silo can train from, distil or audit (SPEC 6.2 to 6.6)."""

from collections.abc import Sequence, Set
from dataclasses import dataclass

from dcfm_node.records.entries import Expert
from dcfm_node.swarm.effects import AuditExperts, Waiting
from dcfm_node.swarm.liveness import Duty
from dcfm_node.swarm.plan_input import PlanInput, is_usable
from dcfm_node.swarm.rounds import Phase
from dcfm_node.swarm.said import Said
from dcfm_node.swarm.view import View


@dataclass(frozen=True)
class HeldHere:
    """What this silo can train from (implements `method.AtHand`)."""

    of: PlanInput

    @property
    def me(self) -> bytes:
        """This silo's key."""
        return self.of.me

    def student(self) -> bytes | Waiting:
        """Digest of the newest student's snapshot."""
        student = self.of.view.newest_student()
        if student is not None and student.body.snapshot.digest in self.of.held:
            return student.body.snapshot.digest
        on = (student.author,) if student is not None else ()
        return Waiting("waiting for the student to refine against", on=on)

    def own_expert(self) -> bytes | Waiting:
        """Digest of the snapshot of this silo's newest expert. If every copy of it was lost, the
        student's digest, else that of any expert on disk: all share one network."""
        s, own = self.of, self.of.view.latest_expert(self.of.me)
        back = Waiting("waiting for this node's own last expert from its peers")
        if own is None:
            return back
        digest = own.body.snapshot.digest
        if digest in s.held:
            return digest
        if not s.lost(digest):
            return back
        student = s.view.newest_student()
        others = list(s.view.newest_snapshots())
        candidates = [student.body.snapshot.digest, *others] if student is not None else others
        return next((other for other in candidates if other in s.held), back)

    def experts(self, upto: int, audited: int) -> Sequence[Said[Expert]] | Waiting | AuditExperts:
        """Every active silo's newest expert of round `upto` or earlier, once all silos have audited
        the experts of round `audited`."""
        return audited_experts(self.of, upto, audited)


def held_experts(
    s: PlanInput, round_: int, without: Set[bytes] = frozenset()
) -> Sequence[Said[Expert]] | Waiting:
    """Every active silo's newest expert of this round or earlier, once all are on disk.

    The node waits for an expert until it is lost, even if its author is gone: another node may hold
    it.
    """
    found = [
        said
        for said in (s.view.latest_expert(k, round_) for k in s.view.active() if k not in without)
        if said is not None and said.author in s.view.joins and is_usable(s, said)
    ]
    absent = [said for said in found if said.body.snapshot.digest not in s.held]
    coming = [e.author for e in absent if not _hopeless(s, e)]
    if coming:
        return Waiting("waiting for the snapshots of experts", on=tuple(coming))
    return [said for said in found if said.body.snapshot.digest in s.held]


def _hopeless(s: PlanInput, said: Said[Expert]) -> bool:
    """Whether this node stops waiting for an expert. A strict run waits until the expert's own silo
    reports it lost."""
    if said.author in s.view.verdicts.get(said.digest, {}):
        return True
    strict = s.view.manifest.policy.participation == "strict"
    duty = Duty(said.author, "expert", said.body.round)
    return not strict and (s.lost(said.body.snapshot.digest) or s.undelivered(duty))


def audited_experts(
    s: PlanInput, round_: int, audited: int, without: Set[bytes] = frozenset()
) -> Sequence[Said[Expert]] | Waiting | AuditExperts:
    """As `held_experts`, once all silos have published their audits of round `audited`. It waits
    neither for the experts nor for the audits of `without`."""
    found = held_experts(s, round_, without)
    if isinstance(found, Waiting):
        return found
    examine = audit_owed(s, audited)
    if examine is not None:
        return examine
    silent = tuple(
        key
        for key in unaudited(s.view, audited)
        if key != s.me and key not in without and not s.suspected(Duty(key, "audit", audited))
    )
    if silent:
        return Waiting("waiting for the audits of the experts", on=silent)
    return _of_one_round(found) if s.view.manifest.method.one_round else found


def audit_owed(s: PlanInput, round_: int) -> AuditExperts | None:
    """The audit that this silo owes, once it holds all experts that it must compare; else None."""
    if s.me not in unaudited(s.view, round_):
        return None
    found = held_experts(s, round_)
    if isinstance(found, Waiting) or s.me not in (said.author for said in found):
        return None
    experts = tuple((e.author, e.digest, e.body.snapshot.digest) for e in found)
    return AuditExperts(round_, experts)


def audited_round(view: View, phase: Phase) -> int | None:
    """The round whose experts are used next and must be audited first; None if there is none."""
    method = view.manifest.method
    if phase.stage == "distil":
        return phase.round
    if phase.stage == "refine" and not method.interim_students:
        return phase.round - 1
    return None


def unaudited(view: View, round_: int) -> Sequence[bytes]:
    """Silos that have not yet published their audit of a round's experts, in roster order."""
    if not view.manifest.audits:
        return []
    missing, heard = view.missing(round_), view.audits.get(round_, {})
    return [k for k in view.active() if k in view.joins and k not in missing and k not in heard]


def _of_one_round(experts: Sequence[Said[Expert]]) -> Sequence[Said[Expert]]:
    """The experts of the newest round among them. An older expert is not combined with them."""
    newest = max((said.body.round for said in experts), default=0)
    return [said for said in experts if said.body.round == newest]
