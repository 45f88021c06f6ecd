"""Mean and standard deviation of a silo's data, and the scale that all silos derive from them.

Every silo trains on (x - mean) / deviation with the same numbers (SPEC 6.13). A number belongs to a
*group*: a feature, a channel, or the whole sample. One member must not be able to scale everybody's
data to nothing, so a silo far from the others is pulled towards them first.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Literal, Self

from pydantic import FailFast, Field, model_validator

from dcfm_node.records.base import Model

Standardise = Literal["auto", "feature", "channel", "none"]
MAX_GROUPS = 4_096
"""With more features, one group holds them all."""
MAX_VALUE = 2.0**128
"""Above every float32."""
MIN_SAMPLES = 32
"""A silo with fewer training samples states no moments: they would tell too much of each sample."""
FACTOR = 10.0
"""A silo that is more than this many times the spread away from the others counts as that far."""
OF_TWO = 30.0
"""FACTOR for the deviations of two silos, and of a silo that lacks values. Neither of two is the
majority, and a silo with one value of an attribute may well have a tenth of the other's deviation.
"""
OF_ALONE = 100.0
"""FACTOR for a silo that alone holds some value: nobody else's data show what it does."""
CONSTANT = 1e-6
"""A deviation below this share of the mean is rounding of float32: the group is constant."""
TINY = 1e-30
"""A deviation below this is none."""

Labels = Collection[tuple[int, ...]]
_Means = Annotated[
    tuple[Annotated[float, Field(ge=-MAX_VALUE, le=MAX_VALUE)], ...],
    Field(min_length=1, max_length=MAX_GROUPS),
    FailFast(),
]
_Deviations = Annotated[
    tuple[Annotated[float, Field(ge=0.0, le=MAX_VALUE)], ...],
    Field(min_length=1, max_length=MAX_GROUPS),
    FailFast(),
]


class Moments(Model):
    """Mean and standard deviation of each group over a silo's training samples, after the codec.

    Their number of samples is that of the label counts beside them.
    """

    mean: _Means
    deviation: _Deviations


class Scale(Model):
    """What standardised samples are in terms of: x = mean + deviation * z, by group."""

    mean: _Means
    """One for each group."""
    deviation: _Deviations
    """One for each group, above 0."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if len(self.mean) != len(self.deviation):
            raise ValueError("a scale has as many means as deviations")
        if min(self.deviation) <= 0.0:
            raise ValueError("the deviations of a scale are above 0")
        return self


def groups(rule: Standardise, sample_shape: Sequence[int], flow_shape: Sequence[int]) -> int:
    """How many groups a run standardises; 0 if none.

    Args:
        rule: "auto" takes features, and leaves images as they are: they come in [-1, 1].
        flow_shape: of an encoded sample.
    """
    if rule == "none" or (rule == "auto" and len(sample_shape) == 3):
        return 0
    if rule == "channel":
        many = flow_shape[0] if len(flow_shape) > 1 else 1
    else:
        many = math.prod(flow_shape)
    return many if many <= MAX_GROUPS else 1


def misfit(moments: Moments | None, many: int, samples: int) -> str:
    """Why a silo may not state these moments (SPEC 3.7.16); empty if it may.

    Args:
        many: groups of the run.
        samples: training samples that the silo states.
    """
    if moments is None:
        return ""
    if samples < MIN_SAMPLES:
        return f"states moments of {samples} samples; {MIN_SAMPLES} is the least"
    if (found := (len(moments.mean), len(moments.deviation))) != (many, many):
        return f"states {found[0]} means and {found[1]} deviations; the run has {many} groups"
    return ""


def pooled(many: Sequence[tuple[float, Moments]]) -> Scale | None:
    """The scale of moments with their weights, each above 0 (SPEC 6.13.3); None without any."""
    if not many:
        return None
    weights = [weight for weight, _ in many]
    each = [_pooled(weights, *group) for group in _by_group([moments for _, moments in many])]
    return Scale(mean=tuple(mean for mean, _ in each), deviation=tuple(dev for _, dev in each))


def _by_group(many: Sequence[Moments]) -> list[tuple[tuple[float, ...], tuple[float, ...]]]:
    """For each group, the silos' means and their deviations."""
    means = zip(*(moments.mean for moments in many), strict=True)
    deviations = zip(*(moments.deviation for moments in many), strict=True)
    return list(zip(means, deviations, strict=True))


