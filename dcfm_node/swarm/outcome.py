"""The records that a silo publishes about finished work, and whether they are still valid (SPEC
3.6, 6.4)."""

import math
from collections.abc import Mapping

from dcfm_node import __version__
from dcfm_node.records.base import MAX_METRIC
from dcfm_node.records.entries import (
    Audit,
    Body,
    Checkpoint,
    Delta,
    Endorse,
    Expert,
    Refuse,
    Snapshot,
    Student,
    Verdict,
)
from dcfm_node.records.manifest import Manifest
from dcfm_node.swarm.audit import refusals
from dcfm_node.swarm.effects import AuditExperts, Checkpointed, Distil, Score, Train, Work, Worked
from dcfm_node.swarm.view import View


def outcome_of(event: Worked | Checkpointed, manifest: Manifest) -> list[Body]:
    """The records about the worker's result.

    Raises:
        AssertionError: training or distillation left no snapshot.
    """
    match event:
        case Checkpointed(work, snapshot, step):
            return [checkpoint_of(work, snapshot, step)]
        case Worked(Score() as work, _, metrics):
            return [judgement_of(work, metrics, manifest.policy.endorse_ratio)]
        case Worked(AuditExperts() as work, _, _, scores):
            return audit_of(work, scores)
        case Worked(Train() as work, Snapshot() as snapshot, metrics, _, delta):
            return [expert_of(work, snapshot, metrics, delta)]
        case Worked(Distil() as work, Snapshot() as snapshot, metrics, _, delta):
            return [student_of(work, snapshot, metrics, manifest.method.seed, delta)]
    raise AssertionError(f"{type(event.work).__name__} left no snapshot")


def base_of(work: Work, view: View) -> bytes | None:
    """Digest of the published snapshot that the work's result will resemble most: its start, or the
    student before it. None if there is none."""
    match work:
        case Train():
            named = (work.init, work.anchor, *(digest for _, digest in work.peers))
            return next((digest for digest in named if digest is not None), None)
        case Distil():
            student = view.newest_student()
            return student.body.snapshot.digest if student is not None else None
    return None


def expert_of(
    work: Train, snapshot: Snapshot, metrics: Mapping[str, float], delta: Delta | None = None
) -> Expert:
    """The record of a trained expert, with everything that it was trained from or against."""
    parents = (work.init, work.anchor, *(digest for _, digest in work.peers))
    named = tuple(digest for digest in parents if digest is not None)
    return Expert(
        round=work.round, snapshot=snapshot, parents=named, delta=delta, metrics=bounded(metrics)
    )


def checkpoint_of(work: Distil, snapshot: Snapshot, step: int) -> Checkpoint:
    """The record of a checkpoint of a student."""
    return Checkpoint(
        term=work.term,
        round=work.round,
        lease=work.lease,
        snapshot=snapshot,
        teachers=tuple(entry for _, entry, _ in work.teachers),
        step=step,
    )


def student_of(
    work: Distil,
    snapshot: Snapshot,
    metrics: Mapping[str, float],
    seed: int,
    delta: Delta | None = None,
) -> Student:
    """The record of a distilled student, with its lineage."""
    return Student(
        term=work.term,
        round=work.round,
        lease=work.lease,
        snapshot=snapshot,
        teachers=tuple(entry for _, entry, _ in work.teachers),
        missing=work.missing,
        resumed=work.resume,
        final=work.final,
        seed=seed,
        version=__version__,
        delta=delta,
        metrics=bounded(metrics),
    )


