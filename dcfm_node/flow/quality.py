"""What a silo measures of a student's draws, with a committee of its own (SPEC 6.14.1), and what
its operator is shown of each combination.

Cost: at most MAX_DRAWS draws for the committee and as many to be judged.
"""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import Tensor

from dcfm_node.flow.committee import Committee, in_line
from dcfm_node.flow.design import determined, following
from dcfm_node.flow.features import bounded
from dcfm_node.flow.metrics import energy_distance
from dcfm_node.flow.stages import EncodedSamples
from dcfm_node.flow.trainer import generator
from dcfm_node.networks.base import unit
from dcfm_node.swarm.coverage import Combination, levels, unseen_of
from dcfm_node.swarm.quality import TRUST, Estimate, estimate

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
MAX_REAL = 64
"""Most real samples of one combination that draws are compared with."""
OUTSIDE = "it does not follow from the combinations trained on"
UNREAD = "it follows only from draws that lie too far from all others to learn from"
_LABELS_KEY, _COMMITTEE_KEY = 22, 23
_EACH_PLACE = 4
"""Added to the seed for draws of `by_combination`; 1 to 3 are for those of `measure`."""

Draw = Callable[[Tensor, int], Tensor]
"""Samples (B, *flow_shape) of a student for labels (B, n), from a seed."""


@dataclass(frozen=True)
class Measured:
    """A silo's data and what it knows of the run.

    Attributes:
        train, holdout: of combinations that silos train on.
        probes: its real samples of probes; empty if it has none.
        known, withheld: combinations that silos train on, sorted; the run's probes.
        cardinalities, feasible: |C_i|; combinations that can occur, empty means all.
    """

    train: EncodedSamples
    holdout: EncodedSamples
    probes: EncodedSamples
    known: Sequence[Combination]
    withheld: Sequence[Combination]
    cardinalities: Sequence[int]
    feasible: Sequence[Combination] = ()

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
    ) -> Self:
        """Of all samples of a silo, those of probes too."""
        parts = train, holdout
        out = [_among(part.c, withheld) for part in parts]
        held = [_fewer(taken(part, rows)) for part, rows in zip(parts, out, strict=True)]
        kept = [_fewer(taken(part, ~rows)) for part, rows in zip(parts, out, strict=True)]
        return cls(kept[0], kept[1], joined(*held), known, withheld, cardinalities, feasible)


@dataclass(frozen=True)
class Judge:
    """Tells whether samples show their labels.

    Attributes:
        committee: of draws of known combinations and of the silo's real samples. It reads labels.
        real: the silo's real samples. Samples of their combinations must be like them as well: a
            committee that was trained on broken draws takes these for right.
        alike: how near that is, as a ratio (`ratios`).
        taught: combinations that the committee was trained on, (M, n). It reads those that follow
            from them: of a value that it never saw it knows no effect, and would deny every draw.
    """

    committee: Committee
    real: EncodedSamples
    alike: float
    taught: Tensor

    @classmethod
    def fit(cls, draw: Draw, data: Measured, seed: int) -> Self:
        """Train the committee, and test it on real samples."""
        own = _in_line(_drawn(draw, data.known, MAX_DRAWS, seed), data.train)
        x, c = (taught := joined(data.train, own)).x, taught.c
        tested = torch.arange(len(c)) < len(data.train.c)
        unseen = (data.probes.x, data.probes.c)
        draws = generator(seed, _COMMITTEE_KEY)
        committee = Committee.fit(x, c, data.cardinalities, draws, tested=tested, unseen=unseen)
        real = joined(data.train, data.probes)
        found = ratios(data.holdout, real)
        usual = found.quantile(PASS).item() if len(found) else 0.0
        return cls(committee, real, max(ALIKE, usual), torch.unique(c, dim=0))

    def right(self, data: EncodedSamples) -> Tensor:
        """Whether samples show their labels: booleans (N,)."""
        return self.committee.accepts(data.x, data.c) & self.like(data)

    def like(self, data: EncodedSamples) -> Tensor:
        """Whether samples are like real ones, where that can be asked: booleans (N,)."""
        return ratios(data, self.real) <= self.alike

    def trusted(self, holdout: EncodedSamples) -> tuple[float | None, float | None]:
        """`judge_known` and `judge_rate` of SPEC 6.14.1: how far it can be trusted on combinations
        that the silo holds, and on others. None where no real samples tell."""
        usual = _share(self.right(holdout)) if len(holdout.c) else None
        return usual, self.committee.recognised


