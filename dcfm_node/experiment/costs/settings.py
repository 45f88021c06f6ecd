"""configs/experiments/costs.toml: which methods' costs are measured, and on what."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from dcfm_node.records.base import Model, Name
from dcfm_node.records.settings import AnyNetwork, Masks, Positive, Training

MethodName = Literal["fedflow", "ddm", "dfd", "dcfm-a", "dcfm-b", "dcfm-alternating"]
StageName = Literal["plain", "+l", "dcfm-a", "anchored", "dcfm-b"]
STAGES: tuple[StageName, ...] = get_args(StageName)
"""Plain flow matching first: what the others' times are divided by."""


class Communication(Model):
    """Table 3: a run by real nodes on loopback, for every method."""

    methods: tuple[MethodName, ...]
    silos: Annotated[int, Field(ge=2, le=8)] = 3
    """K."""
    averagings: Annotated[int, Field(ge=1, le=100)] = 4
    """T, of FedFlow."""
    rounds: Annotated[int, Field(ge=1, le=100)] = 2
    """R, of DCFM-A."""
    patience_s: Annotated[float, Field(gt=0.0)] = 120.0
    """A run that has not come to its end by then is given up."""
    network: AnyNetwork
    """Large, so that its snapshots dominate what is sent."""
    training: Training
    """Of every stage; few steps, as they cost no bytes."""


class Compute(Model):
    """Table 4: a training step of every stage."""

    silos: Annotated[int, Field(ge=2, le=100)] = 5
    """K: experts that DCFM-A draws its terms from, and teachers of DCFM-B."""
    sample_shape: tuple[Positive, ...]
    attributes: tuple[Positive, ...]
    """How many values each has."""
    network: AnyNetwork
    masks: Masks = Masks()
    solver: Literal["euler", "midpoint", "heun", "rk4"] = "euler"
    solver_steps: Positive = 20
    batch: Positive = 128
    shipped: Positive = 32
    """How many of a batch bear the penalty in the shipped runs."""
    count_steps: Positive = 64
    """Steps whose evaluations are counted."""
    time_steps: Positive = 192
    """Steps that are timed."""


class Costs(Model):
    """The whole experiment, as one of its presets has it."""

    kind: Literal["costs"]
    name: Name
    title: str
    seeds: Positive = 1
    communication: Communication
    compute: Compute
