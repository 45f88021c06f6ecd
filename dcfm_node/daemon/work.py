"""From what the swarm asks to what the worker gets: digests become paths."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from dcfm_node.errors import Failed
from dcfm_node.records.manifest import Manifest
from dcfm_node.swarm.effects import AuditExperts, Distil, Score, Train, Work
from dcfm_node.swarm.view import View
from dcfm_node.wire.canonical import derived_seed, pack, sha256
from dcfm_node.wire.envelope import run_id
from dcfm_node.worker.messages import Job, TeacherFile


def job_for(
    work: Work,
    *,
    manifest: Manifest,
    me: bytes,
    view: View,
    path: Callable[[bytes], Path],
    folder: Path,
    data: str,
) -> Job:
    """The job of a piece of work; raises Failed if it names a silo that never joined.

    Args:
        path: where a held snapshot lies.
        folder: the node's private work folder; checkpoints and outputs go there.
        data: digest of the private data. A job of another run, other data or another preparation
            is another job: it must not go on from this one's checkpoint.
    """
    silo = manifest.silo_name(me)
    probes, scale = view.preparation.probes if view.preparation is not None else (), view.scale
    of = (run_id(manifest), data, probes, scale.model_dump() if scale is not None else None)
    made = partial(_job, folder, silo, of, probes=probes, scale=scale)

    def teachers(named: Iterable[tuple[bytes, bytes]]) -> tuple[TeacherFile, ...]:
        return _teachers(view, tuple(named), path)

    match work:
        case Train():
            own = ((me, work.init),) if work.stage == "refine" and work.init is not None else ()
            return made(
                f"{work.stage}-{work.round}",
                (work.init, work.anchor, work.peers),
                kind="train",
                round=work.round,
                seed=_seed(manifest, silo, work.round),
                init=path(work.init) if work.init is not None else None,
                anchor=path(work.anchor) if work.anchor is not None else None,
                teachers=teachers((*own, *work.peers)),
            )
        case Distil():
            return made(
                f"distil-{work.round}",
                work.teachers,
                kind="distil",
                seed=_seed(manifest, "", work.round),
                resume=path(work.resume) if work.resume is not None else None,
                teachers=teachers((author, digest) for author, _, digest in work.teachers),
            )
        case Score():
            measure = _measured(view, work.student)
            members = view.taught(work.student) if measure or manifest.method.ensemble else ()
            return made(
                "score",
                (work.student, work.reference),
                kind="score",
                seed=int.from_bytes(work.student[:4], "big"),
                measure=measure,
                model=path(work.snapshot),
                teachers=teachers((author, work.snapshot) for author in members),
                reference=path(work.reference) if work.reference is not None else None,
            )
        case AuditExperts():
            experts = teachers((author, digest) for author, _, digest in work.experts)
            return made(f"audit-{work.round}", work.experts, kind="audit", seed=0, teachers=experts)


def _measured(view: View, student: bytes) -> bool:
    """Whether silos measure what a student draws (SPEC 6.14)."""
    said = view.students.get(student)
    return said is not None and said.body.final and view.manifest.policy.novel_floor > 0.0


def _teachers(
    view: View, named: Sequence[tuple[bytes, bytes]], path: Callable[[bytes], Path]
) -> tuple[TeacherFile, ...]:
    """Of (silo, snapshot), with what each silo's counts, without probes, weigh among them."""
    counts, name = view.weighed(author for author, _ in named), view.manifest.silo_name
    if unknown := [name(author) for author, _ in named if author not in counts]:
        raise Failed(f"{', '.join(unknown)}: no join says its label counts")
    return tuple(
        TeacherFile(silo=name(author), path=path(digest), counts=tuple(counts[author].items()))
        for author, digest in named
    )


def _job(folder: Path, silo: str, of: object, name: str, inputs: object, **fields: object) -> Job:
    key = f"{name}-{sha256(pack((of, inputs))).hex()[:16]}"
    return Job.model_validate(
        {
            "key": key,
            "silo": silo,
            "output": folder / f"{key}.safetensors",
            "checkpoint": folder / f"{key}.checkpoint",
            **fields,
        }
    )


def _seed(manifest: Manifest, silo: str, round_: int) -> int:
    """Different for every silo and round, the same when a job or a whole run is done again."""
    parts = (manifest.method.seed.to_bytes(8, "big"), silo.encode(), round_.to_bytes(4, "big"))
    return derived_seed(*parts)
