"""What a finished work makes its silo say, and whether that still has a place (SPEC 3.6, 6.4)."""

from collections.abc import Mapping

from dcfm_node import __version__
from dcfm_node.records.entries import (
    Body,
    Checkpoint,
    Endorse,
    Expert,
    Refuse,
    Snapshot,
    Student,
    Verdict,
)
from dcfm_node.records.manifest import Manifest
from dcfm_node.swarm.effects import Checkpointed, Distil, Score, Train, Work, Worked
from dcfm_node.swarm.view import View


def outcome_of(event: Worked | Checkpointed, manifest: Manifest) -> Body:
    """The record of what the worker made or found.

    Raises:
        AssertionError: it made no snapshot of a network that it trained.
    """
    match event:
        case Checkpointed(work, snapshot, step):
            return checkpoint_of(work, snapshot, step)
        case Worked(Score() as work, _, metrics):
            return judgement_of(work, metrics, manifest.policy.endorse_ratio)
        case Worked(Train() as work, Snapshot() as snapshot, metrics):
            return expert_of(work, snapshot, metrics)
        case Worked(Distil() as work, Snapshot() as snapshot, metrics):
            return student_of(work, snapshot, metrics, manifest.method.seed)
    raise AssertionError(f"{type(event.work).__name__} left no snapshot")


def expert_of(work: Train, snapshot: Snapshot, metrics: Mapping[str, float]) -> Expert:
    """The record of a trained expert, with all that it was trained from or against."""
    parents = (work.init, work.anchor, *(digest for _, digest in work.peers))
    named = tuple(digest for digest in parents if digest is not None)
    return Expert(round=work.round, snapshot=snapshot, parents=named, metrics=dict(metrics))


def checkpoint_of(work: Distil, snapshot: Snapshot, step: int) -> Checkpoint:
    """The record of how far a student is."""
    return Checkpoint(
        term=work.term,
        round=work.round,
        lease=work.lease,
        snapshot=snapshot,
        teachers=tuple(entry for _, entry, _ in work.teachers),
        step=step,
    )


def student_of(
    work: Distil, snapshot: Snapshot, metrics: Mapping[str, float], seed: int
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
        metrics=dict(metrics),
    )


def judgement_of(work: Score, metrics: Mapping[str, float], limit: float) -> Endorse | Refuse:
    """Endorse, unless the student errs more than `limit` times as much as this silo's expert."""
    loss, own = metrics.get("holdout_loss", 0.0), metrics.get("reference_loss")
    if own is not None and loss > limit * own:
        reason = f"velocity error {loss:.4g} on our hold-out, over {limit:g} x our own {own:.4g}"
        return Refuse(student=work.student, reason=reason, metrics=dict(metrics))
    return Endorse(student=work.student, metrics=dict(metrics))


def refusals_of(digest: bytes, reason: str, view: View) -> list[Body]:
    """What is said of a snapshot that failed a check (SPEC 5.1.3)."""
    verdicts: list[Body] = [
        Verdict(subject=said.author, entry=said.digest, reason=reason)
        for said in view.expert_entries.values()
        if said.body.snapshot.digest == digest
    ]
    return verdicts + [
        Refuse(student=said.digest, reason=reason, metrics={})
        for said in view.students.values()
        if said.body.snapshot.digest == digest
    ]


def still_true(body: Body, view: View, me: bytes) -> bool:
    """Whether a finished work's record still has a place: fenced leaders stay silent (SPEC 7.4)."""
    if me in view.withdrawn or (isinstance(body, Student | Checkpoint) and view.superseded(body)):
        return False
    match body:
        case Expert():
            return body.round not in view.experts.get(me, {})
        case Student() | Checkpoint():
            other = view.student(body.round)
            leads = view.leader(body.term)
            newest = leads is not None and view.last_leader() == leads
            return newest and (other is None or other.body.term < body.term)
        case _:
            return True


def same_work(work: Work, asked: Work | None, view: View) -> bool:
    """Whether what runs is what is asked. A leader's teachers are fixed when it starts, until one
    of their silos withdraws."""
    match work, asked:
        case Distil(), Distil():
            whole = not any(author in view.withdrawn for author, _, _ in work.teachers)
            return whole and (work.round, work.term) == (asked.round, asked.term)
        case _:
            return work == asked


def brief(body: Body) -> dict[str, object]:
    """What the log says of a record."""
    return {name: getattr(body, name) for name in ("round", "term", "final") if hasattr(body, name)}
