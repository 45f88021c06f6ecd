"""One path with one seed: experts, router and pooled network, and their bits per byte."""

import math
import time
from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dcfm_node.domains.base import Split
from dcfm_node.experiment.lab import Lab, Trained, code
from dcfm_node.experiment.parity.corpus import Corpus, corpus
from dcfm_node.experiment.parity.settings import OWN, POOLED, TOP_K, Parity
from dcfm_node.experiment.results import Row, kept_row, write_json
from dcfm_node.experiment.trial import TELL_S, Measured, Progress, TrialSpec, device_of, tell
from dcfm_node.flow.losses import VelocityField
from dcfm_node.flow.networks import load
from dcfm_node.methods.dcfm.schedule import Dcfm
from dcfm_node.methods.mixture.ensembles import Ensemble
from dcfm_node.paths.base import path_of
from dcfm_node.paths.discrete import DiscretePath
from dcfm_node.paths.settings import AutoregressivePathSettings, DiscretePathSettings
from dcfm_node.records.manifest import Attribute, Manifest, Probes, Silo
from dcfm_node.samples import Samples
from dcfm_node.wire.canonical import sha256

TOKENS = 128
"""ASCII."""
NATS_SEED = 77
RESAMPLES = 2_000
"""Resamples of the interval."""
ONE = Attribute(name="text", values=("text", "none"))
"""Texts have no labels: all have the first value."""
Bits = NDArray[np.float64]
"""Of each held-out sample, a byte."""


class ParityTrial:
    """Runs the trial of a specification; its partition is the path's name."""

    def __init__(self, spec: TrialSpec, given: Parity) -> None:
        self._spec, self._given = spec, given
        self._device = device_of(spec.device)
        if spec.threads:
            torch.set_num_threads(spec.threads)
        self._done, self._told_at, self._row = 0, 0.0, ""

    def run(self) -> None:
        """Make the rows that are not on disk."""
        spec, made_from = self._spec, self._made_from()
        folder = spec.out / "rows"
        paths = {
            name: folder / f"{spec.partition}-{spec.seed}-{name}.json"
            for name in self._given.lineup(spec.partition)
        }
        if any(kept_row(path, made_from) is None for path in paths.values()):
            folder.mkdir(parents=True, exist_ok=True)
            for row in self._rows():
                write_json(paths[row.method], {"made_from": made_from, "row": asdict(row)})
        for self._row in paths:
            self._done += 1
            tell(Measured(method=self._row, done=self._done))

    def _rows(self) -> list[Row]:
        given, spec = self._given, self._spec
        self._tell("texts", 0, 1)
        text = corpus(given.silos, given.length, given.windows, given.tests, spec.seed)
        run = manifest(given, spec.partition, spec.seed)
        labelled = tuple(Samples(x, np.zeros((len(x), 1), np.int64)) for x in text.silos)
        split = Split(run.attributes, run.sample_shape, labelled, ((1,),))
        lab = Lab(run, split, spec.out / "trained", self._device, self._tell)
        experts = lab.local(ci=False)
        pooled = lab.centralised(split.pooled)
        router = lab.router(experts)
        bits = self._bits(lab, experts, pooled, router, text)
        plain = float(unigram(text).mean())
        shared = {"router_accuracy": router.metrics["accuracy"], "unigram": plain}
        spent = [sum(e.metrics["seconds"] for e in experts), pooled.metrics["seconds"]]
        rows = []
        for name, own in bits.items():
            excess, low, high = compared(own, bits[POOLED], spec.seed)
            found = {"bits": float(own.mean()), "excess": excess, "low": low, "high": high}
            cost = {"cpu_seconds": spent[name == POOLED]}
            rows.append(Row(name, spec.partition, spec.seed, "joint", found | shared, cost=cost))
        return rows

    def _bits(
        self, lab: Lab, experts: list[Trained], pooled: Trained, router: Trained, text: Corpus
    ) -> dict[str, Bits]:
        run, device = lab.manifest, self._device
        nets = [load(run, one.weights, device) for one in (*experts, pooled)]
        each = np.stack([self._measure(run, net, text) for net in nets])
        found = {POOLED: each[-1], OWN: each[text.owners, np.arange(len(text.owners))]}
        for name, top in TOP_K.items():
            mixed = Ensemble.load(
                run,
                lab.teachers(experts),
                rule="joint",
                routing="trained",
                top_k=top,
                gate=router.weights,
                device=device,
            )
            found[name] = self._measure(run, _velocity(mixed), text)
        return {name: found[name] for name in self._given.lineup(self._spec.partition)}

    def _measure(self, run: Manifest, field: VelocityField, text: Corpus) -> Bits:
        """Always with the same masks, so that networks are compared in pairs."""
        path, x = path_of(run), torch.from_numpy(text.tests).to(self._device)
        assert isinstance(path, DiscretePath)
        draws = torch.Generator(self._device).manual_seed(NATS_SEED)

        def at(x: Tensor, t: Tensor) -> Tensor:
            return field(x, t, torch.zeros(len(x), 1, dtype=torch.int64, device=x.device))

        self._tell("bits per byte", 0, 1)
        with torch.no_grad():
            nats = path.nats(at, x, self._given.times, draws)
        return np.asarray(nats.mean(dim=1).double().cpu().numpy() / math.log(2.0))

    def _made_from(self) -> str:
        given = self._given.model_dump_json(exclude={"seeds", "title", "paths"})
        parts = (given, self._spec.partition, str(self._spec.seed))
        rooms = code("data", "domains", "experiment", "records")
        return sha256(rooms, *(part.encode() for part in parts)).hex()

    def _tell(self, what: str, done: int, total: int) -> None:
        if done and time.monotonic() - self._told_at < TELL_S:
            return
        self._told_at = time.monotonic()
        all_ = len(self._given.lineup(self._spec.partition))
        share = done / total
        tell(Progress(method=self._row, what=what, share=share, done=self._done, total=all_))


