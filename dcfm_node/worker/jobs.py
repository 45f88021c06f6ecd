"""Carrying out a job: load what it names, call the method, save what it made."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from dcfm_node.domains import base as domains
from dcfm_node.errors import Failed
from dcfm_node.flow import federated, networks, owners, stages, students
from dcfm_node.flow.audit import audit
from dcfm_node.flow.files import load_weights, rounded
from dcfm_node.flow.stages import Hooks, Outcome, Samples, Teacher, Weights
from dcfm_node.flow.trainer import checkpoint_schema
from dcfm_node.samples import Samples as SiloSamples
from dcfm_node.wire.envelope import decode_manifest
from dcfm_node.worker import ranks
from dcfm_node.worker.messages import (
    Done,
    Hindered,
    Job,
    Line,
    Progress,
    Ready,
    Saved,
    Setup,
    TeacherFile,
)

SAVE_STEPS = 25
"""How often the trainer offers a checkpoint; `checkpoint_s` decides which offers are taken."""
TELL_S = 0.5


class Bench:
    """Holds what all jobs of a silo share: the manifest, the data, the device.

    Args:
        device: of this rank, if it is chosen already.

    Raises:
        UserError: the private data does not fit the manifest, or the machine has no such device.
    """

    def __init__(
        self, setup: Setup, tell: Callable[[Line], None], device: torch.device | None = None
    ) -> None:
        self._setup, self._tell = setup, tell
        self._manifest = decode_manifest(bytes.fromhex(setup.manifest))
        if setup.threads:
            torch.set_num_threads(setup.threads)
        self._device = ranks.choose(setup.device) if device is None else device
        data = domains.of(self._manifest).load(self._manifest, setup.data)
        self._counts, self._digest = data.counts, data.digest
        self._warnings, self._notes = data.warnings, data.notes
        self._train, self._holdout = _samples(data.train), _samples(data.holdout)

    @property
    def accelerated(self) -> bool:
        """Whether it trains on a GPU."""
        return self._device.type == "cuda"

    def ready(self) -> Ready:
        """What the daemon must know of this worker."""
        manifest = self._manifest
        trained = getattr(manifest.method, "routing", "") == "trained"
        distils = manifest.method.checkpoint_steps > 0
        return Ready(
            device=str(self._device),
            counts=self._counts,
            data=self._digest,
            warnings=self._warnings,
            notes=self._notes,
            tensors=networks.schema(manifest),
            router=owners.schema(manifest, len(manifest.roster)) if trained else {},
            checkpoint=checkpoint_schema(manifest) if distils else {},
        )

    def run(self, job: Job) -> Done:
        """Do a job; its output file is complete when this returns."""
        if job.kind == "audit":
            began = time.monotonic()
            teachers = [_teacher(file) for file in job.teachers]
            scores = audit(
                self._manifest, self._holdout, teachers, me=job.silo, device=self._device
            )
            took = {"experts": float(len(scores)), "seconds": time.monotonic() - began}
            return Done(key=job.key, metrics=took, scores=scores)
        return Done(key=job.key, metrics=self._run(job))

    def _run(self, job: Job) -> dict[str, float]:
        if job.kind == "score":
            return students.score(
                self._manifest,
                _weights(job.model),
                self._holdout,
                counts={file.silo: dict(file.counts) for file in job.teachers},
                reference=_weights(job.reference) if job.reference is not None else None,
                device=self._device,
            )
        outcome = self._train_job(job, self._hooks(job))
        if ranks.rank() == 0:
            _save(rounded(outcome.weights, self._manifest), job.output)
        return outcome.metrics

    def _train_job(self, job: Job, hooks: Hooks) -> Outcome:
        manifest, train, holdout = self._manifest, self._train, self._holdout
        teachers = [_teacher(file) for file in job.teachers]
        init = _weights(job.init) if job.init is not None else None
        method = manifest.method
        if job.kind == "distil" and method.one_round:
            return Outcome(federated.merge(teachers), {"experts": float(len(teachers))})
        if job.kind == "distil" and method.ensemble:
            return students.gather(manifest, teachers, seed=job.seed, hooks=hooks)
        if job.kind == "train" and method.one_round:
            return federated.local_round(
                manifest,
                train,
                holdout,
                index=job.round,
                experts=teachers,
                seed=job.seed,
                hooks=hooks,
            )
        if job.kind == "distil":
            merged = federated.merge(teachers)
            return stages.distil(manifest, teachers, init=merged, seed=job.seed, hooks=hooks)
        if job.anchor is not None:
            anchor = _weights(job.anchor)
            return stages.refine_anchored(
                manifest, train, holdout, anchor=anchor, seed=job.seed, hooks=hooks
            )
        if init is None or not teachers:
            return stages.local(manifest, train, holdout, init=init, seed=job.seed, hooks=hooks)
        return stages.refine_against_peers(
            manifest,
            train,
            holdout,
            me=job.silo,
            init=init,
            peers=teachers,
            seed=job.seed,
            hooks=hooks,
        )

    def _hooks(self, job: Job) -> Hooks:
        saved_at = told_at = published_at = time.monotonic()
        hindrance = ""

        def progress(done: int, total: int, metrics: Mapping[str, float]) -> None:
            nonlocal told_at
            if done == total or time.monotonic() - told_at >= TELL_S:
                told_at = time.monotonic()
                self._tell(Progress(key=job.key, done=done, total=total, metrics=dict(metrics)))

        def due() -> bool:
            return time.monotonic() - saved_at >= self._setup.checkpoint_s

        def save(state: Weights) -> None:
            nonlocal saved_at, published_at, hindrance
            saved_at, why = time.monotonic(), ""
            published = job.kind == "distil" and self._manifest.method.checkpoint_steps > 0
            due = published and saved_at - published_at >= self._setup.publish_s
            try:
                _save(state, job.checkpoint)
                if due:
                    self._publish(job, state)
                    published_at = saved_at
            except Failed as error:
                why = str(error)
            if why != hindrance:
                hindrance = why
                self._tell(Hindered(key=job.key, reason=why))

        return Hooks(
            device=self._device,
            progress=progress,
            save=save,
            due=due,
            resume=_farthest(job),
            save_every=SAVE_STEPS,
            bf16=self._setup.bf16 and self.accelerated,
            compile=self._setup.compile and self.accelerated,
        )

    def _publish(self, job: Job, state: Weights) -> None:
        """A second file for peers, since not every filesystem has hard links."""
        step = int(state["step"])
        path = job.checkpoint.with_suffix(f".{step}")
        _save(state, path)
        self._tell(Saved(key=job.key, path=path, step=step))


def _samples(data: SiloSamples) -> Samples:
    return Samples(torch.from_numpy(data.x), torch.from_numpy(data.c))


def _teacher(file: TeacherFile) -> Teacher:
    return Teacher(name=file.silo, weights=_weights(file.path), counts=dict(file.counts))


def _weights(path: Path | None) -> Weights:
    """Weights that the store checked before it called them held: names, shapes, finiteness."""
    if path is None:
        raise ValueError("the job names no weights")
    return load_weights(path)


def _farthest(job: Job) -> Weights | None:
    """The checkpoint to go on from: this worker's own, or another's that came farther."""
    paths = (job.checkpoint, *([job.resume] if job.resume is not None else []))
    found = [state for path in paths if (state := _loaded(path)) is not None]
    return max(found, key=lambda state: int(state["step"]), default=None)


def _loaded(path: Path) -> Weights | None:
    """A checkpoint; None where there is none, or one that a power cut left in pieces."""
    try:
        weights: Weights = load_file(path)
    except FileNotFoundError:
        return None
    except SafetensorError:
        path.unlink()
        return None
    return weights


def _save(tensors: Weights, path: Path) -> None:
    """Whole or not at all: a kill at any instant leaves the old file or the new one.

    Raises:
        Failed: the disk does not take it; nothing is left behind.
    """
    temporary = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, temporary)
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise Failed(
            f"cannot be written: {error}", where=str(path), fix="make room on that disk"
        ) from error
