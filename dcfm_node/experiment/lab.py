"""Trains what methods ask for, all silos in one process, and remembers it on disk.

Every piece of training is addressed by all that it depends on: settings, data, seed, code, the
pieces it starts from. So methods share what is common, and an interrupted experiment goes on.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from dcfm_node.data.alike import Firsts
from dcfm_node.data.source import holdout_mask
from dcfm_node.domains.base import Split
from dcfm_node.experiment.settings import Start
from dcfm_node.experiment.silos import both_standardised, digest_of, scale_of_silos
from dcfm_node.files import replacing
from dcfm_node.flow import networks, stages
from dcfm_node.flow.averaging import merge
from dcfm_node.flow.codec import codec_of, decoded, encoded_samples
from dcfm_node.flow.labels import Counts, count
from dcfm_node.flow.networks import Weights
from dcfm_node.flow.sampling import Teacher
from dcfm_node.flow.stages import EncodedSamples, Outcome
from dcfm_node.flow.trainer import Callbacks
from dcfm_node.methods.dcfm import learner as dcfm
from dcfm_node.methods.fedflow.learner import federated
from dcfm_node.methods.mixture.gating import train_gating
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.settings import Training
from dcfm_node.samples import Samples, joined
from dcfm_node.wire.canonical import derived_seed, pack, sha256

PACKAGE = Path(__file__).parents[1]
TRAINING = ("flow", "methods", "networks", "paths")
"""Rooms that decide what a network learns."""
HOLDOUT = 0.1
SAVE_STEPS = 500

Tell = Callable[[str, int, int], None]
"""Called with what is being trained, steps done, steps in all."""


@dataclass(frozen=True)
class Trained:
    """One trained network.

    Attributes:
        key: what it was made from, hex.
        metrics: of its stage, and `seconds` of process time.
    """

    key: str
    weights: Weights
    metrics: Mapping[str, float]


class Lab:
    """The silos of one split under one manifest.

    Args:
        manifest: roster in the order of `split.silos`.
        folder: where trained networks and checkpoints lie.
        codec: file of the run's codec, if it needs one.

    Attributes:
        codec: of the run.
        scale: that all networks train in; `decode` undoes both.
    """

    def __init__(
        self,
        manifest: Manifest,
        split: Split,
        folder: Path,
        device: torch.device | str,
        tell: Tell,
        *,
        codec: Path | None = None,
    ) -> None:
        self.manifest, self.split, self.device = manifest, split, torch.device(device)
        self._folder, self._tell = folder, tell
        self.codec = codec_of(manifest, codec)
        silos = list(zip(split.silos, split.sides, strict=True))
        parts = [self._parts(*silo) for silo in silos]
        self.scale = scale_of_silos(manifest, [train for train, _ in parts])
        self.silos = [both_standardised(part, self.scale) for part in parts]
        self.holdout = joined([silo[self._held(silo, side)] for silo, side in silos])
        """All silos' hold-out samples, which no training sees."""
        self.counts: list[Counts] = [count(train.c) for train, _ in self.silos]
        self.names = [silo.name for silo in manifest.roster]
        self._data = [digest_of(silo, self.scale) for silo in split.silos]
        folder.mkdir(parents=True, exist_ok=True)

    def groups(self, k: int) -> tuple[Tensor, Tensor] | None:
        """Silo k's `Split.together`, of its training and its hold-out samples; None if all are
        independent."""
        if (side := self.split.sides[k]) is None:
            return None
        held = self._held(self.split.silos[k], side)
        return torch.from_numpy(side[~held]), torch.from_numpy(side[held])

    def teachers(self, experts: Sequence[Trained]) -> list[Teacher]:
        """Experts of all silos, in roster order, as peers see them."""
        return [
            Teacher(name, expert.weights, counts)
            for name, expert, counts in zip(self.names, experts, self.counts, strict=True)
        ]

    def local(self, ci: bool = True) -> list[Trained]:
        """Stage I of every silo; without the penalty for baselines that are not "+L"."""
        manifest = self.manifest if ci else _without_ci(self.manifest)
        return [
            self.train(
                f"local {name}",
                (_read_by("local", manifest), self._data[k]),
                partial(self._local, manifest, k),
            )
            for k, name in enumerate(self.names)
        ]

    @property
    def parameters(self) -> int:
        """Of one network."""
        return sum(math.prod(shape) for _, shape in networks.schema(self.manifest).values())

    def centralised(self, data: Samples, *, wide: bool = False) -> Trained:
        """One model on the given data, with as many steps as all silos take in Stage I; `wide`
        takes the steps of one silo, with batches as large as all silos' together."""
        local = self.manifest.method.local
        more = {"batch": local.batch} if wide else {"steps": local.steps}
        local = local.model_copy(update={k: n * len(self.silos) for k, n in more.items()})
        manifest = _with(self.manifest, local=local)
        train, holdout = both_standardised(self._parts(data), self.scale)
        return self.train(
            "centralised",
            (_read_by("local", manifest), digest_of(data, self.scale)),
            lambda callbacks: stages.local(
                manifest, train, holdout, seed=self._seed("", 0), callbacks=callbacks
            ),
        )

    def federated(self, ci: bool, averagings: int, steps: int) -> Trained:
        """FedFlow over all silos: `averagings` times, `steps` local steps before each."""
        manifest = self.manifest if ci else _without_ci(self.manifest)
        local = manifest.method.local.model_copy(update={"steps": averagings * steps})
        manifest = _with(manifest, local=local)
        return self.train(
            "federated",
            (_read_by("local", manifest), self._data, averagings),
            lambda callbacks: federated(
                manifest,
                [train for train, _ in self.silos],
                rounds=averagings,
                seed=self._seed("", 0),
                callbacks=callbacks,
            ),
        )

    def router(self, experts: Sequence[Trained]) -> Trained:
        """DDM's classifier of which silo a noised sample came from."""
        return self.train(
            "router",
            (_read_by("distil", self.manifest), [e.key for e in experts]),
            lambda callbacks: train_gating(
                self.manifest, self.teachers(experts), seed=self._seed("", 0), callbacks=callbacks
            ),
        )

    def against_peers(
        self,
        experts: Sequence[Trained],
        k: int,
        round_: int,
        *,
        alone: bool = False,
    ) -> Trained:
        """Silo k's round of DCFM-A against frozen peers; `alone` routes all terms to itself."""
        seen = [experts[k]] if alone else list(experts)
        teachers = [self.teachers(experts)[k]] if alone else self.teachers(experts)
        return self.train(
            f"refine {round_} {self.names[k]}" + " alone" * alone,
            (
                _read_by("refine", self.manifest),
                self._data[k],
                round_,
                experts[k].key,
                [e.key for e in seen],
            ),
            lambda callbacks: dcfm.refine_against_peers(
                self.manifest,
                *self.silos[k],
                me=self.names[k],
                init=experts[k].weights,
                peers=teachers,
                seed=self._seed(self.names[k], round_),
                callbacks=callbacks,
            ),
        )

    def in_turn(self, experts: Sequence[Trained], round_: int) -> list[Trained]:
        """A round of the paper's rule, each silo seeing the updates before it."""
        now = list(experts)
        for k in range(len(now)):
            now[k] = self.against_peers(now, k, round_)
        return now

    def at_once(self, experts: Sequence[Trained], round_: int) -> list[Trained]:
        """A round of the paper's rule, all silos against the same frozen peers."""
        return [self.against_peers(experts, k, round_) for k in range(len(experts))]

    def anchored(
        self, experts: Sequence[Trained], student: Trained, round_: int, *, live: float
    ) -> list[Trained]:
        """A round of the alternating schedule: every silo against the interim student."""
        return [
            self.train(
                f"refine {round_} {name} anchored",
                (
                    _read_by("refine", self.manifest),
                    self._data[k],
                    round_,
                    experts[k].key,
                    student.key,
                    live,
                ),
                partial(
                    self._anchored,
                    k,
                    experts[k],
                    student,
                    seed=self._seed(name, round_),
                    live=live,
                ),
            )
            for k, name in enumerate(self.names)
        ]

    def distil(
        self,
        experts: Sequence[Trained],
        round_: int,
        *,
        start: Start = "experts",
        before: Trained | None = None,
    ) -> Trained:
        """DCFM-B of all experts, from the mean of their weights, from the student before it if
        there is one, or from the run's initial weights; with replay, if `method.replay` asks."""
        teachers = self.teachers(experts)
        init = {
            "experts": merge(teachers),
            "student": before.weights if before else None,
            "fresh": None,
        }[start]
        return self.train(
            f"distil {round_}",
            (
                _read_by("distil", self.manifest),
                round_,
                [e.key for e in experts],
                start,
                before.key if before and start == "student" else "",
            ),
            lambda callbacks: dcfm.student(
                self.manifest,
                teachers,
                init=init,
                seed=self._seed("", round_),
                callbacks=callbacks,
            ),
        )

    def train(self, name: str, inputs: object, run: Callable[[Callbacks], Outcome]) -> Trained:
        """What `run` gives, from disk if these very inputs were trained with before."""
        key = _key(name, inputs)
        path = self._folder / f"{name.replace(' ', '-')}-{key[:16]}.safetensors"
        if not path.exists():
            self._train(name, path, run)
        with safe_open(path, "pt") as file:
            metrics = json.loads(file.metadata()["metrics"])
        self._tell(name, 1, 1)
        return Trained(key, load_file(path), metrics)

    def _local(self, manifest: Manifest, k: int, callbacks: Callbacks) -> Outcome:
        return stages.local(
            manifest, *self.silos[k], seed=self._seed(self.names[k], 0), callbacks=callbacks
        )

    def _anchored(
        self,
        k: int,
        expert: Trained,
        student: Trained,
        callbacks: Callbacks,
        *,
        seed: int,
        live: float,
    ) -> Outcome:
        return dcfm.refine_anchored(
            self.manifest,
            *self.silos[k],
            init=expert.weights,
            anchor=student.weights,
            live=live,
            seed=seed,
            callbacks=callbacks,
        )

    def _train(self, name: str, path: Path, run: Callable[[Callbacks], Outcome]) -> None:
        checkpoint = path.with_suffix(".checkpoint")
        callbacks = Callbacks(
            device=self.device,
            progress=lambda done, total, _: self._tell(name, done, total),
            save=lambda state: _write(state, checkpoint, {}),
            resume=load_file(checkpoint) if checkpoint.exists() else None,
            save_every=SAVE_STEPS,
        )
        began = time.process_time()
        outcome = run(callbacks)
        seconds = time.process_time() - began
        metrics = json.dumps({**outcome.metrics, "seconds": seconds})
        _write(outcome.weights, path, {"metrics": metrics})
        checkpoint.unlink(missing_ok=True)

    def decode(self, z: Tensor) -> Tensor:
        """Drawn (N, *flow_shape) to samples (N, *sample_shape), on the CPU."""
        return decoded(self.codec, z, self.scale)

    def _parts(
        self, data: Samples, side: Firsts | None = None
    ) -> tuple[EncodedSamples, EncodedSamples]:
        """Training and hold-out samples, as a worker splits and encodes them."""
        held = self._held(data, side)
        train, holdout = data[~held], data[held]
        return encoded_samples(train, self.codec), encoded_samples(holdout, self.codec)

    def _held(self, data: Samples, side: Firsts | None) -> NDArray[np.bool_]:
        return holdout_mask(data.c, HOLDOUT, self.manifest.method.seed, side)

    def _seed(self, silo: str, round_: int) -> int:
        """Different for every silo and round, the same when trained again."""
        parts = (str(self.manifest.method.seed), silo, str(round_))
        return derived_seed(*(part.encode() for part in parts))


