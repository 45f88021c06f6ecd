"""What a silo measures of a student's draws, with a judge of its own (SPEC 6.14.1).

Cost: at most MAX_DRAWS draws for the judge and as many to be judged, and 1 + LEFT_OUT judges, of
those draws and at most MAX_TAUGHT real samples. For a final student only.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Self

import torch
from torch import Tensor

from dcfm_node.flow import judges
from dcfm_node.flow.judges import Judge, Train, taken
from dcfm_node.flow.stages import EncodedSamples
from dcfm_node.flow.trainer import generator
from dcfm_node.networks.base import unit
from dcfm_node.swarm.coverage import Combination, unseen_of
from dcfm_node.swarm.probes import spanning

MAX_DRAWS = 2_048
"""Most draws for the judge; as many are judged, of all kinds together."""
EACH = 48
"""Most draws of one combination."""
MAX_TAUGHT = 4_096
"""Most real samples of a silo in each part of its data; all combinations keep alike many."""
MAX_REAL = 64
"""Most real samples of one combination that draws are compared with."""
LEFT_OUT = 3
"""Most combinations that the judge is tried on by training one without them."""
_LABELS_KEY, _LEFT_OUT_KEY = 22, 23

Draw = Callable[[Tensor, int], Tensor]
"""Samples (B, *flow_shape) of a student for labels (B, n), from a seed."""


@dataclass(frozen=True)
class Measured:
    """A silo's data and what it knows of the run.

    Attributes:
        train, holdout: of combinations that silos train on.
        probes: its real samples of probes; empty if it has none.
        known: combinations that silos train on, sorted.
        withheld: the run's probes.
        cardinalities: |C_i|.
    """

    train: EncodedSamples
    holdout: EncodedSamples
    probes: EncodedSamples
    known: Sequence[Combination]
    withheld: Sequence[Combination]
    cardinalities: Sequence[int]

    @classmethod
    def of(
        cls,
        train: EncodedSamples,
        holdout: EncodedSamples,
        known: Sequence[Combination],
        withheld: Sequence[Combination],
        cardinalities: Sequence[int],
    ) -> Self:
        """Of all samples of a silo, those of probes too."""
        parts = train, holdout
        out = [_among(part.c, withheld) for part in parts]
        held = [_fewer(taken(part, rows)) for part, rows in zip(parts, out, strict=True)]
        kept = [_fewer(taken(part, ~rows)) for part, rows in zip(parts, out, strict=True)]
        return cls(kept[0], kept[1], _joined(*held), known, withheld, cardinalities)


def measure(
    draw: Draw, data: Measured, *, seed: int, train: Train = judges.train
) -> dict[str, float]:
    """The figures of SPEC 6.14.1 of the student that `draw` samples; arguments alone decide."""
    sizes, holdout = data.cardinalities, _joined(data.holdout)
    own = _drawn(draw, data.known, MAX_DRAWS, seed)
    judge = train(_joined(own, data.train), sizes, seed)
    parts = {
        "known": data.known,
        "probe": data.withheld,
        "novel": list(unseen_of(data.known, sizes)),
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
    if len(holdout.c):
        found["judge_known"] = _rate(judge, holdout)
    if (trust := _trust(judge, own, data, seed, train)) is not None:
        found["judge_rate"] = trust
    real = {"known": _joined(data.train, data.holdout), "probe": _joined(data.probes)}
    scale = _joined(*real.values()).x.std(0, correction=0).clamp(min=1e-6)
    for part in fresh.keys() & real.keys():
        if (apart := distance(fresh[part], real[part], scale)) is not None:
            found[f"{part}_distance"] = apart
    return dict(sorted(found.items()))


def _trust(
    judge: Judge, own: EncodedSamples, data: Measured, seed: int, train: Train
) -> float | None:
    """The share of real samples of combinations it never saw that the judge reads right: of probes,
    else of some known ones, each by a judge without it. None if neither can be had."""
    if len(data.probes.c):
        return _rate(judge, _joined(data.probes))
    real, rates = _joined(data.train, data.holdout), []
    for label in islice(_spared(data, seed), LEFT_OUT):
        seen = _joined(own, data.train)
        rest = taken(seen, (seen.c != label).any(1))
        other = train(rest, data.cardinalities, seed)
        rates.append(_rate(other, taken(real, (real.c == label).all(1))))
    return sum(rates) / len(rates) if rates else None


def _spared(data: Measured, seed: int) -> Iterable[Tensor]:
    """Combinations of this silo that are in the affine hull of all other known ones, shuffled."""
    mine = torch.unique(data.train.c, dim=0)
    full = len(spanning(data.known, data.cardinalities))
    for label in mine[torch.randperm(len(mine), generator=generator(seed, _LEFT_OUT_KEY))]:
        rest = [known for known in data.known if known != tuple(label.tolist())]
        if len(spanning(rest, data.cardinalities)) == full:
            yield label


def _drawn(draw: Draw, labels: Sequence[Combination], most: int, seed: int) -> EncodedSamples:
    """As many draws of each combination as `most` allows, of a random part of them if need be."""
    each = max(1, min(EACH, most // len(labels)))
    order = torch.randperm(len(labels), generator=generator(seed, _LABELS_KEY))[: most // each]
    c = torch.tensor([labels[i] for i in sorted(order.tolist())]).repeat_interleave(each, 0)
    x = torch.nan_to_num(draw(c, seed).float(), nan=1e6, posinf=1e6, neginf=-1e6)
    return EncodedSamples(x.clamp(-1e6, 1e6), c)


def _rates(judge: Judge, data: EncodedSamples) -> Tensor:
    """By combination, the share that is read as asked."""
    right = judge.reads(data.x, data.c).double()
    _, which = torch.unique(data.c, dim=0, return_inverse=True)
    often = torch.bincount(which).double()
    return torch.zeros(len(often)).double().index_add(0, which, right) / often


def _rate(judge: Judge, data: EncodedSamples) -> float:
    return judge.reads(data.x, data.c).double().mean().item()


def distance(drawn: EncodedSamples, real: EncodedSamples, scale: Tensor) -> float | None:
    """Energy distance of draws to real samples as a share of their mean distance, mean over the
    combinations that both hold: 0 alike, 1 wholly apart (Székely, Rizzo, 2013). None if there are
    none with two samples each.

    Args:
        scale: what to divide each number of a sample by.
    """
    found = []
    for label in torch.unique(real.c, dim=0):
        x, y = (of.x[(of.c == label).all(1)][:MAX_REAL] for of in (drawn, real))
        if len(x) > 1 and len(y) > 1:
            found.append(_apart((x / scale).flatten(1), (y / scale).flatten(1)))
    return sum(found) / len(found) if found else None


def _apart(x: Tensor, y: Tensor) -> float:
    between = torch.cdist(x, y).mean()
    within = [torch.cdist(z, z).sum() / (len(z) * (len(z) - 1)) for z in (x, y)]
    return (1 - sum(within) / (2 * between)).nan_to_num(0.0).clamp(0, 1).item()  # all the same


def _joined(*parts: EncodedSamples) -> EncodedSamples:
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
