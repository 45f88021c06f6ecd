"""What this node does next, and why: a pure function of its situation (SPEC 6).

`status --explain` prints what this module returns; nothing else decides.
"""

from dataclasses import dataclass

from dcfm_node.records.entries import Accept, Expert, Lease, Propose, Refuse, Student, Vote
from dcfm_node.swarm.effects import AuditExperts, Distil, Score, Train, Waiting, Work
from dcfm_node.swarm.election import Await, Lead, next_move
from dcfm_node.swarm.experts import (
    HeldHere,
    audit_owed,
    audited_experts,
    audited_round,
    unaudited,
)
from dcfm_node.swarm.liveness import Duty
from dcfm_node.swarm.method import method_of
from dcfm_node.swarm.outcome import is_whole, taken_back
from dcfm_node.swarm.plan_input import PlanInput, continued, is_lost, is_usable
from dcfm_node.swarm.preparing import awaited, owed, prepare
from dcfm_node.swarm.rounds import Phase, current_phase, finishes, turn
from dcfm_node.swarm.said import Said
from dcfm_node.swarm.wanted import resumable


@dataclass(frozen=True, slots=True)
class Step:
    """The phase, and what this node does in it."""

    phase: Phase
    action: Work | Vote | Lease | Propose | Accept | Expert | Refuse | Waiting


def next_step(s: PlanInput) -> Step:
    """Decide the next step. It has an answer for every situation and never raises."""
    step = _next_step(s)
    round_ = audited_round(s.view, step.phase)
    if isinstance(step.action, Waiting) and not step.action.over and round_ is not None:
        # While it waits, this node does what others wait for.
        return Step(step.phase, audit_owed(s, round_) or step.action)
    return step


def _next_step(s: PlanInput) -> Step:
    phase = current_phase(s.view, s.suspected)
    if s.me in s.view.withdrawn:
        return Step(phase, Waiting("this silo withdrew from the run", over=True))
    if s.me in s.view.quarantined():
        why = f"this silo is in quarantine: {s.view.quarantined()[s.me]}"
        return Step(phase, Waiting(why, over=True))
    if (acceptance := owed(s)) is not None:
        return Step(phase, acceptance)
    student = s.view.newest_student()
    if student is not None and phase.stage in ("refine", "release") and is_lost(s, student):
        return Step(Phase("distil", student.body.round), _elect(s, student.body.round))
    match phase.stage:
        case "prepare":
            return Step(phase, prepare(s))
        case "local" | "refine":
            return Step(phase, _train(s, phase))
        case "distil":
            return Step(phase, _elect(s, phase.round))
        case "release":
            return Step(phase, _release(s))
        case _:
            return Step(phase, _over(s))


def _train(s: PlanInput, phase: Phase) -> Work | Expert | Waiting:
    now_training = turn(s.view, phase, s.suspected)
    if s.me not in now_training:
        return Waiting("waiting for experts", on=tuple(now_training))
    if s.view.holds_probes_alone(s.me):
        return Waiting("all that this silo holds is withheld as probes, so it trains nothing")
    own = s.view.latest_expert(s.me)
    if own is None:
        return _first(s)
    method = method_of(s.view.manifest)
    try:
        return method.train_round(HeldHere(s), phase.round)
    except Exception as error:  # whatever another package's method raises
        if not s.view.manifest.plugins:
            raise
        what = f"method {method.name!r} failed to choose what to train from"
        return Waiting(f"{what}: {type(error).__name__}: {error}", broken=True)


def _first(s: PlanInput) -> Work | Expert | Waiting:
    """The first action: train in Stage I, or resume from the run that this one continues."""
    if s.inherited is not None and s.inherited.snapshot.digest in s.held:
        return s.inherited
    student = continued(s.view)
    if student is None or s.lost(student.digest):
        return Train("local", 0)
    if student.digest not in s.held:
        return Waiting("waiting for the student of the run that this one continues")
    return Train("local", 0, init=student.digest)


def duties(s: PlanInput, phase: Phase) -> list[Duty]:
    """The duties that this node waits for in a phase. A silo is late only from the start of this
    wait."""
    found: list[Duty] = awaited(s) if phase.stage == "prepare" else []
    leader = s.view.last_leader(phase.round)
    if phase.stage in ("local", "refine"):
        found += [Duty(key, "train", phase.round) for key in turn(s.view, phase, s.suspected)]
    elif phase.stage == "distil" and leader is not None:
        found.append(Duty(leader.author, "lead", leader.body.term))
    if (audited := audited_round(s.view, phase)) is not None:
        found += [Duty(key, "audit", audited) for key in unaudited(s.view, audited)]
    return found + _undelivered(s, phase.round if audited is None else audited)


