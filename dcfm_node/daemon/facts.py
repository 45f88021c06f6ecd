"""What a run's records say, in names: of a daemon's present run, or of one that a state folder
keeps. Pure."""

from collections import defaultdict
from collections.abc import Callable

from dcfm_node.api.document import RunName
from dcfm_node.api.journal import (
    AuditMeans,
    CheckpointMeans,
    JoinMeans,
    Journal,
    JournalEntry,
    LeaseMeans,
    Means,
    NothingMore,
    OpinionMeans,
    PreparationMeans,
    Published,
    StudentMeans,
    VerdictMeans,
    VoteMeans,
    Worst,
)
from dcfm_node.api.run import HeldCombination, RunAttribute, RunFacts
from dcfm_node.api.students import Expected, ListedStudent, StudentFacts, Students, Teacher
from dcfm_node.errors import Failed
from dcfm_node.records.entries import (
    Accept,
    Audit,
    Body,
    Checkpoint,
    Endorse,
    Join,
    Label,
    Lease,
    Propose,
    Refuse,
    Student,
    Verdict,
    Vote,
)
from dcfm_node.records.manifest import Manifest
from dcfm_node.swarm.audit import FIGURES, refusals
from dcfm_node.swarm.journal import Journals
from dcfm_node.swarm.quality import announced, known_quality
from dcfm_node.swarm.said import Said
from dcfm_node.swarm.verdicts import superseding
from dcfm_node.swarm.view import View

MAX_HELD = 4_096
"""Most combinations that `run_facts` lists."""


def journal_facts(journals: Journals, view: View, silo: str) -> Journal:
    """Every record that a silo signed, as far as this node has it.

    Raises:
        Failed: the run has no such silo.
    """
    keys = {silo.name: silo.key for silo in view.manifest.roster}
    if silo not in keys:
        raise Failed(f"no silo {silo!r} in this run", fix=f"one of {', '.join(keys)}")
    return Journal(
        run=_run(journals, view.manifest),
        silo=silo,
        entries=tuple(
            JournalEntry(
                seq=sealed.entry.seq,
                time_ms=sealed.entry.time_ms,
                digest=sealed.digest.hex(),
                bytes=len(sealed.envelope),
                body=sealed.entry.body,
                means=meaning(view, sealed.entry.body),
            )
            for sealed in journals.chains[keys[silo]]
        ),
    )


def run_facts(journals: Journals, view: View, me: bytes) -> RunFacts:
    """What the run is about, and who holds which combination: of the active silos, as they say.

    Args:
        me: this node's own silo.
    """
    manifest, name = view.manifest, view.manifest.silo_name
    held: defaultdict[Label, dict[str, int]] = defaultdict(dict)
    for key in view.active():
        for label, count in view.joins[key].counts if key in view.joins else ():
            held[label][name(key)] = count
    probes = frozenset(view.preparation.probes) if view.preparation is not None else frozenset()
    return RunFacts(
        run=_run(journals, manifest),
        node=name(me),
        sample_shape=manifest.sample_shape,
        attributes=tuple(RunAttribute(name=a.name, values=a.values) for a in manifest.attributes),
        combinations=manifest.combinations,
        held=tuple(
            HeldCombination(label=label, samples=held[label], probe=label in probes)
            for label in sorted(held)[:MAX_HELD]
        ),
        held_more=max(0, len(held) - MAX_HELD),
    )


def students_facts(journals: Journals, view: View, held: Callable[[bytes], bool]) -> Students:
    """Every student of the run.

    Args:
        held: whether a snapshot, by digest, is on this node's disk.
    """
    return Students(
        run=_run(journals, view.manifest),
        students=tuple(
            ListedStudent(
                **dict(student_facts(view, said)),
                held=held(said.body.snapshot.digest),
                time_ms=journals.chains[said.author][said.seq].entry.time_ms,
            )
            for said in view.valid_students()
        ),
    )


def _run(journals: Journals, manifest: Manifest) -> RunName:
    return RunName(name=manifest.name, id=journals.run.hex())


