"""Settings in configs/experiments/factorised.toml: problems, numbers of samples, and models."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dcfm_node.records.base import Model, Name
from dcfm_node.records.settings import AnyNetwork, Masks, Positive, Training

VALUES = 3
"""Of every attribute."""
TRUTH = "truth"
"""The row of draws from the exact laws: what a perfect model would have."""


class Sums(Model):
    """Problems of one kind; a seed draws the effects and which combinations are seen."""

    name: Name
    attributes: Annotated[int, Field(ge=2, le=4)]
    """Number of attributes n of three values, 2 to 4."""
    seen: Annotated[int, Field(ge=3, le=80)]
    """Combinations with samples, 3 to 3^n - 1; every value is in one."""
    dims: Annotated[int, Field(ge=0, le=16)] = 0
    """Dimensions that all effects share, 2 to 16. Default 0: every attribute has a plane of its
    own. Only then do samples tell nothing about one attribute by another."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.seen >= VALUES**self.attributes:
            raise ValueError(f"{self.attributes} attributes leave nothing novel: lower seen")
        if self.dims == 1:
            raise ValueError("dims is 0, or 2 and above")
        return self


class Kind(Model):
    """A model: how its labels are masked, and how it is sampled."""

    name: Name
    masks: Masks
    one_label: bool = False
    """Whether a combination is one label, which says nothing of its values. Default false."""
    composed: bool
    """Whether it is sampled by Eq. 5 of DCFM, from its marginals, or by its joint head."""
    ci_weight: Annotated[float, Field(ge=0.0, le=1e6)] = 0.0
    """Of the independence penalty, 0 to 1000000; default 0, none."""
    product_share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Share of the penalty's labels drawn from all combinations, 0 to 1; default 0."""


class Factorised(Model):
    """The whole experiment with one of its presets."""

    kind: Literal["factorised"]
    name: Name
    title: str
    seeds: Annotated[int, Field(ge=1, le=1_000)] = 1
    first_seed: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """First seed, 0 to 1000000; default 0. Tune on seeds from 100, report those below."""
    problem: Annotated[tuple[Sums, ...], Field(min_length=1)]
    model: Annotated[tuple[Kind, ...], Field(min_length=1)]
    sizes: Annotated[tuple[Positive, ...], Field(min_length=1)]
    """Numbers of training samples of each seen combination."""
    sigma: Annotated[float, Field(gt=0.0, le=1.0)] = 0.2
    """Deviation of samples around their mean, above 0 to 1; default 0.2. Effects have length 1."""
    each: Annotated[int, Field(ge=2, le=10_000)] = 40
    """Draws of every combination, 2 to 10000; default 40."""
    network: AnyNetwork
    """Of every model."""
    training: Training
    """Of every model; the penalty's weight and share are the model's own."""

    @property
    def partitions(self) -> tuple[str, ...]:
        """Names of all problems."""
        return tuple(problem.name for problem in self.problem)

    @property
    def variants(self) -> dict[str, tuple[Kind, int]]:
        """Name of a row, apart from `truth` -> model and number of samples."""
        return {f"{kind.name}-{size}": (kind, size) for kind in self.model for size in self.sizes}

    @property
    def lineup(self) -> tuple[str, ...]:
        """Names of the rows of a problem and seed."""
        return (TRUTH, *self.variants)
