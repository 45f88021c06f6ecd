"""The judges of a silo: what tells whether a student's draw shows its label (SPEC 6.14.5).

Where the domain can tell it from a sample's numbers, it judges. Elsewhere a committee does, which
the silo trains on its own samples and on draws.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from dcfm_node.flow.committee import Committee, in_line
from dcfm_node.flow.design import determined
from dcfm_node.flow.features import WILD, bounded
from dcfm_node.flow.stages import EncodedSamples
from dcfm_node.flow.trainer import generator
from dcfm_node.networks.base import unit
from dcfm_node.swarm.coverage import Combination

MAX_DRAWS = 2_048
"""Most draws for the committee; as many are judged, of all kinds together."""
EACH = 48
"""Most draws of one combination."""
MAX_TAUGHT = 2_048
"""Most real samples of a silo in each part of its data; all combinations keep alike many."""
ALIKE, PASS = 0.65, 0.95
"""Largest ratio of distances of a sample that is like real ones; or the one that this share of
hold-out samples keeps, if that is more."""
LEAST_SPREAD = 0.1
"""Features that vary less than this share of the mean deviation weigh no more for it."""
_LABELS_KEY, _COMMITTEE_KEY = 22, 23

Draw = Callable[[Tensor, int], Tensor]
"""Samples (B, *flow_shape) of a student for labels (B, n), from a seed."""
Shows = Callable[[EncodedSamples], Tensor]
"""Which of the values asked for each sample shows, booleans (N, n), as the domain tells it."""


@dataclass(frozen=True)
class Measured:
    """A silo's data and what it knows of the run.

    Attributes:
        train, holdout: of combinations that silos train on.
        probes: its real samples of probes; empty if it has none.
        known, withheld: combinations that silos train on, sorted; the run's probes.
        cardinalities, feasible: |C_i|; combinations that can occur, empty means all.
        shows: which values samples show, if the domain can tell; else None.
    """

    train: EncodedSamples
    holdout: EncodedSamples
    probes: EncodedSamples
    known: Sequence[Combination]
    withheld: Sequence[Combination]
    cardinalities: Sequence[int]
    feasible: Sequence[Combination] = ()
    shows: Shows | None = None

    @classmethod
    def of(
        cls,
        train: EncodedSamples,
        holdout: EncodedSamples,
        known: Sequence[Combination],
        withheld: Sequence[Combination],
        cardinalities: Sequence[int],
        *,
        feasible: Sequence[Combination] = (),
        shows: Shows | None = None,
    ) -> Self:
        """Of all samples of a silo, those of probes too."""
        parts = train, holdout
        out = [_among(part.c, withheld) for part in parts]
        held = [_fewer(taken(part, rows)) for part, rows in zip(parts, out, strict=True)]
        kept = [_fewer(taken(part, ~rows)) for part, rows in zip(parts, out, strict=True)]
        apart = joined(*held)
        return cls(kept[0], kept[1], apart, known, withheld, cardinalities, feasible, shows)


class Judge(ABC):
    """Tells whether samples show their labels.

    Attributes:
        needs_samples: whether it needs real samples of a combination that silos train on.
    """

    needs_samples: ClassVar[bool] = True

    @abstractmethod
    def right(self, data: EncodedSamples) -> Tensor:
        """Whether samples show their labels: booleans (N,)."""

    @abstractmethod
    def values(self, data: EncodedSamples) -> Tensor:
        """Which of the values asked for samples show: booleans (N, n)."""

    @abstractmethod
    def alone(self, data: EncodedSamples) -> Tensor:
        """Whether samples are right in the eyes of each reader alone: booleans (N, readers)."""

    @abstractmethod
    def reads(self, labels: Sequence[Combination]) -> list[bool]:
        """Which combinations it can judge."""

    @abstractmethod
    def trusted(self, data: Measured) -> tuple[float | None, float | None]:
        """`judge_known` and `judge_rate` of SPEC 6.14.1: how far it can be trusted on combinations
        that the silo holds, and on others. None where no real samples tell."""


def judge_of(draw: Draw, data: Measured, seed: int) -> Judge:
    """The domain's judge; or a committee, trained here, where the domain cannot tell."""
    return ByDomain(data.shows) if data.shows else ByCommittee.fit(draw, data, seed)


