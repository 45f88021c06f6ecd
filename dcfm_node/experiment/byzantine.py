"""Do audits exclude Byzantine silos and keep honest ones? Two of seven silos of Gaussian modes are
hostile, or one of five silos of coloured digits.

All silos run in one process with the worker's `flow` and the rules of `swarm.audit`. A hostile silo
also lies in its audits: it refuses every honest expert.
"""

import math
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from dcfm_node.domains.base import Evaluator, Split, queries
from dcfm_node.domains.gaussians import around, centres
from dcfm_node.domains.settings import GaussiansSettings
from dcfm_node.errors import Failed
from dcfm_node.experiment import settings
from dcfm_node.experiment.lab import Lab, Tell, Trained
from dcfm_node.experiment.settings import Experiment, Problem
from dcfm_node.flow import networks
from dcfm_node.flow.audit import audit
from dcfm_node.flow.sampling import sample
from dcfm_node.records.manifest import Manifest
from dcfm_node.samples import Combination, Samples
from dcfm_node.swarm.audit import refusals, too_many
from dcfm_node.wire.canonical import sha256

Attack = Literal["flipped", "scaled", "random", "permuted"]
SILOS = 7
HOSTILE = 2
EACH = 1_000
"""Samples of every novel combination."""
DIGITS = "coloured-mnist"
SHIPPED = {"plane": ("gaussians", "cpu"), "grid": ("schedules", "cpu"), DIGITS: (DIGITS, "quick")}
"""Experiments and presets that give the settings."""
PARTITIONS = {"plane": "noniid", "grid": "grid-four", DIGITS: "noniid"}
"""Of the experiment; of modes (2 x 2 and 3 x 3), the silos are replaced."""


@dataclass(frozen=True)
class Verdicts:
    """Results of one round's audits.

    Attributes:
        refused: silo -> silos that refused its expert.
        condemned: silos whose experts are excluded.
        worst: highest place of an honest expert in an honest silo's audit.
        seconds: process time of one silo's audits.
    """

    refused: Mapping[str, Set[bytes]]
    condemned: Set[str]
    worst: float
    seconds: float


def posed(name: str) -> tuple[Problem, str]:
    """Problem and partition of a shipped experiment."""
    return settings.load(*SHIPPED[name]).posed[PARTITIONS[name]]


def dealt(problem: Problem, partition: str, seed: int, silos: int = SILOS) -> Split:
    """Deal Gaussian modes at random, non-IID.

    Each silo holds one to half of the known combinations, in random proportions (Dirichlet 0.5),
    and 300 to 2,000 samples. Together they hold all known combinations.

    Args:
        partition: name of a partition of the problem; its silos are replaced.
    """
    mixture = problem.domain
    assert isinstance(mixture, GaussiansSettings)
    shipped = problem.split(partition, seed)
    rng = np.random.default_rng(seed)
    where = centres(mixture, shipped.attributes)
    known = sorted(set(where) - set(shipped.held_out))

    def draw(held: Sequence[Combination]) -> Samples:
        rows = int(rng.integers(300, 2_001))
        shares = rng.dirichlet([0.5] * len(held)) * 0.9 + 0.1 / len(held)
        c = np.array(held, dtype=np.int64)[rng.choice(len(held), size=rows, p=shares)]
        return around(where, mixture.sigma, c, rng)

    while True:
        most = max(2, math.ceil(len(known) / 2))
        sizes = rng.integers(1, most + 1, size=silos)
        held = [[known[i] for i in rng.choice(len(known), size, replace=False)] for size in sizes]
        # The honest silos alone must cover all; the hostile silos are the last ones.
        covered = {c for silo in held[: silos - HOSTILE] for c in silo} == set(known)
        if covered and all(len(silo) > 1 for silo in held[silos - HOSTILE :]):
            return replace(shipped, silos=tuple(draw(silo) for silo in held))


