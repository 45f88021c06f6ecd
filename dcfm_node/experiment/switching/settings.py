"""Settings in configs/experiments/switching.toml: mixtures of modes, and numbers of steps."""

from typing import Annotated, Literal

from pydantic import Field

from dcfm_node.records.base import Model, Name
from dcfm_node.records.settings import AnyNetwork, Positive, Training

RULES = ("average", "switch")
EXACT, TRAINED = "exact", "trained"


class Mixtures(Model):
    """Problems of one kind; a seed draws the modes and their owners."""

    name: Name
    dims: Annotated[int, Field(ge=1, le=16)] = 1
    """Dimensions, 1 to 16; default 1. The law of a sampler is computed on the line alone."""
    modes: Annotated[int, Field(ge=2, le=64)] = 8
    """Number of modes M, 2 to 64; default 8."""
    sigma: Annotated[float, Field(gt=0.0, le=3.0)] = 0.5
    """Deviation of a mode, above 0 to 3; default 0.5. Centres lie in [-3, 3]."""
    silos: Annotated[int, Field(ge=2, le=16)] = 4
    """Number of silos K, 2 to 16; default 4."""
    overlap: bool = False
    """Whether every silo holds all modes, in other proportions; default false."""
    fields: tuple[Literal["exact", "trained"], ...] = ("exact",)
    """Whether experts and router are exact, trained, or both in turn."""


class Switching(Model):
    """The whole experiment with one of its presets."""

    kind: Literal["switching"]
    name: Name
    title: str
    seeds: Annotated[int, Field(ge=1, le=1_000)] = 1
    first_seed: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """First seed, 0 to 1000000; default 0."""
    problem: Annotated[tuple[Mixtures, ...], Field(min_length=1)]
    steps: Annotated[tuple[Positive, ...], Field(min_length=2)]
    """Numbers N of Euler steps."""
    samples: Annotated[int, Field(ge=2, le=1_000_000)] = 2_000
    """Coupled trajectories of each row, 2 to 1000000; default 2000."""
    quantiles: Annotated[int, Field(ge=16, le=1_000_000)] = 2_048
    """Levels at which laws are compared, 16 to 1000000; default 2048."""
    grid: Annotated[int, Field(ge=65, le=1_000_000)] = 2_049
    """Points of the grid on which mass moves, 65 to 1000000; default 2049."""
    fine: Positive = 256
    """Steps of fourth order of what stands for the exact flow; default 256."""
    data: Positive = 4_000
    """Training samples of a silo; default 4000."""
    network: AnyNetwork
    """Of every trained expert."""
    training: Training
    """Of every trained expert, and of the router."""

    @property
    def posed(self) -> dict[str, tuple[Mixtures, str]]:
        """Partition -> problem, and whether its fields are exact or trained."""
        return {
            given.name if field == EXACT else f"{given.name}-{field}": (given, field)
            for given in self.problem
            for field in given.fields
        }

    @property
    def partitions(self) -> tuple[str, ...]:
        """Names of all problems."""
        return tuple(self.posed)

    @property
    def variants(self) -> dict[str, tuple[str, int]]:
        """Name of a row -> rule and number of steps."""
        return {f"{rule}-{n}": (rule, n) for rule in RULES for n in self.steps}

    @property
    def lineup(self) -> tuple[str, ...]:
        """Names of the rows of a problem and seed."""
        return tuple(self.variants)
