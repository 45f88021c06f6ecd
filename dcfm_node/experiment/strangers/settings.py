"""Settings in configs/experiments/strangers.toml: which problems, and which of their seeds."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from dcfm_node.experiment.strangers import suite
from dcfm_node.records.base import Model, Name

DEFAULTS = "defaults"
"""The only method, and the only set of settings: what `dcfm-node init` writes for the data."""


class Strangers(Model):
    """The whole experiment with one of its presets."""

    kind: Literal["strangers"]
    name: Name
    title: str
    seeds: Annotated[int, Field(ge=1, le=1_000)] = 1
    first_seed: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """First seed, 0 to 1000000; default 0. Tune on seeds from 100, report those below."""
    problems: Annotated[tuple[Name, ...], Field(min_length=1)] = tuple(suite.KINDS)
    """Names of problems; default all."""
    each: Annotated[int, Field(ge=2, le=100_000)] = 50
    """Samples of every combination, 2 to 100000; default 50."""
    share: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Part of the default steps to train, above 0 to 1; default 1. Less only shows the form."""

    lineup: ClassVar[tuple[str, ...]] = (DEFAULTS,)
    """Rows of every problem and seed."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        if unknown := [name for name in self.problems if name not in suite.KINDS]:
            known = ", ".join(suite.KINDS)
            raise ValueError(f"there is no problem {unknown[0]!r}; choose from {known}")
        if len(set(self.problems)) != len(self.problems):
            raise ValueError("problems has a name twice; remove one")
        return self

    @property
    def partitions(self) -> tuple[str, ...]:
        """Names of the problems, each a partition of the results."""
        return self.problems