def _undelivered(s: PlanInput, round_: int) -> list[Duty]:
    """Duties to deliver snapshots that are still missing here. They name rounds or terms, not
    digests: a silo that takes its record back and names other snapshots gets no more time than
    others."""
    experts = (s.view.latest_expert(key, round_) for key in s.view.active())
    student = s.view.newest_student()
    found = [
        Duty(said.author, "expert", said.body.round)
        for said in experts
        if said is not None and said.body.snapshot.digest not in s.held
    ]
    if student is not None and student.body.snapshot.digest not in s.held:
        found.append(Duty(student.author, "student", student.body.term))
    return found


def _elect(s: PlanInput, round_: int) -> Work | Vote | Lease | Waiting:
    move = next_move(s.view, round_, s.booth)
    match move:
        case Vote() | Lease():
            return move
        case Await():
            return Waiting(move.why, on=(move.on,) if move.on is not None else ())
        case Lead():
            return _distil(s, round_, move)


def _distil(s: PlanInput, round_: int, lead: Lead) -> Work | Waiting:
    begun = s.work
    if isinstance(begun, Distil) and begun.term == lead.term and is_whole(begun, s.view):
        return begun  # teachers and checkpoint were fixed at its start
    experts = audited_experts(s, round_, round_, without=_shifty(s, lead.term))
    if isinstance(experts, Waiting | AuditExperts):
        return experts
    if not experts:
        return Waiting("this node holds no expert to distil")
    current = {said.author for said in experts if said.body.round == round_}
    entries = frozenset(said.digest for said in experts)
    method = s.view.manifest.method
    resume = resumable(s, [said.digest for said in experts], s.led_for(lead.term))
    if isinstance(resume, Waiting):
        return resume
    return Distil(
        round=round_,
        term=lead.term,
        lease=lead.lease,
        teachers=tuple((e.author, e.digest, e.body.snapshot.digest) for e in experts),
        missing=tuple(key for key in s.view.active() if key not in current),
        final=not method.interim_students or finishes(s.view, round_, among=entries),
        resume=resume,
    )


def _shifty(s: PlanInput, term: int) -> set[bytes]:
    """Silos that took back their experts' records while these were distilled. They could do so for
    ever, so they are left out; a strict run leaves nobody out."""
    strict = s.view.manifest.policy.participation == "strict"
    if strict or not isinstance(s.work, Distil) or s.work.term != term:
        return set()
    return taken_back(s.work, s.view)


def _release(s: PlanInput) -> Work | Refuse | Waiting:
    student = s.view.newest_student()
    if student is None:
        return Waiting("no student is published")
    heard = (
        s.view.endorsed.get(student.digest, {}).keys()
        | s.view.refused.get(student.digest, {}).keys()
    )
    if s.me in heard:
        silent = tuple(key for key in s.view.active() if key not in heard)
        return Waiting("waiting for endorsements", on=silent)
    if left_out := _left_out(s, student):
        names = ", ".join(map(s.view.manifest.silo_name, left_out))
        reason = f"leaves out {names}, whose expert its leader knew and others hold"
        return Refuse(student=student.digest, reason=reason[:500], metrics={})
    if student.body.snapshot.digest not in s.held:
        return Waiting("waiting for the snapshot of the student", on=(student.author,))
    own = s.view.latest_expert(s.me)
    reference = own.body.snapshot.digest if own is not None else None
    usable = reference if reference in s.held else None
    return Score(student.digest, student.body.snapshot.digest, usable)


def _left_out(s: PlanInput, student: Said[Student]) -> list[bytes]:
    """Silos that a student lacks without reason: this node holds their experts, and the leader knew
    them, as the votes that it cites show."""
    lease = s.view.certified(student.body.lease)
    votes = s.view.ballots.votes.get(student.body.term, {})
    cited = set(lease.body.votes) if lease is not None else set()
    strict, found = s.view.manifest.policy.participation == "strict", []
    for key in student.body.missing:
        expert, vote = s.view.experts.get(key, {}).get(student.body.round), votes.get(key)
        if expert is None or key not in s.view.active():
            continue
        # In a strict run every expert of the round was published before its election.
        knew = vote is not None and vote.digest in cited and expert.seq < vote.seq
        if not (strict or knew):
            continue
        held = expert.body.snapshot.digest in s.held and is_usable(s, expert)
        if held and key not in s.view.verdicts.get(expert.digest, {}):
            found.append(key)
    return found


def _over(s: PlanInput) -> Work | Refuse | Waiting:
    student = s.view.newest_student()
    if student is not None and s.view.rejected(student):
        return Waiting("too many silos refused the student, so it cannot be released", over=True)
    if student is not None and s.me in s.view.joins:
        action = _release(s)
        if not isinstance(action, Waiting):
            return action
    if student is not None and s.view.below_floor(student):
        return Waiting("the student stays interim: its quality is below the floor", over=True)
    return Waiting("the student is released", over=True)