@dataclass(frozen=True)
class ByDomain(Judge):
    """Judges by what a domain knows of its samples, such as where a plan's cube lies. Real samples
    tell whether this silo's data are what the domain takes them for."""

    shows: Shows
    needs_samples: ClassVar[bool] = False

    def right(self, data: EncodedSamples) -> Tensor:
        return self.values(data).all(dim=1)

    def values(self, data: EncodedSamples) -> Tensor:
        return self.shows(data)

    def alone(self, data: EncodedSamples) -> Tensor:
        return self.right(data)[:, None]

    def reads(self, labels: Sequence[Combination]) -> list[bool]:
        return [True] * len(labels)

    def trusted(self, data: Measured) -> tuple[float | None, float | None]:
        parts = data.holdout, joined(data.train, data.holdout, data.probes)
        usual, every = (share(self.right(of)) if len(of.c) else None for of in parts)
        return usual, every


@dataclass(frozen=True)
class ByCommittee(Judge):
    """Judges by classifiers.

    Attributes:
        committee: of draws of known combinations and of the silo's real samples. It reads labels.
        real: the silo's real samples. Samples of their combinations must be like them as well: a
            committee that was trained on broken draws takes these for right.
        alike: how near that is, as a ratio (`ratios`).
        taught: combinations that the committee was trained on, (M, n). It reads those that follow
            from them: of a value that it never saw it knows no effect, and would deny every draw.
        cardinalities: |C_i|.
    """

    committee: Committee
    real: EncodedSamples
    alike: float
    taught: Tensor
    cardinalities: Sequence[int]

    @classmethod
    def fit(cls, draw: Draw, data: Measured, seed: int) -> Self:
        """Train the committee, and test it on real samples."""
        own = _in_line(drawn(draw, data.known, MAX_DRAWS, seed), data.train)
        x, c = (taught := joined(data.train, own)).x, taught.c
        tested = torch.arange(len(c)) < len(data.train.c)
        unseen = (data.probes.x, data.probes.c)
        draws = generator(seed, _COMMITTEE_KEY)
        committee = Committee.fit(x, c, data.cardinalities, draws, tested=tested, unseen=unseen)
        real = joined(data.train, data.probes)
        found = ratios(data.holdout, real)
        usual = found.quantile(PASS).item() if len(found) else 0.0
        distinct = torch.unique(c, dim=0)
        return cls(committee, real, max(ALIKE, usual), distinct, data.cardinalities)

    def right(self, data: EncodedSamples) -> Tensor:
        return self.committee.accepts(data.x, data.c) & self.like(data)

    def like(self, data: EncodedSamples) -> Tensor:
        """Whether samples are like real ones, where that can be asked: booleans (N,)."""
        return ratios(data, self.real) <= self.alike

    def values(self, data: EncodedSamples) -> Tensor:
        return self.committee.values(data.x, data.c)

    def alone(self, data: EncodedSamples) -> Tensor:
        return self.committee.opinions(data.x, data.c) & self.like(data)[:, None]

    def reads(self, labels: Sequence[Combination]) -> list[bool]:
        if not labels:
            return []
        found: list[bool] = determined(
            torch.tensor(labels), self.taught, self.cardinalities
        ).tolist()
        return found

    def trusted(self, data: Measured) -> tuple[float | None, float | None]:
        usual = share(self.right(data.holdout)) if len(data.holdout.c) else None
        return usual, self.committee.recognised


def _in_line(drawn: EncodedSamples, real: EncodedSamples) -> EncodedSamples:
    """The draws of combinations that lie where most do (`in_line`). Real samples of a combination
    count beside its draws."""
    both = joined(real, drawn)
    of = torch.arange(len(both.c))[:, None] >= len(real.c)
    return taken(drawn, in_line(both.x, torch.cat([both.c, of.long()], dim=1))[len(real.c) :])