def _pooled(
    weights: Sequence[float], means: Sequence[float], deviations: Sequence[float]
) -> tuple[float, float]:
    """Mean and deviation of one group, by the parallel formula of Chan, Golub and LeVeque."""
    centre, spreads = _typical(means, deviations)
    if spreads:
        most = FACTOR * spreads[len(spreads) // 2]
        means = [min(max(mean, centre - most), centre + most) for mean in means]
        deviations = [min(deviation, most) for deviation in deviations]
    total = math.fsum(weights)
    mean = math.fsum(w * m for w, m in zip(weights, means, strict=True)) / total
    parts = zip(weights, means, deviations, strict=True)
    variance = math.fsum(w * (d * d + (m - mean) * (m - mean)) for w, m, d in parts) / total
    deviation = math.sqrt(variance)
    return mean, 1.0 if deviation < max(TINY, CONSTANT * abs(mean)) else deviation


def _typical(means: Sequence[float], deviations: Sequence[float]) -> tuple[float, Sequence[float]]:
    """The median mean of a group, and how far each silo's data spread about it, ascending. Silos
    where the group is that constant have no say.

    Of an even number of spreads the upper median is meant: a member that states next to nothing
    must not make the only other silo that says something an outlier.
    """
    centre = sorted(means)[(len(means) - 1) // 2]
    spreads = (d + abs(m - centre) for m, d in zip(means, deviations, strict=True))
    return centre, sorted(s for s in spreads if s > max(TINY, CONSTANT * abs(centre)))


@dataclass(frozen=True, slots=True)
class Outlier:
    """A silo whose data of one group seem to be in other units than those of most silos.

    Attributes:
        mean, deviation: of the silo.
        centre, spread: of most silos.
    """

    silo: str
    group: int
    mean: float
    deviation: float
    centre: float
    spread: float


def outliers(many: Mapping[str, Moments], held: Mapping[str, Labels]) -> list[Outlier]:
    """Silos that are more than FACTOR away from most others, by group (SPEC 6.13.6).

    A silo far below the others in deviation counts only where its mean lies amid theirs: one that
    holds few values of an attribute has a smaller deviation without having other units. So, where
    it lacks values that others hold, its mean must be next to 0 instead: another unit brings it
    there. One that alone holds a value may lie far away for that.

    Args:
        held: the combinations that each silo of the run states to hold.
    """
    found, few = [], FACTOR if len(many) > 2 else OF_TWO
    lacking, alone = _apart({silo: held.get(silo, ()) for silo in {*many, *held}})
    for group, (means, deviations) in enumerate(_by_group(list(many.values()))):
        centre, spreads = _typical(means, deviations)
        spread = spreads[len(spreads) // 2] if spreads else 0.0
        for silo, mean, deviation in zip(many, means, deviations, strict=True) if spreads else ():
            away, most = abs(mean - centre), (OF_ALONE if silo in alone else FACTOR) * spread
            if silo in lacking:
                small = OF_TWO * max(deviation, abs(mean)) < spread
            else:
                small = few * deviation < spread and away < spread / 2.0
            if away > most or deviation > most or (small and deviation > 0.0):
                found.append(Outlier(silo, group, mean, deviation, centre, spread))
    return found


def _apart(held: Mapping[str, Labels]) -> tuple[set[str], set[str]]:
    """The silos that lack a value that another holds, and those that alone hold one."""
    values = {
        silo: {pair for c in labels for pair in enumerate(c)} for silo, labels in held.items()
    }
    often = Counter(chain.from_iterable(values.values()))
    lacking = {silo for silo, own in values.items() if len(own) < len(often)}
    return lacking, {silo for silo, own in values.items() if any(often[v] == 1 for v in own)}
