"""Settings in configs/experiments/discovery.toml: problems, and ways to find factors."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dcfm_node.domains.settings import ColouredMnistSettings, DigitsSettings
from dcfm_node.records.base import Model, Name
from dcfm_node.records.settings import Training

SHOWN = 8
"""Pictures of a row of the figure."""
Sees = Literal["everything", "brightness", "mean-colour"]


class Factor(Model):
    """A factor to find."""

    values: Annotated[int, Field(ge=2, le=32)]
    """How many values it has, 2 to 32."""
    sees: Sees = "everything"
    """What it may see of a picture; default everything."""


class Way(Model):
    """A way to get values of factors."""

    name: Name
    by: Literal["flow", "k-means", "labels", "chance"] = "flow"
    """The field's own training; k-means; the true labels; or chance. Default flow."""
    factor: tuple[Factor, ...] = ()
    """The factors, for `flow` and `k-means`; one that sees everything gets what the factors before
    it left of the pixels, by k-means."""
    independence: Annotated[float, Field(ge=0.0, le=100.0)] = 0.0
    """Weight of what the factors tell of each other, 0 to 100; default 0."""

    @model_validator(mode="after")
    def _factors(self) -> Self:
        if (self.by in ("flow", "k-means")) != (len(self.factor) == 2):
            raise ValueError("flow and k-means find two factors; others have none of their own")
        return self


class Problem(Model):
    """Coloured digits."""

    name: Name
    domain: Annotated[DigitsSettings | ColouredMnistSettings, Field(discriminator="kind")]


class Discovery(Model):
    """The whole experiment with one of its presets."""

    kind: Literal["discovery"]
    name: Name
    title: str
    seeds: Annotated[int, Field(ge=1, le=1_000)] = 1
    first_seed: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """First seed, 0 to 1000000; default 0. Tune on seeds from 100, report those below."""
    problem: Annotated[tuple[Problem, ...], Field(min_length=1)]
    way: Annotated[tuple[Way, ...], Field(min_length=1)]
    width: Annotated[int, Field(ge=8, le=1_024)] = 64
    """Of the field and of the encoders, 8 to 1024; default 64."""
    depth: Annotated[int, Field(ge=1, le=16)] = 2
    """Blocks of the field, 1 to 16; default 2."""
    training: Training
    """Of every field; the penalty's settings are not used."""
    balance: Annotated[float, Field(ge=0.0, le=100.0)] = 0.1
    """Weight of the entropy of the values in use, 0 to 100; default 0.1."""
    draws: Annotated[int, Field(ge=4, le=100_000)] = 400
    """Pictures that are recombined, 4 to 100000; default 400."""
    solver_steps: Annotated[int, Field(ge=1, le=1_000)] = 12
    """Steps of Heun's rule for a draw, 1 to 1000; default 12."""

    @property
    def partitions(self) -> tuple[str, ...]:
        """Names of all problems."""
        return tuple(problem.name for problem in self.problem)

    @property
    def lineup(self) -> tuple[str, ...]:
        """Names of the rows of a problem and seed."""
        return tuple(way.name for way in self.way)


def figure_file(folder: Path, partition: str, seed: int, way: str) -> Path:
    """Where pictures for the figure lie: four rows of SHOWN, one after the other."""
    return folder / "samples" / f"{partition}-{seed}-{way}.npz"
