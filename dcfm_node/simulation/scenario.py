"""What befalls a simulated run, and the manifest that its nodes share."""

import hashlib
from dataclasses import dataclass

from dcfm_node.records.manifest import Attribute, Manifest, Method, Policy, Silo, Training
from dcfm_node.wire.envelope import Signer


@dataclass(frozen=True)
class Scenario:
    """What befalls a simulated run. Times in seconds of the fake clock.

    Attributes:
        loss: share of messages lost.
        delay_s: shortest and longest delay of a message; unequal delays reorder.
        duplicate: share of messages delivered twice.
        degree: peers a node has links with; None for all.
        dial_only: nodes behind NAT, linked with two of the others and not with one another.
        partition_s: when the network splits in two, and when it heals.
        one_way_s: when messages pass from one half to the other and none come back, and its end.
        crashes: how many times some node loses power, at random instants before `quiet_s`.
        crashes_diskless: how many times one loses its disk as well, one node at a time.
        crash_on: kinds of record; a node that publishes one loses power then and there, between
            any two effects, `crash_on_limit` times in all.
        deaths: nodes that lose power for good, at random instants before `quiet_s`.
        late_s: when the last node of the roster starts.
        down_s: how long a crashed node stays away.
        quiet_s: faults stop; what is true afterwards must become known to everyone.
        limit_s: the run must be over by then.
    """

    nodes: int = 7
    method: str = "dcfm"
    schedule: str = "alternating"
    participation: str = "strict"
    rounds: int = 2
    loss: float = 0.0
    delay_s: tuple[float, float] = (0.01, 0.2)
    duplicate: float = 0.0
    degree: int | None = None
    dial_only: int = 0
    partition_s: tuple[float, float] | None = None
    one_way_s: tuple[float, float] | None = None
    crashes: int = 0
    crashes_diskless: int = 0
    crash_on: tuple[str, ...] = ()
    crash_on_limit: int = 3
    deaths: int = 0
    late_s: float = 0.0
    down_s: tuple[float, float] = (5.0, 60.0)
    work_s: tuple[float, float] = (10.0, 60.0)
    stall_s: float = 90.0
    gossip_s: float = 2.0
    quiet_s: float = 600.0
    limit_s: float = 7_200.0


def signers(count: int) -> list[Signer]:
    """The same keys in every run."""
    names = (f"simulated node {index}" for index in range(count))
    return [Signer.from_seed(hashlib.sha256(name.encode()).digest()) for name in names]


def manifest(scenario: Scenario, members: list[Signer]) -> Manifest:
    """A small run for as many silos as there are signers."""
    stage = Training(steps=10)
    settings: dict[str, object] = {"name": scenario.method, "local": stage}
    if scenario.method in ("dcfm", "fedflow"):
        settings["max_rounds"] = scenario.rounds
    if scenario.method == "dcfm":
        settings |= {"schedule": scenario.schedule, "refine": stage, "distil": stage}
    method = Method.model_validate(settings)
    policy = Policy.model_validate(
        {"participation": scenario.participation, "stall_s": scenario.stall_s}
    )
    return Manifest(
        name="simulated",
        sample_shape=(2,),
        attributes=(
            Attribute(name="horizontal", values=("left", "right")),
            Attribute(name="vertical", values=("bottom", "top")),
        ),
        method=method,
        policy=policy,
        roster=tuple(
            Silo(name=f"silo-{index:04d}", key=signer.key) for index, signer in enumerate(members)
        ),
    )