@dataclass(frozen=True)
class Verdict:
    """What a silo's judge says of a student's draws of one combination.

    Attributes:
        kind: whether silos train on it, it is a probe, or neither.
        level: how many attributes differ from the nearest known combination: 0, 1, or 2 for more.
        expected: share of draws that are right; None where the judge cannot tell.
        why: why it cannot; empty where it can.
        draws: number of draws judged.
        values: for each attribute, share of draws that show the value asked for; empty without
            draws.
        unlike: share of draws that show all values and still are not right: they are unlike real
            samples.
    """

    label: Combination
    kind: Literal["known", "probe", "novel"]
    level: int
    expected: Estimate | None
    why: str
    draws: int = 0
    values: tuple[float, ...] = ()
    unlike: float = 0.0


def _in_line(drawn: EncodedSamples, real: EncodedSamples) -> EncodedSamples:
    """The draws of combinations that lie where most do (`in_line`). Real samples of a combination
    count beside its draws."""
    both = joined(real, drawn)
    of = torch.arange(len(both.c))[:, None] >= len(real.c)
    return taken(drawn, in_line(both.x, torch.cat([both.c, of.long()], dim=1))[len(real.c) :])


def ratios(data: EncodedSamples, real: EncodedSamples) -> Tensor:
    """Distance of each sample to the nearest real one of its combination, as a share of that to the
    nearest real one of another (Lowe, 2004): (N,), 0 where either is missing."""
    spread, found = _spread(real.x), torch.zeros(len(data.c))
    x, y = ((part.x / spread).flatten(1) for part in (data, real))
    for label in torch.unique(data.c, dim=0):
        rows, own = (data.c == label).all(1), (real.c == label).all(1)
        if own.any() and not own.all():
            near, far = (torch.cdist(x[rows], y[like]).amin(1) for like in (own, ~own))
            found[rows] = near / far.clamp(min=1e-9)
    return found


def _spread(x: Tensor) -> Tensor:
    """Deviation of each feature, or of each channel; not much below the mean one."""
    found = x.std(dim=(0, *range(2, x.ndim)), keepdim=True, correction=0)
    return found.clamp(min=LEAST_SPREAD * found.mean().item()).clamp(min=1e-6)


