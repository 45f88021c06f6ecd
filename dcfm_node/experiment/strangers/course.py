"""One run of a problem, all silos in one process: the worker's own jobs, in the swarm's order.

What a node does to its data and what it publishes of a student therefore happens here as well.
Every piece is kept on disk under a digest of its inputs, so an interrupted course goes on.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch

from dcfm_node import __version__
from dcfm_node.data.spec import FileData
from dcfm_node.experiment.lab import code
from dcfm_node.experiment.results import Metrics, write_json
from dcfm_node.files import read_bounded
from dcfm_node.flow.codec import codec_of, decoded
from dcfm_node.flow.files import load_weights
from dcfm_node.flow.method import learner_of
from dcfm_node.flow.sampling import sample
from dcfm_node.methods.dcfm.schedule import Dcfm
from dcfm_node.records.base import Snapshot
from dcfm_node.records.entries import Expert, Join, Label
from dcfm_node.records.manifest import Manifest
from dcfm_node.samples import Floats, Labels
from dcfm_node.swarm.preparation import derive
from dcfm_node.swarm.quality import Announcement, announced
from dcfm_node.swarm.said import Said
from dcfm_node.swarm.shares import capped
from dcfm_node.wire.canonical import derived_seed, pack, sha256
from dcfm_node.wire.envelope import manifest_bytes
from dcfm_node.worker.jobs import JobRunner
from dcfm_node.worker.messages import Job, Line, Progress, Ready, Setup, TeacherFile

ROOMS = ("data", "domains", "records", "swarm", "worker")
"""Rooms that decide what a job gives, beside those of training."""
MAX_BYTES = 1 << 20

Tell = Callable[[str, float], None]
"""Called with the current activity and its finished share, 0 to 1."""


@dataclass(frozen=True)
class Piece:
    """What one job gave.

    Attributes:
        weights: file of the weights, if it makes some.
        metrics: what the silo would publish.
        seconds: process time.
    """

    key: str
    weights: Path
    metrics: Metrics
    seconds: float


@dataclass(frozen=True)
class Student:
    """The student after a round, and the process seconds of all jobs so far."""

    round: int
    weights: Path
    seconds: float


@dataclass(frozen=True)
class Ended:
    """A finished course.

    Attributes:
        students: of every round; the last is the run's.
        announced: what the silos announce of the last student, as nodes say it.
        seconds: process time of all jobs.
    """

    students: Sequence[Student]
    announced: Announcement
    seconds: float


class Course:
    """The silos of one problem under one manifest.

    Args:
        data: of every silo, in the order of the roster.
        folder: for weights, checkpoints and results of jobs.
    """

    def __init__(
        self,
        manifest: Manifest,
        data: Sequence[FileData],
        folder: Path,
        device: torch.device,
        tell: Tell,
    ) -> None:
        assert isinstance(manifest.method, Dcfm) and manifest.method.interim_students
        self.manifest, self._method = manifest, manifest.method
        self._folder, self._device, self._tell = folder, device, tell
        self._what = ""
        folder.mkdir(parents=True, exist_ok=True)
        written = manifest_bytes(manifest).hex()
        self._silos = [
            JobRunner(Setup(manifest=written, data=spec), self._hear, device) for spec in data
        ]
        ready = [silo.ready() for silo in self._silos]
        self._made_from = [sha256(code(*ROOMS), manifest_bytes(manifest)), *(r.data for r in ready)]
        joins = [
            Said(silo.key, sha256(silo.key), _join(silo.name, said), 0)
            for silo, said in zip(manifest.roster, ready, strict=True)
        ]
        prepared = derive(manifest, joins).preparation if manifest.prepares else None
        self._probes = prepared.probes if prepared is not None else ()
        self._scale = prepared.scale if prepared is not None else None
        counts = {said.author: self._trained_on(said.body) for said in joins}
        weighed = capped(counts, manifest.policy.max_share)
        self._counts: dict[str, Mapping[Label, int]] = {
            silo.name: weighed[silo.key] for silo in manifest.roster
        }

    def _trained_on(self, join: Join) -> dict[Label, int]:
        counts = dict(join.counts)
        return {label: n for label, n in counts.items() if label not in self._probes} or counts

    def run(self) -> Ended:
        """Train, distil and refine until the method ends the run; then every silo scores."""
        silos, seconds = range(len(self._silos)), 0.0
        said: dict[bytes, dict[int, Said[Expert]]] = {s.key: {} for s in self.manifest.roster}
        students: list[Student] = []
        anchor: Piece | None = None
        for round_ in range(self._method.last_round + 1):
            experts = [self._train(k, round_, anchor) for k in silos]
            anchor = self._distil(round_, experts)
            seconds += sum(piece.seconds for piece in (*experts, anchor))
            students.append(Student(round_, anchor.weights, seconds))
            for silo, expert in zip(self.manifest.roster, experts, strict=True):
                said[silo.key][round_] = _said(silo.key, round_, expert)
            if self._method.finishes(said, round_):
                break
        assert anchor is not None
        scores = [self._score(k, anchor, experts[k]) for k in silos]
        told = [piece.metrics for piece in scores]
        said_of = announced(told, self.manifest.quorum, final=True)
        return Ended(students, said_of, seconds + sum(piece.seconds for piece in scores))

    def draw(
        self, weights: Path, labels: Labels, seed: int, composed: bool | None = None
    ) -> Floats:
        """Samples (N, *sample_shape) of a student for labels (N, n).

        Args:
            composed: True uses Eq. 5 of DCFM and False the joint head, both without guidance;
                None draws as `dcfm-node student sample` does.
        """
        run, tensors, asked = self.manifest, load_weights(weights), torch.from_numpy(labels)
        if composed is None:
            learner, counts = learner_of(run), self._counts
            z = learner.sample(tensors, asked, counts=counts, seed=seed, device=self._device)
        else:
            plain = run.guided(1.0, 1.0)
            z = sample(plain, tensors, asked, composed=composed, seed=seed, device=self._device)
        return np.asarray(decoded(codec_of(run, None), z, self._scale).numpy())

    def _train(self, k: int, round_: int, anchor: Piece | None) -> Piece:
        name = self.manifest.roster[k].name
        return self._piece(
            f"{'train' if anchor is None else 'refine'}-{round_}-{name}",
            k,
            [] if anchor is None else [anchor],
            kind="train",
            round=round_,
            seed=self._seed(name, round_),
            anchor=None if anchor is None else anchor.weights,
        )

    def _distil(self, round_: int, experts: Sequence[Piece]) -> Piece:
        """Distil on the first silo's node. The job reads no data of it."""
        teachers = self._members(*(expert.weights for expert in experts))
        seed = self._seed("", round_)
        return self._piece(
            f"distil-{round_}", 0, experts, kind="distil", seed=seed, teachers=teachers
        )

    def _members(self, *paths: Path) -> tuple[TeacherFile, ...]:
        """All silos' counts, each with its own file or all with the same."""
        return tuple(
            TeacherFile(silo=name, path=path, counts=tuple(counts.items()))
            for (name, counts), path in zip(
                self._counts.items(), islice(cycle(paths), len(self._counts)), strict=True
            )
        )

    def _score(self, k: int, student: Piece, expert: Piece) -> Piece:
        return self._piece(
            f"score-{self.manifest.roster[k].name}",
            k,
            [student, expert],
            kind="score",
            seed=0,
            model=student.weights,
            reference=expert.weights,
            teachers=self._members(student.weights),
            measure=True,
        )

    def _piece(self, name: str, k: int, inputs: Sequence[Piece], **fields: object) -> Piece:
        """What a job of silo k gives, from disk if it was done before with the same inputs."""
        made_from = [name, self._made_from, [piece.key for piece in inputs]]
        key = f"{name}-{sha256(pack(made_from)).hex()[:16]}"
        output, kept = (self._folder / f"{key}.{suffix}" for suffix in ("safetensors", "json"))
        self._what = name
        if not kept.exists():
            job = {"key": key, "silo": self.manifest.roster[k].name, "output": output, **fields}
            job |= {"probes": self._probes, "scale": self._scale}
            job["checkpoint"] = self._folder / f"{key}.checkpoint"
            began = time.process_time()
            done = self._silos[k].run(Job.model_validate(job))
            seconds = time.process_time() - began
            write_json(kept, {"metrics": done.metrics, "seconds": seconds})
            (self._folder / f"{key}.checkpoint").unlink(missing_ok=True)
        found = json.loads(read_bounded(kept, MAX_BYTES))
        return Piece(key, output, found["metrics"], found["seconds"])

    def _hear(self, line: Line) -> None:
        if isinstance(line, Progress):
            self._tell(self._what, line.done / line.total)

    def _seed(self, silo: str, round_: int) -> int:
        """Different for every silo and round, the same when a course is run again."""
        seed = self.manifest.method.seed.to_bytes(8, "big")
        return derived_seed(seed, silo.encode(), round_.to_bytes(4, "big"))


def _said(author: bytes, round_: int, expert: Piece) -> Said[Expert]:
    """An expert as its record says it. No rule that is asked here reads the snapshot."""
    snapshot = Snapshot(digest=sha256(expert.key.encode()), size=1)
    body = Expert(round=round_, snapshot=snapshot, parents=(), metrics=expert.metrics)
    return Said(author, snapshot.digest, body, round_)


def _join(name: str, ready: Ready) -> Join:
    return Join(
        name=name,
        distils=True,
        version=__version__,
        counts=ready.counts,
        moments=ready.moments,
    )
