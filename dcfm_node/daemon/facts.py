"""What a run's records say, as plain data and in names: of a daemon's present run, or of one that
its state folder keeps. Pure."""

from collections.abc import Callable
from typing import Any

from dcfm_node.errors import Failed
from dcfm_node.records.entries import (
    Audit,
    Body,
    Checkpoint,
    Endorse,
    Join,
    Lease,
    Refuse,
    Student,
    Verdict,
    Vote,
)
from dcfm_node.records.manifest import Manifest
from dcfm_node.swarm.audit import FIGURES, refusals
from dcfm_node.swarm.journal import Journals
from dcfm_node.swarm.said import Said
from dcfm_node.swarm.verdicts import superseding
from dcfm_node.swarm.view import View


def journal_facts(journals: Journals, view: View, silo: str) -> dict[str, Any]:
    """Every record a silo signed (schema `dcfm-node/journal/1`): of this node, all that it ever
    said to anyone.

    Raises:
        Failed: there is no such silo in the run.
    """
    keys = {silo.name: silo.key for silo in view.manifest.roster}
    if silo not in keys:
        raise Failed(f"no silo {silo!r} in this run", fix=f"one of {', '.join(keys)}")
    return {
        "schema": "dcfm-node/journal/1",
        "run": _run(journals, view.manifest),
        "silo": silo,
        "entries": [
            {
                "seq": sealed.entry.seq,
                "time_ms": sealed.entry.time_ms,
                "digest": sealed.digest.hex(),
                "bytes": len(sealed.envelope),
                "body": plain(sealed.entry.body),
                "means": meaning(view, sealed.entry.body),
            }
            for sealed in journals.chains[keys[silo]]
        ],
    }


def students_facts(journals: Journals, view: View, held: Callable[[bytes], bool]) -> dict[str, Any]:
    """Every student of the run (schema `dcfm-node/students/1`).

    Args:
        held: whether a snapshot, by digest, is on this node's disk.
    """
    students = [student_facts(view, said) for said in view.valid_students()]
    for student in students:
        student["held"] = held(bytes.fromhex(student["digest"]))
    run = _run(journals, view.manifest)
    return {"schema": "dcfm-node/students/1", "run": run, "students": students}


def _run(journals: Journals, manifest: Manifest) -> dict[str, str]:
    return {"name": manifest.name, "id": journals.run.hex()}


def student_facts(view: View, said: Said[Student]) -> dict[str, Any]:
    """One student, with its lineage in names."""
    name, body = view.manifest.silo_name, said.body
    experts = [view.expert_entries[digest] for digest in body.teachers]
    return {
        "digest": body.snapshot.digest.hex(),
        "bytes": body.snapshot.size,
        "round": body.round,
        "term": body.term,
        "final": body.final,
        "outcome": "DEGRADED" if body.missing else "COMPLETE",
        "missing": [name(key) for key in body.missing],
        "resumed": body.resumed.hex() if body.resumed is not None else None,
        "leader": name(said.author),
        "teachers": [
            {
                "silo": name(expert.author),
                "round": expert.body.round,
                "digest": expert.body.snapshot.digest.hex(),
            }
            for expert in experts
        ],
        "endorsed_by": sorted(name(key) for key in view.endorsed.get(said.digest, ())),
        "refused_by": {
            name(key): refusal.body.reason
            for key, refusal in view.refused.get(said.digest, {}).items()
        },
        "released": view.latest() == said,
        "rejected": view.rejected(said),
        "superseded": superseding(view, body),
        "metrics": dict(sorted(body.metrics.items())),
    }


def meaning(view: View, body: Body) -> dict[str, Any]:
    """What a record says of others, whom it names by keys, digests and indices alone, in names."""
    name = view.manifest.silo_name
    match body:
        case Join():
            return {"counts": [(_labels(view.manifest, label), n) for label, n in body.counts]}
        case Vote():
            return {"candidate": name(body.candidate)}
        case Lease():
            cast = view.ballots.votes.get(body.term, {}).items()
            return {"voters": sorted(name(key) for key, v in cast if v.digest in body.votes)}
        case Checkpoint():
            return {"teachers": _teachers(view, body)}
        case Student():
            missing = [name(key) for key in body.missing]
            return {"teachers": _teachers(view, body), "missing": missing}
        case Endorse() | Refuse():
            return {"student": _entry(view, body.student)}
        case Verdict():
            about = _entry(view, body.entry) if body.entry is not None else None
            return {"subject": name(body.subject), "entry": about}
        case Audit():
            return _scores(view, body)
        case _:
            return {}


def _labels(manifest: Manifest, label: tuple[int, ...]) -> dict[str, str]:
    """A combination in words; another silo's may name values that there are none of."""
    pairs = zip(manifest.attributes, label, strict=False)
    return {a.name: a.values[v] if v < len(a.values) else f"number {v}" for a, v in pairs}


def _teachers(view: View, body: Student | Checkpoint) -> list[str]:
    """The silos of a student's teachers, as far as their experts are known here."""
    known = (view.expert_entries.get(digest) for digest in body.teachers)
    return [view.manifest.silo_name(said.author) for said in known if said is not None]


def _entry(view: View, digest: bytes) -> dict[str, Any] | None:
    """The expert or student that an entry published; None where it is not known here."""
    said = view.students.get(digest) or view.expert_entries.get(digest)
    if said is None:
        return None
    return {
        "kind": said.body.kind,
        "round": said.body.round,
        "term": said.body.term if isinstance(said.body, Student) else None,
        "silo": view.manifest.silo_name(said.author),
        "digest": said.body.snapshot.digest.hex(),
    }


def _scores(view: View, body: Audit) -> dict[str, Any]:
    """How a silo found its peers' experts."""
    name = view.manifest.silo_name
    authors = {said.digest: said.author for said in view.expert_entries.values()}
    scores = {authors[entry]: given for entry, given in body.scores if entry in authors}
    places = [
        (place, name(author), figure)
        for author, given in scores.items()
        for figure, place in given.items()
        if figure in FIGURES
    ]
    place, silo, figure = max(places, default=(None, None, None))
    return {
        "scored": sorted(map(name, scores)),
        "worst": {"silo": silo, "figure": figure, "place": place} if places else None,
        "refuses": {name(author): why for author, why in refusals(scores).items()},
    }


def plain(body: Body) -> dict[str, Any]:
    """A record for JSON: bytes as hex, figures by name, whether read from disk or just made."""
    return {field: _plain(value) for field, value in body.model_dump().items()}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in sorted(value.items())}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