def bounded(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics within the bounds of a record. Hostile weights often give values that are not
    finite."""
    return {
        name: MAX_METRIC if math.isnan(value) else max(-MAX_METRIC, min(MAX_METRIC, value))
        for name, value in metrics.items()
    }


def audit_of(work: AuditExperts, scores: Mapping[bytes, Mapping[str, float]]) -> list[Body]:
    """The records of an audit: all scores, and a verdict on each expert that this silo refuses."""
    entries = {author: entry for author, entry, _ in work.experts}
    kept = {author: bounded(given) for author, given in scores.items() if author in entries}
    audit = Audit(
        round=work.round, scores=tuple((entries[author], kept[author]) for author in kept)
    )
    verdicts = [
        Verdict(subject=author, cause="score", entry=entries[author], reason=why[:500])
        for author, why in refusals(kept).items()
    ]
    return [audit, *verdicts]


def judgement_of(work: Score, metrics: Mapping[str, float], limit: float) -> Endorse | Refuse:
    """Endorse a student, unless its error exceeds that of this silo's expert by more than the
    factor `limit`."""
    metrics = bounded(metrics)
    loss, own = metrics.get("holdout_loss", 0.0), metrics.get("reference_loss")
    if loss >= MAX_METRIC or (own is not None and loss > limit * own):
        ours = "" if own is None else f", over {limit:g} x our own {own:.4g}"
        reason = f"velocity error {loss:.4g} on our hold-out{ours}"
        return Refuse(student=work.student, reason=reason, metrics=metrics)
    return Endorse(student=work.student, metrics=metrics)


def still_true(body: Body, view: View, me: bytes) -> bool:
    """Whether a record about finished work may still be published. A leader that a later one fences
    publishes nothing (SPEC 7.4)."""
    if me in view.withdrawn or (isinstance(body, Student | Checkpoint) and view.superseded(body)):
        return False
    match body:
        case Expert():
            own = view.newest_experts.get(me)
            return own is None or own.body.round < body.round
        case Audit():
            return me not in view.audits.get(body.round, {})
        case Verdict():
            said = view.accusations.get((body.subject, body.cause), {}).get(me)
            about = view.verdicts.get(body.entry, {}) if body.entry is not None else {}
            if body.entry is not None and view.judged[me, body.subject] >= most_judged(view):
                return False
            return me not in about and (said is None or body.entry != said.body.entry)
        case Endorse() | Refuse():
            judged = (view.endorsed.get(body.student, {}), view.refused.get(body.student, {}))
            return not any(me in by for by in judged)
        case Student() | Checkpoint():
            if not _is_founded(body, view, me):
                return False
            other = view.student(body.round)
            leads = view.leader(body.term)
            newest = leads is not None and view.last_leader() == leads
            if other is None:
                return newest
            return newest and other.body.term < body.term and not view.endorsed_by_quorum(other)
        case _:
            return True


def most_judged(view: View) -> int:
    """Most entries of one silo that another one refuses by verdict: more than an honest silo
    publishes. A member that takes each entry back, and shows every silo another one, must not make
    all write for ever."""
    return 8 + 2 * (view.manifest.method.last_round + 1)


def _is_founded(body: Student | Checkpoint, view: View, me: bytes) -> bool:
    """Whether its teachers' records still exist (silos can take them back), and this node published
    no other student under its lease: two would prove a fault."""
    again = isinstance(body, Student) and me in view.by_lease.get(body.lease, {})
    return not again and all(entry in view.expert_entries for entry in body.teachers)


def in_vain(work: Work, asked: Work | None, view: View, me: bytes) -> bool:
    """Whether the running work is useless.

    Training continues, because a late expert is still useful; unless this silo no longer takes
    part, lost its journal and trains what it had published already, or a fork undid the preparation
    that it trains by: the next one may be another. Scoring continues, because
    it ends sooner than a new worker starts.
    """
    if me not in view.active():
        return True
    match work:
        case Train():
            return work.round in view.experts.get(me, {}) or not view.is_prepared
        case Distil():
            return not (isinstance(asked, Distil) and _same_student(work, asked, view))
        case _:
            return False


def _same_student(work: Distil, asked: Distil, view: View) -> bool:
    """Whether the running distillation is the requested one. A leader's teachers are fixed at the
    start, until one of their silos leaves or too many silos refuse one."""
    return is_whole(work, view) and (work.round, work.term) == (asked.round, asked.term)


def is_whole(work: Distil, view: View) -> bool:
    """Whether all teachers of a student may still teach it."""
    out = view.withdrawn.keys() | view.quarantined().keys() | taken_back(work, view)
    taught = ((author, entry) for author, entry, _ in work.teachers)
    return not any(author in out or view.condemned(entry) for author, entry in taught)


def taken_back(work: Distil, view: View) -> set[bytes]:
    """Silos that took back the record of their expert during its distillation."""
    return {author for author, entry, _ in work.teachers if entry not in view.expert_entries}


def brief(body: Body) -> dict[str, object]:
    """Fields of a record for the log."""
    return {name: getattr(body, name) for name in ("round", "term", "final") if hasattr(body, name)}