def _velocity(mixed: Ensemble) -> VelocityField:
    """The field of an ensemble; tokens have no energies, so no motion is needed."""
    return lambda x, t, c: mixed.velocity(x, t, c, x)


def manifest(given: Parity, kind: str, seed: int) -> Manifest:
    """The run of the silos, with placeholder keys."""
    causal = kind == "autoregressive"
    roster = (Silo(name=f"silo-{k:03}", key=k.to_bytes(32, "big")) for k in range(given.silos))
    return Manifest(
        name=given.name,
        sample_shape=(given.length,),
        attributes=(ONE,),
        network=given.network.model_copy(update={"causal": causal}),
        path=(
            AutoregressivePathSettings(tokens=TOKENS)
            if causal
            else DiscretePathSettings(tokens=TOKENS)
        ),
        method=Dcfm(
            local=given.local,
            refine=given.local,
            distil=given.router,
            solver="tau-leaping",
            solver_steps=given.solver_steps,
            composed=False,
            seed=seed,
        ),
        probes=Probes(share=0.0),
        roster=tuple(roster),
    )


def unigram(text: Corpus) -> Bits:
    """Bits by the frequencies of bytes alone: a network that has more has learned no text."""
    bytes_ = np.concatenate(text.silos).astype(np.int64)
    often = np.bincount(bytes_.ravel(), minlength=TOKENS) + 1.0
    bits = -np.log2(often / often.sum())
    return np.asarray(bits[text.tests.astype(np.int64)].mean(axis=1))


def compared(own: Bits, pooled: Bits, seed: int) -> tuple[float, float, float]:
    """The mean of `own` over that of `pooled`, less 1, and its 95 % interval, by resampling the
    held-out samples in pairs (bootstrap)."""
    draws = np.random.default_rng(seed).integers(len(own), size=(RESAMPLES, len(own)))
    found = own[draws].mean(axis=1) / pooled[draws].mean(axis=1) - 1.0
    low, high = np.quantile(found, [0.025, 0.975])
    return float(own.mean() / pooled.mean() - 1.0), float(low), float(high)
