"""One path with one seed: experts, router and pooled network, and their bits a token."""

import math
import time
from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray

from dcfm_node.domains.base import Split
from dcfm_node.domains.shares import wilson
from dcfm_node.experiment.lab import Lab, Trained, code
from dcfm_node.experiment.lines import TELL_S, Measured, Progress, TrialSpec, device_of, tell
from dcfm_node.experiment.parity.corpus import ASCII, LETTERS, Corpus, corpus
from dcfm_node.experiment.parity.images import LENGTH, LEVELS, TOKENS, pictured
from dcfm_node.experiment.parity.ngram import Judge
from dcfm_node.experiment.parity.settings import CAUSAL, OWN, PICTURES, POOLED, TOP_K, Kind, Parity
from dcfm_node.experiment.results import Metrics, Row, kept_row, write_json
from dcfm_node.flow.losses import VelocityField
from dcfm_node.flow.networks import load
from dcfm_node.methods.dcfm.schedule import Dcfm
from dcfm_node.methods.mixture.ensembles import Ensemble
from dcfm_node.paths.base import Field, path_of
from dcfm_node.paths.discrete import DiscretePath
from dcfm_node.paths.settings import AutoregressivePathSettings, DiscretePathSettings
from dcfm_node.records.manifest import Attribute, Manifest, Probes, Silo
from dcfm_node.samples import Floats, Samples
from dcfm_node.wire.canonical import sha256

NATS_SEED, DRAW_SEED = 77, 78
RESAMPLES = 2_000
"""Resamples of the interval."""
ONE = Attribute(name="text", values=("text", "none"))
"""Texts have no labels: all have the first value."""
Bits = NDArray[np.float64]
"""Of each held-out sample, a token."""
Fields = dict[str, VelocityField]
"""How each way of the lineup predicts; `own expert` is none, since texts choose it."""


class ParityTrial:
    """Runs the trial of a specification; its partition is the path's name."""

    def __init__(self, spec: TrialSpec, given: Parity) -> None:
        self._spec, self._given = spec, given
        self._kind, self._times = given.asked(spec.partition)
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
        text = self._corpus()
        run = manifest(given, self._kind, spec.seed, text, self._times)
        labelled = tuple(Samples(x, np.zeros((len(x), 1), np.int64)) for x in text.silos)
        split = Split(run.attributes, run.sample_shape, labelled, ((1,),))
        lab = Lab(run, split, spec.out / "trained", self._device, self._tell)
        experts = lab.local(ci=False)
        pooled = lab.centralised(split.pooled, wide=given.equal == "batch")
        router = lab.router(experts)
        fields = self._fields(lab, experts, pooled, router)
        bits = self._bits(lab, experts, fields, text)
        plain = float(unigram(text).mean())
        shared = {"router_accuracy": router.metrics["accuracy"], "unigram": plain}
        judged = self._judged(run, fields, text)
        spent = [sum(e.metrics["seconds"] for e in experts), pooled.metrics["seconds"]]
        rows = []
        for name, own in bits.items():
            excess, low, high = compared(own, bits[POOLED], spec.seed)
            found = {"bits": float(own.mean()), "excess": excess, "low": low, "high": high}
            cost = {"cpu_seconds": spent[name == POOLED]}
            found |= shared | judged.get(name, {})
            if name in fields and self._kind in PICTURES:
                found |= told(run, fields[name], text, self._device)
            rows.append(Row(name, spec.partition, spec.seed, "joint", found, cost=cost))
        return rows

    def _corpus(self) -> Corpus:
        given, seed = self._given, self._spec.seed
        if self._kind in PICTURES:
            return pictured(given.silos, given.windows, given.tests, seed)
        tokens = LETTERS if given.alphabet == "letters" else ASCII
        sizes = (given.silos, given.length, given.windows, given.tests)
        return corpus(*sizes, seed, tokens=tokens, kept=self._spec.out)

    def _fields(self, lab: Lab, experts: list[Trained], pooled: Trained, router: Trained) -> Fields:
        run, device = lab.manifest, self._device
        found: Fields = {POOLED: load(run, pooled.weights, device)}
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
            found[name] = _velocity(mixed)
        return found

    def _bits(
        self, lab: Lab, experts: list[Trained], fields: Fields, text: Corpus
    ) -> dict[str, Bits]:
        run = lab.manifest
        nets = [load(run, one.weights, self._device) for one in experts]
        each = np.stack([self._measure(run, net, text) for net in nets])
        found = {name: self._measure(run, field, text) for name, field in fields.items()}
        found[OWN] = each[text.owners, np.arange(len(text.owners))]
        return {name: found[name] for name in self._given.lineup(self._spec.partition)}

    def _judged(self, run: Manifest, fields: Fields, text: Corpus) -> dict[str, Metrics]:
        """What an n-gram of held-out text says of each way's draws, and of real text."""
        many = self._given.drawn
        if not many or not len(text.judge):
            return {}
        judge = Judge(text.judge, text.tokens)
        real = interval_of("real", judge.bits(text.tests))
        found = {}
        for name, field in fields.items():
            self._tell("draws", 0, 1)
            x = drawn(run, field, many, self._device)
            found[name] = interval_of("judged", judge.bits(x)) | real
        return found

    def _measure(self, run: Manifest, field: VelocityField, text: Corpus) -> Bits:
        """Always with the same masks, so that networks are compared in pairs."""
        path, x = path_of(run), torch.from_numpy(text.tests).to(self._device)
        assert isinstance(path, DiscretePath)
        draws = torch.Generator(self._device).manual_seed(NATS_SEED)
        self._tell("bits a token", 0, 1)
        with torch.no_grad():
            nats = path.nats(_unlabelled(field), x, self._given.times, draws)
        return np.asarray(nats.mean(dim=1).double().cpu().numpy() / math.log(2.0))

    def _made_from(self) -> str:
        given = self._given.model_dump_json(exclude={"seeds", "title", "paths", "curve"})
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


