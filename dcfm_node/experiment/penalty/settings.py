"""Settings in configs/experiments/penalty.toml: weights and places of the penalty, and problems."""

from typing import Annotated, Literal

from pydantic import Field

from dcfm_node.records.base import Model, Name
from dcfm_node.records.settings import Share

OFF = "off"
"""The row without the penalty."""
WINDOWS: dict[str, tuple[float, float]] = {
    "all": (0.0, 1.0),
    "early": (0.0, 0.5),
    "late": (0.5, 1.0),
}
"""Times t, 0 (noise) to 1 (data), at which the penalty acts: from the first to below the second."""
Positive = Annotated[float, Field(gt=0.0, le=1e6)]


class Blend(Model):
    """Problems of one form with a dial (`problems.blended`)."""

    form: Literal["vectors", "pictures"]
    noise: Annotated[float, Field(gt=0.0, le=0.3)]
    """Deviation of the noise, over that of the means; above 0 to 0.3."""
    dependence: Annotated[tuple[Share, ...], Field(min_length=1)]
    """Shares of the means' variance that no sum of effects explains, each 0 to 1."""
    share: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Part of the default steps to train, above 0 to 1; default 1."""

    def name(self, dependence: float) -> str:
        """The name of one of its problems: form, dependence and noise in percent."""
        return f"{self.form}-{dependence * 100:.0f}-{self.noise * 100:.0f}"


class Penalty(Model):
    """The whole experiment with one of its presets."""

    kind: Literal["penalty"]
    name: Name
    title: str
    seeds: Annotated[int, Field(ge=1, le=1_000)] = 1
    first_seed: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """First seed, 0 to 1000000; default 0. Tune on seeds from 100, report those below."""
    weights: Annotated[tuple[Positive, ...], Field(min_length=1)]
    """Weights lambda of the penalty, above 0; rows without it are added."""
    times: Annotated[tuple[Literal["all", "early", "late"], ...], Field(min_length=1)]
    """Where in t the penalty acts: everywhere, for t < 1/2 (noise), for t >= 1/2 (data)."""
    blend: tuple[Blend, ...] = ()
    problems: tuple[Name, ...] = ()
    """More problems: a stranger's, a domain's own, or EXPERIMENT-PARTITION. There the penalty acts
    at the first of `times` alone."""
    each: Annotated[int, Field(ge=2, le=100_000)] = 25
    """Samples of every combination, 2 to 100000; default 25."""
    share: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Part of the default steps to train on `problems`, above 0 to 1; default 1."""

    @property
    def blends(self) -> dict[str, tuple[Blend, float]]:
        """Name -> form and dependence, for every problem with a dial."""
        return {blend.name(d): (blend, d) for blend in self.blend for d in blend.dependence}

    @property
    def partitions(self) -> tuple[str, ...]:
        """Names of all problems, each a partition of the results."""
        return (*self.blends, *self.problems)

    @property
    def variants(self) -> dict[str, tuple[float, str]]:
        """Name of a row -> weight and place in t."""
        found: dict[str, tuple[float, str]] = {OFF: (0.0, self.times[0])}
        return found | {f"{time}-{w:g}": (w, time) for time in self.times for w in self.weights}

    def lineup(self, partition: str) -> tuple[str, ...]:
        """Names of the rows of a problem and seed."""
        whole = partition in self.blends
        return tuple(v for v, (_, time) in self.variants.items() if whole or time == self.times[0])
