"""What a silo measures of a student's draws, with a judge of its own (SPEC 6.14.1), and what its
operator is shown of each combination.

Cost: at most MAX_DRAWS draws for a committee and as many to be judged.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import compress
from typing import Literal

import torch
from torch import Tensor

from dcfm_node.flow import judges
from dcfm_node.flow.design import determined
from dcfm_node.flow.judges import (
    Draw,
    Judge,
    Measured,
    drawn,
    in_unit_scale,
    joined,
    judge_of,
    spread,
)
from dcfm_node.flow.metrics import energy_distance
from dcfm_node.flow.stages import EncodedSamples
from dcfm_node.swarm.coverage import Combination, levels, unseen_of
from dcfm_node.swarm.quality import TRUST, Estimate, estimate

MAX_REAL = 64
"""Most real samples of one combination that draws are compared with."""
OUTSIDE = "it does not follow from the combinations trained on"
UNREAD = "it follows only from draws that lie too far from all others to learn from"
_EACH_PLACE = 4
"""Added to the seed for draws of `by_combination`; 1 to 3 are for those of `measure`."""


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


def measure(draw: Draw, data: Measured, *, seed: int) -> dict[str, float]:
    """The figures of SPEC 6.14.1 of the student that `draw` samples; arguments alone decide."""
    draw, data = in_unit_scale(draw, data)
    judge = judge_of(draw, data, seed)
    novel = [*unseen_of(data.known, data.cardinalities, data.feasible)]
    parts = {
        "known": sorted({tuple(label) for label in data.train.c.tolist()}),
        "probe": data.withheld,
        "novel": [*compress(novel, judge.reads(novel))],
    }
    found: dict[str, float] = {}
    fresh: dict[str, EncodedSamples] = {}
    for place, (part, combinations) in enumerate(parts.items(), 1):
        if not combinations:
            continue
        fresh[part] = drawn(draw, combinations, judges.MAX_DRAWS // len(parts), seed + place)
        rates = _rates(judge, fresh[part])
        found[f"{part}_rate"] = rates.mean().item()
        if part != "probe":
            found[f"{part}_error"] = (rates.std(correction=0) / max(1, len(rates)) ** 0.5).item()
        if part == "novel":
            found["novel_worst"] = rates.min().item()
    trusted = zip(("judge_known", "judge_rate"), judge.trusted(data), strict=True)
    found |= {name: value for name, value in trusted if value is not None}
    against = {"known": joined(data.train, data.holdout), "probe": data.probes}
    scale = spread(joined(*against.values()).x)
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
    draw, data = in_unit_scale(draw, data)
    judge = judge_of(draw, data, seed)
    held = {tuple(label) for label in data.train.c.tolist()}
    usual, strange = judge.trusted(data)
    verdicts = _undrawn(data, held, judge, _untrusted(strange))
    if asked := [label for label, verdict in verdicts.items() if not verdict.why]:
        fresh = drawn(draw, asked, judges.MAX_DRAWS, seed + _EACH_PLACE)
        real = joined(data.train, data.holdout)
        apart = distances(fresh, real, spread(joined(real, data.probes).x))
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
    right, values = judge.right(data), judge.values(data)
    flags = torch.column_stack([right, values.all(dim=1) & ~right, values])
    labels, often = torch.unique(data.c, dim=0, return_counts=True)
    shares, others = (_shares(data.c, of).tolist() for of in (flags, judge.alone(data)))
    return zip(map(tuple, labels.tolist()), often.tolist(), shares, others, strict=True)


def _undrawn(
    data: Measured, held: Collection[Combination], judge: Judge, untrusted: str
) -> dict[Combination, Verdict]:
    """Of all combinations, in order: why nothing can be said of some, before any is drawn.

    Args:
        held: combinations that this silo has real samples of.
        untrusted: why the judge cannot be trusted on combinations that it never saw, or empty.
    """
    known, probes, sizes = set(data.known), set(data.withheld), data.cardinalities
    unseen = list(unseen_of(known, sizes, data.feasible))
    level = dict.fromkeys(known, 0) | dict(zip(unseen, levels(unseen, known), strict=True))
    seen, every = torch.tensor(sorted({*known, *held})), torch.tensor(labels := sorted(level))
    inside = determined(every, seen, sizes).tolist()
    found = {}
    for label, follows, read in zip(labels, inside, judge.reads(labels), strict=True):
        kind: Literal["known", "probe", "novel"] = "probe" if label in probes else "novel"
        why = untrusted or ("" if read else UNREAD if follows else OUTSIDE)
        if label in known:
            kind, why = "known", "only other silos hold it" if judge.needs_samples else untrusted
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


def distance(fresh: EncodedSamples, real: EncodedSamples, scale: Tensor) -> float | None:
    """Mean of `distances` over combinations; None if there are none."""
    found = distances(fresh, real, scale).values()
    return sum(found) / len(found) if found else None


def distances(
    fresh: EncodedSamples, real: EncodedSamples, scale: Tensor
) -> dict[Combination, float]:
    """Energy distance of draws to real samples, 0 to 1, by combination. Combinations with fewer
    than two samples in either are left out.

    Args:
        scale: what to divide each number of a sample by.
    """
    found = {}
    for label in torch.unique(real.c, dim=0):
        x, y = (of.x[(of.c == label).all(1)][:MAX_REAL] for of in (fresh, real))
        if len(x) > 1 and len(y) > 1:
            apart = energy_distance((x / scale).flatten(1), (y / scale).flatten(1))
            found[tuple(label.tolist())] = apart
    return found