def _unlabelled(field: VelocityField) -> Field:
    """The field at the only label that texts have."""
    return lambda x, t: field(x, t, torch.zeros(len(x), 1, dtype=torch.int64, device=x.device))


def drawn(run: Manifest, field: VelocityField, many: int, device: torch.device) -> Floats:
    """Samples (many, length), always from the same noise."""
    path, draws = path_of(run), torch.Generator(device).manual_seed(DRAW_SEED)
    x0 = path.source((many, *run.sample_shape), draws, device)
    method = run.method
    with torch.no_grad():
        x = path.integrate(_unlabelled(field), x0, method.solver_steps, method.solver, draws)
    return np.asarray(x.cpu().numpy())


def told(run: Manifest, field: VelocityField, text: Corpus, device: torch.device) -> Metrics:
    """How often the likeliest word after a picture is the right one, with Wilson's interval."""
    x, last = torch.from_numpy(text.tests).to(device), LENGTH - 1
    seen = x.clone()
    seen[:, last] = TOKENS
    with torch.no_grad():
        logs = _unlabelled(field)(seen, torch.full((len(x),), last / LENGTH, device=device))
    words = logs[:, last, LEVELS:].argmax(dim=1) + LEVELS
    right = int((words == x[:, last]).sum())
    low, high = wilson(right, len(x))
    return {"accuracy": right / len(x), "accuracy_low": low, "accuracy_high": high}


def interval_of(name: str, bits: Bits) -> Metrics:
    """The mean and its 95 % interval."""
    mean, half = float(bits.mean()), 1.96 * float(bits.std()) / math.sqrt(len(bits))
    return {name: mean, f"{name}_low": mean - half, f"{name}_high": mean + half}


def manifest(given: Parity, kind: Kind, seed: int, text: Corpus, times: float = 1.0) -> Manifest:
    """The run of the silos, with placeholder keys; each trains `times` its steps."""
    causal = kind in CAUSAL
    local = given.local.model_copy(update={"steps": max(1, round(times * given.local.steps))})
    roster = (Silo(name=f"silo-{k:03}", key=k.to_bytes(32, "big")) for k in range(given.silos))
    return Manifest(
        name=given.name,
        sample_shape=text.tests.shape[1:],
        attributes=(ONE,),
        network=given.network.model_copy(update={"causal": causal}),
        path=(
            AutoregressivePathSettings(tokens=text.tokens)
            if causal
            else DiscretePathSettings(tokens=text.tokens)
        ),
        method=Dcfm(
            local=local,
            refine=local,
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
    often = np.bincount(bytes_.ravel(), minlength=text.tokens) + 1.0
    bits = -np.log2(often / often.sum())
    return np.asarray(bits[text.tests.astype(np.int64)].mean(axis=1))


def compared(own: Bits, pooled: Bits, seed: int) -> tuple[float, float, float]:
    """The mean of `own` over that of `pooled`, less 1, and its 95 % interval, by resampling the
    held-out samples in pairs (bootstrap)."""
    draws = np.random.default_rng(seed).integers(len(own), size=(RESAMPLES, len(own)))
    found = own[draws].mean(axis=1) / pooled[draws].mean(axis=1) - 1.0
    low, high = np.quantile(found, [0.025, 0.975])
    return float(own.mean() / pooled.mean() - 1.0), float(low), float(high)
