"""What a verified lineage says about a student, with the silos' names, as the model card has it."""

from dcfm_node.records.entries import MEMBERSHIP
from dcfm_node.store.card import Earlier, StudentFacts
from dcfm_node.swarm.lineage import Lineage, Past
from dcfm_node.swarm.succession import went_on
from dcfm_node.swarm.verdicts import departed, superseding


def facts_of(proven: Lineage) -> StudentFacts:
    """The facts for the model card and for `student verify` (SPEC 9.1)."""
    view, said = proven.view, proven.student
    name, body = view.manifest.silo_name, said.body
    experts = [view.expert_entries[digest] for digest in body.teachers]
    return StudentFacts(
        round=body.round,
        term=body.term,
        digest=body.snapshot.digest.hex(),
        outcome="DEGRADED" if body.missing else "COMPLETE",
        teachers=[(name(e.author), e.body.round, e.body.snapshot.digest.hex()) for e in experts],
        missing=[name(key) for key in body.missing],
        endorsed_by=sorted(name(key) for key in view.endorsed.get(said.digest, ())),
        refused_by=sorted(name(key) for key in view.refused.get(said.digest, ())),
        withdrawn=sorted(name(key) for key in view.withdrawn),
        expected=view.announcement(said),
        metrics=dict(body.metrics),
        version=body.version,
        standing=standing_of(proven),
        superseded=superseding(view, body),
        continues=_earlier(proven),
        membership={
            name(e.author): auc
            for e in experts
            if (auc := e.body.metrics.get(MEMBERSHIP)) is not None and 0.0 <= auc <= 1.0
        },
    )


def standing_of(proven: Lineage) -> str:
    """Released, not released, interim or superseded."""
    view, said = proven.view, proven.student
    if superseding(view, said.body):
        return "superseded"
    undecided = said.body.final and not view.below_floor(said)
    return "released" if view.released(said) else "not released" if undecided else "interim"


def _earlier(proven: Past) -> Earlier | None:
    """The run that a run continues, and what the lineage says about it."""

    continues, before = proven.view.manifest.continues, proven.earlier
    if continues is None:
        return None
    run = continues.run.hex()
    student = continues.student.digest.hex() if continues.student is not None else None
    if before is None:
        return Earlier(run, student, False, [], {}, {}, went_on(proven.view), None)
    taught = before.student.body.teachers if before.student is not None else ()
    authors = [before.view.expert_entries[entry].author for entry in taught]
    return Earlier(
        run=run,
        student=student,
        verified=True,
        teachers=[before.view.manifest.silo_name(key) for key in authors],
        departed=departed(before.view),
        changed_keys={silo.name: silo.how for silo in proven.changed},
        ask=[],
        continues=_earlier(before),
    )