def ratios(data: EncodedSamples, real: EncodedSamples) -> Tensor:
    """Distance of each sample to the nearest real one of its combination, as a share of that to the
    nearest real one of another (Lowe, 2004): (N,), 0 where either is missing."""
    scale, found = spread(real.x), torch.zeros(len(data.c))
    x, y = ((part.x / scale).flatten(1) for part in (data, real))
    for label in torch.unique(data.c, dim=0):
        rows, own = (data.c == label).all(1), (real.c == label).all(1)
        if own.any() and not own.all():
            near, far = (torch.cdist(x[rows], y[like]).amin(1) for like in (own, ~own))
            found[rows] = near / far.clamp(min=1e-9)
    return found


def spread(x: Tensor) -> Tensor:
    """Deviation of each feature, or of each channel; not much below the mean one."""
    found = x.std(dim=(0, *range(2, x.ndim)), keepdim=True, correction=0)
    return found.clamp(min=LEAST_SPREAD * found.mean().item()).clamp(min=1e-6)


def in_unit_scale(draw: Draw, data: Measured) -> tuple[Draw, Measured]:
    """Both, divided by the largest real number, so that sums of squares do not overflow."""
    parts = [unit(part.x) for part in (data.train, data.holdout, data.probes)]
    largest = max((part.abs().max().item() for part in parts if len(part)), default=0.0) or 1.0
    train, holdout, probes = (
        EncodedSamples(x / largest, part.c)
        for x, part in zip(parts, (data.train, data.holdout, data.probes), strict=True)
    )

    def scaled(c: Tensor, seed: int) -> Tensor:
        return bounded(draw(c, seed).double() / largest).float()

    def shows(of: EncodedSamples) -> Tensor:
        found: Tensor = data.shows(EncodedSamples(of.x * largest, of.c))  # type: ignore[misc]
        # What was not finite is WILD by now: no domain sees that it must not be used.
        return found & (of.x.abs() < WILD).flatten(1).all(dim=1)[:, None]

    rule = shows if data.shows else None
    return scaled, replace(data, train=train, holdout=holdout, probes=probes, shows=rule)


def drawn(draw: Draw, labels: Sequence[Combination], most: int, seed: int) -> EncodedSamples:
    """As many draws of each combination as `most` allows, of a random part of them if need be."""
    each = max(1, min(EACH, most // len(labels)))
    order = torch.randperm(len(labels), generator=generator(seed, _LABELS_KEY))[: most // each]
    c = torch.tensor([labels[i] for i in sorted(order.tolist())]).repeat_interleave(each, 0)
    return EncodedSamples(draw(c, seed), c)


def share(flags: Tensor) -> float:
    """Of booleans (N,), those that hold."""
    return flags.double().mean().item()


def taken(data: EncodedSamples, rows: Tensor) -> EncodedSamples:
    """Some of the samples, by booleans (N,) or indices."""
    return EncodedSamples(data.x[rows], data.c[rows])


def joined(*parts: EncodedSamples) -> EncodedSamples:
    """The samples of all parts, as floats."""
    return EncodedSamples(torch.cat([unit(p.x) for p in parts]), torch.cat([p.c for p in parts]))


def _fewer(data: EncodedSamples) -> EncodedSamples:
    """At most MAX_TAUGHT samples: the first ones of each combination."""
    if len(data.c) <= MAX_TAUGHT:
        return data
    _, which, often = torch.unique(data.c, dim=0, return_inverse=True, return_counts=True)
    order = which.argsort(stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order)) - (often.cumsum(0) - often)[which[order]]
    return taken(data, place.argsort(stable=True)[:MAX_TAUGHT].sort().values)


def _among(c: Tensor, labels: Sequence[Combination]) -> Tensor:
    """Which rows of labels (N, n) are among some: (N,) booleans."""
    found = torch.zeros(len(c), dtype=torch.bool)
    for label in labels:
        found = found | (c == torch.tensor(label)).all(1)
    return found
