"""Carrying out a job: load what it names, call the method, save what it made."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from dcfm_node.data.source import counts as counts_of
from dcfm_node.domains import base as domains
from dcfm_node.errors import Failed
from dcfm_node.files import replacing
from dcfm_node.flow import networks
from dcfm_node.flow.audit import audit
from dcfm_node.flow.codec import codec_of, encoded_samples, moments_of, standardised
from dcfm_node.flow.files import load_weights, rounded
from dcfm_node.flow.judges import MAX_DRAWS
from dcfm_node.flow.method import SiloData, Start, learner_of
from dcfm_node.flow.networks import Weights
from dcfm_node.flow.quality import measure
from dcfm_node.flow.room import check_room, check_training_room, free_on
from dcfm_node.flow.sampling import Teacher
from dcfm_node.flow.stages import EncodedSamples, Outcome
from dcfm_node.flow.trainer import Callbacks, agreed
from dcfm_node.records.entries import Label
from dcfm_node.records.moments import Scale
from dcfm_node.samples import Labels
from dcfm_node.wire.envelope import decode_manifest
from dcfm_node.worker import ranks
from dcfm_node.worker.gate import Withheld, halves, passed, shortened, unmeasured
from dcfm_node.worker.judging import given
from dcfm_node.worker.membership import Attacked, measurable, told_apart
from dcfm_node.worker.messages import (
    Done,
    Hindered,
    Job,
    Line,
    Progress,
    Ready,
    Saved,
    Setup,
)
from dcfm_node.worker.withheld import without

SAVE_STEPS = 25
"""Steps between two offers of a checkpoint; `checkpoint_s` decides which offers are taken."""
TELL_S = 0.5

Divided = tuple[EncodedSamples, EncodedSamples, EncodedSamples, tuple[Labels, Labels]]
"""A silo's samples for its privacy gate: the half that the reference learns from, the other half,
the hold-out; and which of the last two belong together, as `SiloData.together`."""


class JobRunner:
    """Does jobs, and holds what they share: the manifest, the method, the data, the device.

    Args:
        device: of this rank (`ranks.choose`).

    Raises:
        UserError: the private data does not fit the manifest, or the codec's file is missing or
            another.
    """

    def __init__(self, setup: Setup, tell: Callable[[Line], None], device: torch.device) -> None:
        self._setup, self._tell, self._device = setup, tell, device
        self._manifest = decode_manifest(bytes.fromhex(setup.manifest))
        if setup.threads:
            torch.set_num_threads(setup.threads)
        self._learner = learner_of(self._manifest)
        self._codec = codec = codec_of(self._manifest, setup.codec)
        data = domains.of(self._manifest).load(self._manifest, setup.data)
        self._counts, self._digest = data.counts, data.digest
        self._whole = counts_of(np.concatenate([data.train.c, data.holdout.c]))
        self._together = data.together
        self._withheld: tuple[str, Withheld] | None = None
        self._warnings, self._notes = data.warnings, data.notes
        self._encoded = [encoded_samples(part, codec) for part in (data.train, data.holdout)]
        self._train, self._holdout = self._encoded
        self._given: tuple[tuple[Label, ...], Scale | None] = ((), None)

    @property
    def accelerated(self) -> bool:
        """Whether it trains on a GPU."""
        return self._device.type == "cuda"

    def ready(self) -> Ready:
        """What the daemon must know of this worker."""
        return Ready(
            device=str(self._device),
            counts=self._counts,
            whole=self._whole,
            moments=moments_of(self._encoded[0].x, self._manifest.groups),
            data=self._digest,
            warnings=self._warnings,
            notes=self._notes,
            tensors=networks.schema(self._manifest),
            beside_experts=self._learner.beside_experts(),
            checkpoint=self._learner.checkpoint(),
        )

    def run(self, job: Job) -> Done:
        """Do a job; its output file is complete when this returns.

        Raises:
            Failed: this machine's memory cannot hold the work; or the disk does not take the file.
        """
        self._check_room(job)
        self._prepare(job.probes, job.scale)
        match job.kind:
            case "audit":
                return self._audit(job)
            case "score":
                return Done(key=job.key, metrics=self._score(job))
            case "train":
                limit = self._setup.membership_auc
                made = self._trained(job) if limit is None else self._gated(job, limit)
            case "distil":
                made = self._learner.student(
                    _teachers(job), seed=job.seed, callbacks=self._callbacks(job)
                )
        if ranks.rank() == 0:
            _save(rounded(made.weights, self._manifest), job.output)
        return Done(key=job.key, metrics=made.metrics)

    def _check_room(self, job: Job) -> None:
        """Refuse work that does not fit, before anything of it is allocated."""
        method, memory = self._manifest.method, free_on(self._device)
        if job.kind == "score" and job.measure:
            check_room(self._manifest, MAX_DRAWS, memory)
        stage = {"train": "refine" if job.round else "local", "distil": "distil"}.get(job.kind)
        settings = getattr(method, stage or "local", None) or method.local
        experts = len(job.teachers) if job.kind == "distil" else 1
        check_training_room(self._manifest, settings, memory, experts=experts)

    def _trained(self, job: Job) -> Outcome:
        data = SiloData(job.silo, self._train, self._holdout)
        return self._learner.train(data, _start(job), seed=job.seed, callbacks=self._callbacks(job))

    def _gated(self, job: Job, limit: float) -> Outcome:
        """An expert that passes the site's gate.

        Raises:
            Withheld: it does not. The same job is then refused at once when it comes again.
        """
        if self._withheld is not None and self._withheld[0] == job.key:
            raise self._withheld[1]
        try:
            divided = self._divided()
            if not measurable(divided[1:3], job.probes):  # before hours of training
                raise unmeasured()
            made = self._trained(job)
            return passed(made, limit, partial(self._told, job, made, divided))
        except Withheld as error:
            self._withheld = job.key, error
            raise

    def _divided(self) -> Divided:
        train, holdout = self._encoded
        together = self._together or (np.arange(len(train.c)), -1 - np.arange(len(holdout.c)))
        learnt = torch.from_numpy(halves(together[0]))
        half, rest = (EncodedSamples(train.x[of], train.c[of]) for of in (learnt, ~learnt))
        return half, rest, holdout, (together[0][~learnt.numpy()], together[1])

    def _told(self, job: Job, made: Outcome, divided: Divided) -> float | None:
        """The AUC of the stronger attack on what would be published (`worker.membership`); None if
        one of them could not be made."""
        half, rest, holdout, together = divided
        half, _ = without(job.probes, half, holdout)
        if not len(half.c):
            return None
        reference = self._reference(job, half)
        auc = -1.0
        if ranks.rank() == 0:
            files = [job.output.with_suffix(f".{name}") for name in ("gated", "reference")]
            try:
                for outcome, file in zip((made, reference), files, strict=True):
                    _save(rounded(outcome.weights, self._manifest), file)
                found = told_apart(
                    self._manifest,
                    together,
                    (rest, holdout),
                    Attacked({"expert": files[0]}, files[1:]),
                    probes=job.probes,
                    scale=job.scale,
                    device=self._device,
                )
            finally:  # a backup of the folder must not hold what is withheld
                for file in files:
                    file.unlink(missing_ok=True)
            if any(one.calibrated for one in found):  # else the stronger attack was not made
                auc = max(one.found.auc.value for one in found)
        auc = agreed(auc, self._device)
        return auc if auc >= 0.0 else None

    def _reference(self, job: Job, half: EncodedSamples) -> Outcome:
        """A network of half of the training samples, as of round 0: the run's student, which later
        rounds start from, has learnt from the other half too."""
        data = SiloData(job.silo, replace(half, x=standardised(half.x, job.scale)), self._holdout)
        name = f"{job.checkpoint.name}-reference"
        paths = job.model_copy(update={"checkpoint": job.checkpoint.with_name(name)})
        learner = learner_of(shortened(self._manifest))
        return learner.train(data, Start(), seed=job.seed, callbacks=self._callbacks(paths))

    def _prepare(self, probes: tuple[Label, ...], scale: Scale | None) -> None:
        """Let the data be without probes, and in the scale of a job. All jobs of a run have the
        same."""
        if self._given != (probes, scale):
            self._train, self._holdout = (
                replace(part, x=standardised(part.x, scale))
                for part in without(probes, *self._encoded)
            )
            self._given = (probes, scale)

    def _audit(self, job: Job) -> Done:
        began = time.monotonic()
        scores = audit(
            self._manifest, self._holdout, _teachers(job), me=job.silo, device=self._device
        )
        took = {"experts": float(len(scores)), "seconds": time.monotonic() - began}
        return Done(key=job.key, metrics=took, scores=scores)

    def _score(self, job: Job) -> dict[str, float]:
        if job.model is None:
            raise ValueError("the job names no student")
        weights = load_weights(job.model)
        counts = {file.silo: dict(file.counts) for file in job.teachers}
        found = self._learner.score(
            weights,
            self._holdout,
            counts=counts,
            reference=_weights(job.reference),
            device=self._device,
        )
        return found | (self._quality(job, weights, counts) if job.measure else {})

    def _quality(
        self, job: Job, weights: Weights, counts: dict[str, dict[Label, int]]
    ) -> dict[str, float]:
        """What this silo's judge reads of the student's draws."""
        draw, data = given(
            self._manifest,
            weights,
            self._encoded,
            counts=counts,
            probes=job.probes,
            scale=job.scale,
            codec=self._codec,
            device=self._device,
            own=[label for label, _ in self._counts] if job.silo in counts else (),
        )
        return measure(draw, data, seed=job.seed)

    def _callbacks(self, job: Job) -> Callbacks:
        saved_at = told_at = published_at = time.monotonic()
        hindrance, shared = "", job.kind == "distil" and self._manifest.method.checkpoint_steps > 0

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
            due = shared and saved_at - published_at >= self._setup.publish_s
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

        return Callbacks(
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
        """Write a second file for peers: not every filesystem has hard links."""
        step = int(state["step"])
        path = job.checkpoint.with_suffix(f".{step}")
        _save(state, path)
        self._tell(Saved(key=job.key, path=path, step=step))


def _start(job: Job) -> Start:
    init, anchor = _weights(job.init), _weights(job.anchor)
    return Start(round=job.round, init=init, anchor=anchor, teachers=_teachers(job))


def _teachers(job: Job) -> list[Teacher]:
    """Their weights were checked before the store called them held: names, shapes, finiteness."""
    return [
        Teacher(name=file.silo, weights=load_weights(file.path), counts=dict(file.counts))
        for file in job.teachers
    ]


def _weights(path: Path | None) -> Weights | None:
    return None if path is None else load_weights(path)


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
    """Write a file whole or not at all.

    Raises:
        Failed: the disk does not take it; nothing is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as scratch:
            save_file(tensors, scratch)
    except (OSError, SafetensorError) as error:
        raise Failed(
            f"cannot be written: {error}", where=str(path), fix="make room on that disk"
        ) from error
