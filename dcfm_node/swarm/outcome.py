"""What a finished work makes its silo say, and whether that still has a place (SPEC 3.6, 6.4)."""

from collections.abc import Mapping

from dcfm_node import __version__
from dcfm_node.records.entries import Body, Endorse, Expert, Refuse, Snapshot, Student
from dcfm_node.swarm.effects import Distil, Score, Train, Work
from dcfm_node.swarm.view import View


def expert_of(work: Train, snapshot: Snapshot, metrics: Mapping[str, float]) -> Expert:
    """The record of a trained expert, with all that it was trained from or against."""
    parents = (work.init, work.anchor, *(digest for _, digest in work.peers))
    named = tuple(digest for digest in parents if digest is not None)
    return Expert(round=work.round, snapshot=snapshot, parents=named, metrics=dict(metrics))


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
        parent=work.init,
        missing=work.missing,
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


def still_true(body: Body, view: View, me: bytes) -> bool:
    """Whether a finished work's record still has a place: fenced leaders stay silent (SPEC 7.4)."""
    if me in view.withdrawn or (isinstance(body, Student) and view.superseded(body)):
        return False
    match body:
        case Expert():
            return body.round not in view.experts.get(me, {})
        case Student():
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
