"""From what the swarm asks to what the worker gets: digests become paths."""

from collections.abc import Callable
from pathlib import Path

from dcfm_node.records.manifest import Manifest
from dcfm_node.swarm.effects import Distil, Score, Train, Work
from dcfm_node.swarm.view import View
from dcfm_node.wire.canonical import pack, sha256
from dcfm_node.worker.messages import Job, TeacherFile


def job_for(
    work: Work,
    *,
    manifest: Manifest,
    me: bytes,
    view: View,
    path: Callable[[bytes], Path],
    folder: Path,
) -> Job:
    """The job of a piece of work.

    Args:
        path: where a held snapshot lies.
        folder: the node's private work folder; checkpoints and outputs go there.
    """
    silo = manifest.silo_name(me)

    def teacher(author: bytes, snapshot: bytes) -> TeacherFile:
        counts = view.joins[author].counts
        return TeacherFile(silo=manifest.silo_name(author), path=path(snapshot), counts=counts)

    match work:
        case Train():
            kind = "local" if work.stage == "local" else "refine_anchored"
            files: tuple[TeacherFile, ...] = ()
            if manifest.method.name == "fedflow":
                kind = "federated"
                files = tuple(teacher(author, digest) for author, digest in work.peers)
            elif work.peers or (work.stage == "refine" and work.anchor is None):
                kind = "refine_against_peers"
                own = ((me, work.init),) if work.init is not None else ()
                files = tuple(teacher(author, digest) for author, digest in (*own, *work.peers))
            return _job(
                f"{work.stage}-{work.round}",
                (work.init, work.anchor, work.peers),
                folder,
                kind=kind,
                round=work.round,
                silo=silo,
                seed=_seed(manifest, silo, work.round),
                init=path(work.init) if work.init is not None else None,
                anchor=path(work.anchor) if work.anchor is not None else None,
                teachers=files,
            )
        case Distil():
            return _job(
                f"distil-{work.round}",
                work.teachers,
                folder,
                kind={"dcfm": "distil", "fedflow": "average"}.get(manifest.method.name, "ensemble"),
                silo=silo,
                seed=_seed(manifest, "", work.round),
                resume=path(work.resume) if work.resume is not None else None,
                teachers=tuple(teacher(author, digest) for author, _, digest in work.teachers),
            )
        case Score():
            members = (view.taught_by(work.snapshot) or ()) if manifest.method.ensemble else ()
            return _job(
                "score",
                (work.student, work.reference),
                folder,
                kind="score",
                silo=silo,
                seed=0,
                model=path(work.snapshot),
                teachers=tuple(teacher(author, work.snapshot) for author in members),
                reference=path(work.reference) if work.reference is not None else None,
            )


def _job(name: str, inputs: object, folder: Path, **fields: object) -> Job:
    key = f"{name}-{sha256(pack(inputs)).hex()[:16]}"
    return Job.model_validate(
        {
            "key": key,
            "output": folder / f"{key}.safetensors",
            "checkpoint": folder / f"{key}.checkpoint",
            **fields,
        }
    )


def _seed(manifest: Manifest, silo: str, round_: int) -> int:
    """Different for every silo and round, the same when a job or a whole run is done again."""
    parts = (manifest.method.seed.to_bytes(8, "big"), silo.encode(), round_.to_bytes(4, "big"))
    return int.from_bytes(sha256(*parts)[:4], "big") >> 1