def _without_ci(manifest: Manifest) -> Manifest:
    return _with(manifest, local=manifest.method.local.model_copy(update={"ci_weight": 0.0}))


def _with(manifest: Manifest, local: Training) -> Manifest:
    method = manifest.method.model_copy(update={"local": local})
    return manifest.model_copy(update={"method": method})


def _read_by(stage: Literal["local", "refine", "distil"], manifest: Manifest) -> dict[str, object]:
    """What a stage reads of the manifest: not the others' settings, nor when training ends, nor how
    samples are drawn. Replay belongs to the distillation."""
    ending = {"schedule", "min_rounds", "max_rounds", "tolerance"}
    unread = {"local", "refine", "distil", "composed", "guidance"} | ending
    unread |= set() if stage == "distil" else {"replay"}
    return {
        "shape": manifest.sample_shape,
        "codec": manifest.codec.model_dump(),
        "cardinalities": manifest.cardinalities,
        "feasible": manifest.feasible,
        "network": manifest.network.model_dump(),
        "path": manifest.path.model_dump(),
        "method": manifest.method.model_dump(exclude=unread),
        "stage": getattr(manifest.method, stage).model_dump(),
    }


def _key(name: str, inputs: object) -> str:
    return sha256(code(), pack([name, inputs])).hex()


@cache
def code(*more: str) -> bytes:
    """Digest of the code that training depends on, and of more rooms, so that changed code never
    meets an old result."""
    folders = (PACKAGE / room for room in (*TRAINING, *more))
    files = (file for folder in folders for file in sorted(folder.rglob("*.py")))
    return sha256(*(file.read_bytes() for file in files))


def _write(tensors: Weights, path: Path, metadata: dict[str, str]) -> None:
    """Whole or not at all."""
    with replacing(path) as scratch:
        save_file(tensors, scratch, metadata)
