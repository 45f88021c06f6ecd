"""What a verified lineage says about a student, with the silos' names."""

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dcfm_node.api.verified import Superseded, Verified
    from dcfm_node.store.card import Earlier, StudentFacts
    from dcfm_node.swarm.lineage import Lineage, Past


def facts_of(proven: "Lineage") -> "StudentFacts":
    """The facts for the model card and for `student verify` (SPEC 9.1)."""
    from dcfm_node.store.card import StudentFacts
    from dcfm_node.swarm.verdicts import superseding

    view, said = proven.view, proven.student
    name, body = view.manifest.silo_name, said.body
    experts = [view.expert_entries[digest] for digest in body.teachers]
    superseded = superseding(view, body)
    undecided = body.final and not view.below_floor(said)
    standing = "released" if view.released(said) else "not released" if undecided else "interim"
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
        standing="superseded" if superseded else standing,
        superseded=superseded,
        continues=_earlier(proven),
    )


def verified(proven: "Lineage", *, compared: bool, unchecked: Sequence[str]) -> "Verified":
    """The document that `student verify` prints.

    Args:
        compared: whether the run was compared with the operator's files.
        unchecked: files in the folder that are not part of the student.
    """
    from dcfm_node.api.document import RunName
    from dcfm_node.api.students import Expected
    from dcfm_node.api.verified import Verified

    facts, floor = facts_of(proven), proven.view.manifest.policy.novel_floor
    shared = {f.name: getattr(facts, f.name) for f in fields(facts)}
    shared |= {"superseded": superseded_by(proven), "expected": Expected.of(facts.expected, floor)}
    return Verified(
        of_given_run=compared,
        run=RunName(name=proven.view.manifest.name, id=proven.run.hex()),
        **shared,
        unchecked=tuple(unchecked),
    )


def superseded_by(proven: "Lineage") -> "Superseded | None":
    """Why the student no longer counts, and which one counts instead; None if it counts.

    The lineage shows the state at the time when the folder was written.
    """
    from dcfm_node.api.verified import Newest, Superseded
    from dcfm_node.swarm.verdicts import superseding

    view = proven.view
    if not (why := superseding(view, proven.student.body)):
        return None
    newest = view.latest() or view.newest_student()
    if newest is None:
        return Superseded(by=dict(why), newest=None)
    said = newest.body
    released = view.released(newest)
    named = Newest(digest=said.snapshot.digest.hex(), round=said.round, released=released)
    return Superseded(by=dict(why), newest=named)


def superseded_text(superseded: "Superseded") -> str:
    """`superseded_by` as text."""
    lines = [f"SUPERSEDED: {silo} {why}" for silo, why in superseded.by.items()]
    newest = superseded.newest
    if newest is None:
        lines.append("          there was no other student when this folder was written")
    else:
        standing = "released" if newest.released else "not released yet"
        lines.append(
            f"          newest is {newest.digest[:12]} of round {newest.round}, {standing}"
        )
    return "\n".join([*lines, "          get it: dcfm-node student fetch --latest --out DIR"])


def earlier_text(earlier: "Earlier") -> str:
    """The earlier runs as text, the newest first."""
    from dcfm_node.store.card import INDIRECT, ask_for

    lines = [f"continues run {earlier.run}"]
    if not earlier.verified:
        lines.append(f"          {ask_for(earlier)}")
    elif earlier.student is not None:
        lines.append(
            f"          from student {earlier.student[:12]} of {', '.join(earlier.teachers)}"
        )
    lines += [f"          there, {silo} {why}" for silo, why in earlier.departed.items()]
    if earlier.departed:
        lines.append(f"          {INDIRECT}")
    lines += [f"new key   {name}: {how}" for name, how in earlier.changed_keys.items()]
    if earlier.continues is not None:
        lines.append(earlier_text(earlier.continues))
    return "\n".join(lines)


def _earlier(proven: "Past") -> "Earlier | None":
    """The run that a run continues, and what the lineage says about it."""
    from dcfm_node.store.card import Earlier
    from dcfm_node.swarm.succession import went_on
    from dcfm_node.swarm.verdicts import departed

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