def permuted(data: Samples) -> Samples:
    """A silo's samples with permuted labels: label counts stay the same, but labels are wrong."""
    labels = data.combinations
    after = dict(zip(labels, [*labels[1:], labels[0]], strict=True))
    return Samples(data.x, np.array([after[tuple(label)] for label in data.c.tolist()]))


def hostile_expert(expert: Trained, attack: Attack, manifest: Manifest, seed: int) -> Trained:
    """A well-formed but useless expert; `permuted` experts are already trained so."""
    if attack == "permuted":
        return expert
    if attack == "random":
        other = manifest.method.model_copy(update={"seed": manifest.method.seed + 7 + seed})
        fresh = networks.build(manifest.model_copy(update={"method": other})).state_dict()
        weights = {name: tensor.clone() for name, tensor in fresh.items()}
    else:
        factor = {"flipped": -1.0, "scaled": 3.0}[attack]
        weights = {name: factor * tensor for name, tensor in expert.weights.items()}
    key = sha256(expert.key.encode(), attack.encode()).hex()
    return Trained(key, weights, expert.metrics)


def audits(lab: Lab, experts: Sequence[Trained], hostile: set[int]) -> Verdicts:
    """Every silo audits every other's expert."""
    teachers, names = lab.teachers(experts), lab.names
    refused: dict[str, set[bytes]] = {name: set() for name in names}
    worst, began = -math.inf, time.process_time()
    for k, me in enumerate(names):
        if k in hostile:
            for other, name in enumerate(names):
                if other not in hostile:
                    refused[name].add(me.encode())
            continue
        scores = audit(lab.manifest, lab.silos[k][1], teachers, me=me, device=lab.device)
        keyed = {name.encode(): given for name, given in scores.items()}
        for subject in refusals(keyed):
            refused[subject.decode()].add(me.encode())
        honest = [n for i, n in enumerate(names) if i not in hostile and n in scores]
        places = [scores[n].get(f, -math.inf) for n in honest for f in ("joint", "composed")]
        worst = max(worst, *places) if places else worst
    seconds = (time.process_time() - began) / max(1, len(names) - len(hostile))
    return Verdicts(refused, _condemned(lab, refused), worst, seconds)


def _condemned(lab: Lab, refused: Mapping[str, Set[bytes]]) -> set[str]:
    held = {name: counts.keys() for name, counts in zip(lab.names, lab.counts, strict=True)}
    found = set()
    for name, by in refused.items():
        others = {other.encode() for other in held if other != name and held[other] & held[name]}
        if len(by) >= lab.manifest.quorum or too_many(by, others, len(held)):
            found.add(name)
    return found


