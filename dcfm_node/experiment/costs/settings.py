"""Settings in configs/experiments/costs.toml: methods to measure, networks and sizes."""

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from dcfm_node.records.base import Model, Name
from dcfm_node.records.settings import AnyNetwork, Masks, Positive, Training

MethodName = Literal["fedflow", "ddm", "dfd", "dcfm-a", "dcfm-b", "dcfm-alternating"]
StageName = Literal["plain", "+l", "dcfm-a", "anchored", "dcfm-b"]
STAGES: tuple[StageName, ...] = get_args(StageName)
"""Plain flow matching is first: the other times are divided by its time."""
COMMUNICATION, COMPUTE, SHIPPED = "communication", "compute", "compute-shipped"
"""Partitions: Table 3; Table 4 with the penalty on every row; Table 4 as in the shipped runs."""


class Communication(Model):
    """Table 3 of DCFM: a run of every method with real nodes on loopback."""

    methods: tuple[MethodName, ...]
    silos: Annotated[int, Field(ge=2, le=8)] = 3
    """K."""
    averagings: Annotated[int, Field(ge=1, le=100)] = 4
    """Number of averagings of FedFlow (T), 1 to 100; default 4."""
    rounds: Annotated[int, Field(ge=1, le=100)] = 2
    """Number of rounds of DCFM-A (R), 1 to 100; default 2."""
    patience_s: Annotated[float, Field(gt=0.0)] = 120.0
    """Seconds after which a run fails, above 0; default 120."""
    network: AnyNetwork
    """A large network, so that its snapshots dominate the traffic."""
    training: Training
    """Training of every stage; few steps, because steps send no bytes."""


class Compute(Model):
    """Table 4 of DCFM: a training step of every stage."""

    silos: Annotated[int, Field(ge=2, le=100)] = 5
    """Number of silos K, 2 to 100, default 5: experts of DCFM-A and teachers of DCFM-B."""
    sample_shape: tuple[Positive, ...]
    attributes: tuple[Positive, ...]
    """Number of values of each attribute."""
    network: AnyNetwork
    masks: Masks = Masks()
    solver: Literal["euler", "midpoint", "heun", "rk4", "adams"] = "euler"
    solver_steps: Positive = 20
    batch: Positive = 128
    shipped: Positive = 32
    """Rows of a batch with the penalty in the shipped runs; default 32."""
    count_steps: Positive = 64
    """Number of steps to count evaluations in; default 64."""
    time_steps: Positive = 192
    """Number of steps to time; default 192."""


class Costs(Model):
    """The whole experiment with one of its presets."""

    kind: Literal["costs"]
    name: Name
    title: str
    seeds: Positive = 1
    communication: Communication
    compute: Compute

    first_seed: ClassVar[int] = 0
    partitions: ClassVar[tuple[str, ...]] = (COMMUNICATION, COMPUTE, SHIPPED)

    def lineup(self, partition: str) -> tuple[str, ...]:
        """Names of the rows of a partition and seed."""
        return self.communication.methods if partition == COMMUNICATION else STAGES