def student_facts(view: View, said: Said[Student]) -> StudentFacts:
    """One student, with its lineage in names."""
    name, body = view.manifest.silo_name, said.body
    experts = [view.expert_entries[digest] for digest in body.teachers]
    return StudentFacts(
        digest=body.snapshot.digest.hex(),
        bytes=body.snapshot.size,
        round=body.round,
        term=body.term,
        final=body.final,
        outcome="DEGRADED" if body.missing else "COMPLETE",
        missing=tuple(name(key) for key in body.missing),
        resumed=body.resumed.hex() if body.resumed is not None else None,
        leader=name(said.author),
        teachers=tuple(
            Teacher(
                silo=name(expert.author),
                round=expert.body.round,
                digest=expert.body.snapshot.digest.hex(),
            )
            for expert in experts
        ),
        endorsed_by=tuple(sorted(name(key) for key in view.endorsed.get(said.digest, ()))),
        refused_by={
            name(key): refusal.body.reason
            for key, refusal in view.refused.get(said.digest, {}).items()
        },
        expected=Expected.of(view.announcement(said), view.manifest.policy.novel_floor),
        released=view.latest() == said,
        rejected=view.rejected(said),
        below_floor=view.below_floor(said),
        superseded=dict(superseding(view, body)),
        metrics=dict(sorted(body.metrics.items())),
    )


def meaning(view: View, body: Body) -> Means:
    """What a record says of others. The record itself has them by key, digest and index alone."""
    name = _naming(view.manifest)
    match body:
        case Join():
            return JoinMeans(
                counts=tuple((labelled(view.manifest, label), n) for label, n in body.counts)
            )
        case Vote():
            return VoteMeans(candidate=name(body.candidate))
        case Lease():
            cast = view.ballots.votes.get(body.term, {}).items()
            voters = sorted(name(key) for key, v in cast if v.digest in body.votes)
            return LeaseMeans(voters=tuple(voters))
        case Propose() | Accept():
            known = (view.join_entries.get(digest) for digest in body.preparation.joins)
            return PreparationMeans(
                joins=tuple(sorted(name(said.author) for said in known if said is not None)),
                probes=tuple(labelled(view.manifest, label) for label in body.preparation.probes),
            )
        case Checkpoint():
            return CheckpointMeans(teachers=_teachers(view, body))
        case Student():
            missing = tuple(name(key) for key in body.missing)
            return StudentMeans(teachers=_teachers(view, body), missing=missing)
        case Endorse() | Refuse():
            return OpinionMeans(
                student=_published(view, body.student),
                expected=_expected(view, body),
            )
        case Verdict():
            about = _published(view, body.entry) if body.entry is not None else None
            return VerdictMeans(subject=name(body.subject), entry=about)
        case Audit():
            return _scores(view, body)
        case _:
            return NothingMore()


def _naming(manifest: Manifest) -> Callable[[bytes], str]:
    """As `Manifest.silo_name`, for many keys."""
    known = {silo.key: silo.name for silo in manifest.roster}
    return lambda key: known.get(key) or key.hex()[:8]


def labelled(manifest: Manifest, label: tuple[int, ...]) -> dict[str, str]:
    """Value by attribute of a combination. A hostile silo may give an index past the values."""
    pairs = zip(manifest.attributes, label, strict=False)
    return {a.name: a.values[v] if v < len(a.values) else f"number {v}" for a, v in pairs}


def _teachers(view: View, body: Student | Checkpoint) -> tuple[str, ...]:
    """The silos of a student's teachers, as far as their experts are known here."""
    known = (view.expert_entries.get(digest) for digest in body.teachers)
    return tuple(view.manifest.silo_name(said.author) for said in known if said is not None)


def _published(view: View, digest: bytes) -> Published | None:
    """The expert or student that an entry published; None where it is not known here."""
    said = view.students.get(digest) or view.expert_entries.get(digest)
    if said is None:
        return None
    return Published(
        kind=said.body.kind,
        round=said.body.round,
        term=said.body.term if isinstance(said.body, Student) else None,
        silo=view.manifest.silo_name(said.author),
        digest=said.body.snapshot.digest.hex(),
    )


def _expected(view: View, body: Endorse | Refuse) -> str:
    """What the silo's figures say of the student's quality; empty if it measured none."""
    measured = known_quality(body.metrics) is not None
    novel = view.has_novel()
    return str(announced([body.metrics], 1, final=True, novel=novel)) if measured else ""


def _scores(view: View, body: Audit) -> AuditMeans:
    """How a silo scored its peers' experts."""
    name = _naming(view.manifest)
    experts = view.expert_entries
    scores = {experts[entry].author: given for entry, given in body.scores if entry in experts}
    places = [
        (place, name(author), figure)
        for author, given in scores.items()
        for figure, place in given.items()
        if figure in FIGURES
    ]
    worst = None
    if places:
        place, silo, figure = max(places)
        worst = Worst(silo=silo, figure=figure, place=place)
    return AuditMeans(
        scored=tuple(sorted(map(name, scores))),
        worst=worst,
        refuses={name(author): why for author, why in refusals(scores).items()},
    )
