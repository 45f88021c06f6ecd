"""Settings in configs/experiments/algebra.toml: composed laws, samplers and budgets."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dcfm_node.records.base import Model, Name
from dcfm_node.records.settings import AnyNetwork, Masks, Positive, Training

DIGITS, STUDENTS = "digits", "students"
Number = Annotated[float, Field(ge=-100.0, le=100.0)]
Deviation = Annotated[float, Field(gt=0.0, le=100.0)]


class Law(Model):
    """A law ∝ Π_j N(m_j, s_j²)^w_j on the line. The first term is that of all data."""

    name: Name
    means: Annotated[tuple[Number, ...], Field(min_length=1)]
    deviations: Annotated[tuple[Deviation, ...], Field(min_length=1)]
    weights: Annotated[tuple[Number, ...], Field(min_length=1)]
    """Their sum is 1."""

    @model_validator(mode="after")
    def _composed(self) -> Self:
        if not len(self.means) == len(self.deviations) == len(self.weights):
            raise ValueError("means, deviations and weights need one number for each term")
        if abs(sum(self.weights) - 1) > 1e-9:
            raise ValueError("the weights must sum to 1")
        if sum(w / s**2 for w, s in zip(self.weights, self.deviations, strict=True)) <= 0:
            raise ValueError("the composed law has no density: use a smaller negative weight")
        return self


class Way(Model):
    """A way of sampling. It takes as many steps as its budget of evaluations allows."""

    name: Name
    correct: Literal["none", "langevin", "mala", "smc"] = "none"
    moves: Annotated[int, Field(ge=0, le=64)] = 0
    """Langevin moves after each step, 0 to 64; default 0."""
    size: Annotated[float, Field(gt=0.0, lt=2.0)] = 0.3
    """Of a move, in units of (1 - t)², above 0 to below 2; default 0.3."""
    weight: Annotated[float, Field(gt=0.0, le=100.0)] = 1.0
    """Of every attribute of the digits, above 0 to 100; default 1. Laws have weights of their own,
    and are drawn with 1 alone."""
    joint: bool = False
    """Whether the digits are drawn by the exact joint field, not by composing."""

    def steps(self, evaluations: int) -> int:
        """Steps that a budget allows."""
        return max(1, evaluations // (1 + self.moves))


class Students(Model):
    """Students of coloured digits that three silos train together."""

    evaluations: Annotated[tuple[Positive, ...], Field(min_length=1)]
    """Budgets: evaluations of every term for one sample."""
    each: Annotated[int, Field(ge=2, le=1_000)] = 32
    """Samples of every combination of digit and colour, 2 to 1000; default 32."""
    network: AnyNetwork
    masks: Masks
    local: Training
    """Of every silo's expert."""
    distil: Training
    """Of the student."""


class Algebra(Model):
    """The whole experiment with one of its presets."""

    kind: Literal["algebra"]
    name: Name
    title: str
    seeds: Annotated[int, Field(ge=1, le=1_000)] = 1
    first_seed: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """First seed, 0 to 1000000; default 0. Tune on seeds from 100, report those below."""
    law: tuple[Law, ...] = ()
    way: Annotated[tuple[Way, ...], Field(min_length=1)]
    evaluations: Annotated[tuple[Positive, ...], Field(min_length=1)]
    """Budgets for the laws: evaluations of every term for one sample."""
    samples: Annotated[int, Field(ge=2, le=1_000_000)] = 10_000
    """Samples of a law, 2 to 1000000; default 10000."""
    digit_evaluations: tuple[Positive, ...] = ()
    """Budgets for the digits; none leaves them out."""
    each: Annotated[int, Field(ge=2, le=1_000)] = 12
    """Samples of every combination of digit and colour, 2 to 1000; default 12."""
    greys: Annotated[int, Field(ge=100, le=1_797)] = 400
    """Grey digits, each in six colours, that the denoisers know, 100 to 1797; default 400."""

    students: Students | None = None
    """Trained students; none leaves them out."""

    @property
    def partitions(self) -> tuple[str, ...]:
        """Names of all problems."""
        digits = [DIGITS] if self.digit_evaluations else []
        students = [STUDENTS] if self.students is not None else []
        return (*(law.name for law in self.law), *digits, *students)

    def variants(self, partition: str) -> dict[str, tuple[Way, int]]:
        """Name of a row -> way of sampling and evaluations."""
        pictures, budgets = partition in (DIGITS, STUDENTS), self.evaluations
        if partition == DIGITS:
            budgets = self.digit_evaluations
        elif partition == STUDENTS and self.students is not None:
            budgets = self.students.evaluations
        ways = [way for way in self.way if pictures or (way.weight == 1.0 and not way.joint)]
        return {f"{way.name}-{n}": (way, n) for way in ways for n in budgets}

    def lineup(self, partition: str) -> tuple[str, ...]:
        """Names of the rows of a problem and seed."""
        return tuple(self.variants(partition))