class Study:
    """Runs of one setting, stored in a folder.

    Args:
        name: of `PARTITIONS`, or `DIGITS`: the quick preset of that experiment, non-IID.
        share: factor on the shipped settings' steps.
        data: MNIST's folder, for digits.
    """

    def __init__(
        self, name: str, folder: Path, share: float, tell: Tell, data: Path | None = None
    ) -> None:
        self._name, self._folder, self._tell, self._data = name, folder, tell, data
        shipped = settings.load(*SHIPPED[name])
        stages = {
            stage: getattr(shipped.method, stage).model_copy(
                update={"steps": max(2, round(getattr(shipped.method, stage).steps * share))}
            )
            for stage in ("local", "refine", "distil")
        }
        method = shipped.method.model_copy(update=stages)
        each = shipped.each if name == DIGITS else EACH
        self.settings: Experiment = shipped.model_copy(update={"method": method, "each": each})

    def pose(self, seed: int) -> tuple[Split, Evaluator]:
        """The split among silos, and its evaluator."""
        problem, partition = self.settings.posed[PARTITIONS[self._name]]
        if self._name == DIGITS:
            split = problem.split(partition, seed, self._data)
        else:
            split = dealt(problem, partition, seed)
        kept = self._folder / "judge"
        evaluated = seed if self._name == DIGITS else 0
        return split, problem.made.evaluator(split, folder=kept, seed=evaluated, device="cpu")

    def honest(self, seed: int, rounds: int) -> list[Verdicts]:
        """Run without hostile silos. Returns the audits of every round."""
        split, _ = self.pose(seed)
        return self._run(self._lab(split, seed), {}, seed, rounds, audited=True)[1]

    def attacked(
        self, seed: int, rounds: int, attacks: Sequence[Attack], *, unaudited: bool = False
    ) -> tuple[dict[str, float], list[Verdicts]]:
        """Novel accuracy without the hostile silos, with them, and optionally with them and without
        audits. The last silos are hostile, one per attack.

        Returns: the accuracies, and the audits of the run with hostile silos.
        """
        split, evaluator = self.pose(seed)
        count = len(split.silos)
        hostile = dict(zip(range(count - len(attacks), count), attacks, strict=True))
        silos = tuple(
            permuted(data) if hostile.get(k) == "permuted" else data
            for k, data in enumerate(split.silos)
        )
        lab = self._lab(replace(split, silos=silos), seed)
        alone = self._part(lab, set(range(count)) - set(hostile))

        def novel(student: Trained) -> float:
            return self._novel(lab, evaluator, student)

        found = {"without": novel(self._run(alone, {}, seed, rounds, audited=False)[0])}
        student, verdicts = self._run(lab, hostile, seed, rounds, audited=True)
        found["audited"] = novel(student)
        if unaudited:
            try:
                found["unaudited"] = novel(self._run(lab, hostile, seed, rounds, audited=False)[0])
            except Failed:  # Training diverged: there is no student.
                found["unaudited"] = 0.0
        return found, verdicts

    def _run(
        self, lab: Lab, hostile: Mapping[int, Attack], seed: int, rounds: int, *, audited: bool
    ) -> tuple[Trained, list[Verdicts]]:
        """Run the alternating schedule. Returns its student and the audits of every round."""
        found: list[Verdicts] = []
        experts, student = lab.local(), None
        put_out: dict[str, int] = {}
        for number in range(rounds + 1):
            if student is not None:
                starts = [student] * len(experts)
                experts = lab.anchored(starts, student, number, live=self.settings.anchor_live)
            shown = [
                hostile_expert(expert, hostile[k], lab.manifest, seed) if k in hostile else expert
                for k, expert in enumerate(experts)
            ]
            usable = set(range(len(shown)))
            if audited:
                verdicts = audits(lab, shown, set(hostile))
                found.append(verdicts)
                for name, by in verdicts.refused.items():
                    put_out[name] = put_out.get(name, 0) + (len(by) >= lab.manifest.quorum)
                out = {name for name, times in put_out.items() if times > 1} | verdicts.condemned
                usable = {k for k in usable if lab.names[k] not in out}
            part = self._part(lab, usable)
            student = part.distil([shown[k] for k in sorted(usable)], number)
        assert student is not None
        return student, found

    def _lab(self, split: Split, seed: int) -> Lab:
        return Lab(self.settings.manifest(split, seed), split, self._folder, "cpu", self._tell)

    def _part(self, lab: Lab, keep: set[int]) -> Lab:
        """The same lab with the silos in `keep` only."""
        chosen = sorted(keep)
        if len(chosen) == len(lab.names):
            return lab
        roster = tuple(lab.manifest.roster[k] for k in chosen)
        manifest = lab.manifest.model_copy(update={"roster": roster})
        split = replace(lab.split, silos=tuple(lab.split.silos[k] for k in chosen))
        return Lab(manifest, split, self._folder, "cpu", self._tell)

    def _novel(self, lab: Lab, evaluator: Evaluator, student: Trained) -> float:
        composed = self.settings.rule("dcfm-alternating") == "composed"
        c = queries(list(lab.split.held_out), self.settings.each)
        labels = torch.from_numpy(c)
        z = sample(
            lab.manifest, student.weights, labels, counts=lab.counts, composed=composed, seed=1
        )
        x = lab.decode(z)
        return evaluator.measure(Samples(x.numpy(), c))["accuracy"]