def measure(draw: Draw, data: Measured, *, seed: int) -> dict[str, float]:
    """The figures of SPEC 6.14.1 of the student that `draw` samples; arguments alone decide."""
    draw, data = _in_unit_scale(draw, data)
    judge = Judge.fit(draw, data, seed)
    novel = unseen_of(data.known, data.cardinalities, data.feasible)
    parts = {
        "known": sorted({tuple(label) for label in data.train.c.tolist()}),
        "probe": data.withheld,
        "novel": following([*novel], judge.taught, data.cardinalities),
    }
    found: dict[str, float] = {}
    fresh: dict[str, EncodedSamples] = {}
    for place, (part, combinations) in enumerate(parts.items(), 1):
        if not combinations:
            continue
        fresh[part] = _drawn(draw, combinations, MAX_DRAWS // len(parts), seed + place)
        rates = _rates(judge, fresh[part])
        found[f"{part}_rate"] = rates.mean().item()
        if part != "probe":
            found[f"{part}_error"] = (rates.std(correction=0) / max(1, len(rates)) ** 0.5).item()
        if part == "novel":
            found["novel_worst"] = rates.min().item()
    trusted = zip(("judge_known", "judge_rate"), judge.trusted(data.holdout), strict=True)
    found |= {name: value for name, value in trusted if value is not None}
    against = {"known": joined(data.train, data.holdout), "probe": data.probes}
    scale = _spread(joined(*against.values()).x)
    for part in fresh.keys() & against.keys():
        if (apart := distance(fresh[part], against[part], scale)) is not None:
            found[f"{part}_distance"] = apart
    return dict(sorted(found.items()))


def by_combination(draw: Draw, data: Measured, *, seed: int) -> list[Verdict]:
    """What a silo's judge says of each combination, in order. With the seed of `measure` it is the
    same judge; arguments alone decide.

    Intervals are those of SPEC 6.14.2, with `judge_known` as the trust where the silo holds real
    samples. Elsewhere they also hold the share that each reader of the committee recognises alone.
    """
    draw, data = _in_unit_scale(draw, data)
    judge = Judge.fit(draw, data, seed)
    held = {tuple(label) for label in data.train.c.tolist()}
    usual, strange = judge.trusted(data.holdout)
    verdicts = _undrawn(data, held, judge.taught, _untrusted(strange))
    if asked := [label for label, verdict in verdicts.items() if not verdict.why]:
        fresh = _drawn(draw, asked, MAX_DRAWS, seed + _EACH_PLACE)
        real = joined(data.train, data.holdout)
        apart = distances(fresh, real, _spread(joined(real, data.probes).x))
        for label, draws, shares, alone in _seen(judge, fresh):
            rate, unlike, *values = shares
            trust = usual if label in held else strange
            error, far = _error(rate, draws), apart.get(label, 0.0)
            expected = estimate(rate, error, 1.0 if trust is None else trust, distance=far)
            if label not in held:
                low, high = min(expected.low, *alone), max(expected.high, *alone)
                expected = replace(expected, low=low, high=high)
            verdicts[label] = replace(
                verdicts[label],
                expected=expected,
                draws=draws,
                values=tuple(values),
                unlike=unlike,
            )
    none = "there are too many combinations to draw each"
    return [
        verdict if verdict.why or verdict.draws else replace(verdict, why=none)
        for verdict in verdicts.values()
    ]


def _seen(
    judge: Judge, data: EncodedSamples
) -> Iterator[tuple[Combination, int, list[float], list[float]]]:
    """By combination: how many draws there are, the shares that are right, that show all values and
    are not, and that show each one, and the shares that each reader alone recognises."""
    right, values = judge.right(data), judge.committee.values(data.x, data.c)
    alone = judge.committee.opinions(data.x, data.c) & judge.like(data)[:, None]
    flags = torch.column_stack([right, values.all(dim=1) & ~right, values])
    labels, often = torch.unique(data.c, dim=0, return_counts=True)
    shares, others = (_shares(data.c, of).tolist() for of in (flags, alone))
    return zip(map(tuple, labels.tolist()), often.tolist(), shares, others, strict=True)


def _undrawn(
    data: Measured, held: Collection[Combination], taught: Tensor, untrusted: str
) -> dict[Combination, Verdict]:
    """Of all combinations, in order: why nothing can be said of some, before any is drawn.

    Args:
        held: combinations that this silo has real samples of; taught: as for `Judge`.
        untrusted: why the judge cannot be trusted on combinations that it never saw, or empty.
    """
    known, probes, sizes = set(data.known), set(data.withheld), data.cardinalities
    unseen = list(unseen_of(known, sizes, data.feasible))
    level = dict.fromkeys(known, 0) | dict(zip(unseen, levels(unseen, known), strict=True))
    seen, every = torch.tensor(sorted({*known, *held})), torch.tensor(labels := sorted(level))
    follow = (determined(every, of, sizes) for of in (seen, taught))
    found = {}
    for label, inside, read in zip(labels, *follow, strict=True):
        kind: Literal["known", "probe", "novel"] = "probe" if label in probes else "novel"
        why = untrusted or ("" if read else UNREAD if inside else OUTSIDE)
        if label in known:
            kind, why = "known", "only other silos hold it"
        found[label] = Verdict(label, kind, level[label], None, "" if label in held else why)
    return found


def _untrusted(rate: float | None) -> str:
    """Why a judge of this `judge_rate` cannot be trusted on combinations that it never saw; empty
    if it can."""
    if rate is None:
        return "no data here show whether the judge reads combinations that it never saw"
    what = f"the judge recognises {rate:.2f} of real samples of combinations that it never saw"
    return "" if rate >= TRUST else f"{what}, and {TRUST:g} is needed"


def _error(rate: float, draws: int) -> float:
    """Standard error of a share of so many draws, had there been two more, one of them right: few
    draws leave every share in doubt."""
    usual = (rate * draws + 1) / (draws + 2)
    return math.sqrt(usual * (1 - usual) / draws)


def _in_unit_scale(draw: Draw, data: Measured) -> tuple[Draw, Measured]:
    """Both, divided by the largest real number, so that sums of squares do not overflow."""
    parts = [unit(part.x) for part in (data.train, data.holdout, data.probes)]
    largest = max((part.abs().max().item() for part in parts if len(part)), default=0.0) or 1.0
    train, holdout, probes = (
        EncodedSamples(x / largest, part.c)
        for x, part in zip(parts, (data.train, data.holdout, data.probes), strict=True)
    )

    def scaled(c: Tensor, seed: int) -> Tensor:
        return bounded(draw(c, seed).double() / largest).float()

    return scaled, replace(data, train=train, holdout=holdout, probes=probes)


def _drawn(draw: Draw, labels: Sequence[Combination], most: int, seed: int) -> EncodedSamples:
    """As many draws of each combination as `most` allows, of a random part of them if need be."""
    each = max(1, min(EACH, most // len(labels)))
    order = torch.randperm(len(labels), generator=generator(seed, _LABELS_KEY))[: most // each]
    c = torch.tensor([labels[i] for i in sorted(order.tolist())]).repeat_interleave(each, 0)
    return EncodedSamples(draw(c, seed), c)


def _rates(judge: Judge, data: EncodedSamples) -> Tensor:
    """By combination, the share that is right."""
    return _shares(data.c, judge.right(data)[:, None])[:, 0]


def _shares(c: Tensor, flags: Tensor) -> Tensor:
    """By combination among labels (N, n), in order, the shares of booleans (N, k): (M, k)."""
    _, which = torch.unique(c, dim=0, return_inverse=True)
    often = torch.bincount(which).double()[:, None]
    return (
        torch.zeros(len(often), flags.shape[1]).double().index_add(0, which, flags.double()) / often
    )


def _share(flags: Tensor) -> float:
    return flags.double().mean().item()


def distance(drawn: EncodedSamples, real: EncodedSamples, scale: Tensor) -> float | None:
    """Mean of `distances` over combinations; None if there are none."""
    found = distances(drawn, real, scale).values()
    return sum(found) / len(found) if found else None


def distances(
    drawn: EncodedSamples, real: EncodedSamples, scale: Tensor
) -> dict[Combination, float]:
    """Energy distance of draws to real samples, 0 to 1, by combination. Combinations with fewer
    than two samples in either are left out.

    Args:
        scale: what to divide each number of a sample by.
    """
    found = {}
    for label in torch.unique(real.c, dim=0):
        x, y = (of.x[(of.c == label).all(1)][:MAX_REAL] for of in (drawn, real))
        if len(x) > 1 and len(y) > 1:
            apart = energy_distance((x / scale).flatten(1), (y / scale).flatten(1))
            found[tuple(label.tolist())] = apart
    return found


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
