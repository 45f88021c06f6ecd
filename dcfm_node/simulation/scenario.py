"""Scenarios (configs/scenarios/*.toml): the faults of a simulated run, and the manifest of its
nodes."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from dcfm_node.config import toml
from dcfm_node.config.advice import closest
from dcfm_node.errors import ConfigError
from dcfm_node.files import shipped
from dcfm_node.records.base import Model, Name
from dcfm_node.records.manifest import Attribute, Manifest, Policy, Silo
from dcfm_node.records.settings import (
    MethodSettings,
    NetworkSettings,
    PathSettings,
    Training,
    find,
)
from dcfm_node.wire.envelope import Signs

Fat = Literal["students", "joins", "rejoins", "epochs", "stale", "votes", "offences"]
Record = Literal["join", "expert", "vote", "lease", "propose", "accept", "student", "endorse"]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Seconds = Annotated[float, Field(ge=0.0, le=1e6)]
Times = Annotated[int, Field(ge=0, le=1_000)]
Span = tuple[Seconds, Seconds]


class Scenario(Model):
    """The faults of a simulated run. Times are seconds of the fake clock. Faults without a time of
    their own fall at random times before `quiet_s`."""

    title: str = ""
    nodes: Annotated[int, Field(ge=1, le=1_000)] = 7

    # The run
    method: Name = "dcfm"
    schedule: Literal["alternating", "paper"] = "alternating"
    participation: Literal["strict", "tolerant"] = "strict"
    rounds: Annotated[int, Field(ge=1, le=100)] = 2
    tokens: Annotated[int, Field(ge=0, le=4_096)] = 0
    """Size of the alphabet of samples; 0, the default, for samples of numbers. Silos of
    tokens state no means and deviations."""
    stall_s: Annotated[float, Field(gt=0.0)] = 60.0
    gossip_s: Annotated[float, Field(gt=0.0)] = 2.0
    work_s: Span = (5.0, 30.0)
    """Shortest and longest piece of work, in seconds."""
    quiet_s: Seconds = 240.0
    """Faults stop. From then on, everything true must become known to every node."""
    limit_s: Seconds = 7_200.0
    """The run must be over by then."""

    # The network
    loss: Share = 0.0
    """Share of the messages that are lost."""
    duplicate: Share = 0.0
    """Share of the messages that are delivered twice."""
    stray: Share = 0.0
    """Share of the lost messages that arrive within two minutes, whatever happens in between."""
    delay_s: Span = (0.01, 0.2)
    """Shortest and longest delay of a message. Unequal delays reorder messages."""
    degree: Annotated[int, Field(ge=2)] | None = None
    """Number of peers that a node has links with; all if not given."""
    nat: Times = 0
    """Nodes that only dial out: each has links with two of the others and none among themselves."""
    partitions_s: tuple[Span, ...] = ()
    """When the network splits in two, and when it heals."""
    one_way_s: tuple[Span, ...] = ()
    """When messages pass from one half to the other only, and until when."""

    # The machines
    crashes: Times = 0
    """Power cuts; the disk is unchanged."""
    crash_on: tuple[Record, ...] = ()
    """Publishers of these records may lose power while they do so, between any two effects."""
    crash_on_times: Times = 3
    disks_lost: Times = 0
    """Power cuts after which the disk is empty. Faults that harm a disk fall one at a time."""
    disk_lost_on: tuple[Record, ...] = ()
    """One publisher of these records loses power and disk while it does so."""
    disks_old: Times = 0
    """Power cuts after which the disk is as it was earlier: a backup was restored."""
    journals_damaged: Times = 0
    """Power cuts after which the journals do not open and are moved aside; snapshots remain."""
    snapshots_damaged: Times = 0
    """Power cuts after which about half of the snapshots are damaged and dropped."""
    disks_full: Times = 0
    """Disks that refuse writes for a while. A node does not publish what its disk refuses."""
    stops: Times = 0
    """Machines that stop for a while and continue (SIGSTOP, a laptop's lid)."""
    stop_on: Times = 0
    """Leaders that stop when their worker has just finished."""
    stop_s: Span = (30.0, 120.0)
    slow: Times = 0
    """Nodes that compute and answer `slowness` times as slowly, to the end."""
    slowness: Annotated[float, Field(ge=1.0)] = 10.0
    clock_skew_s: Seconds = 0.0
    """Wall clocks are wrong by up to this many seconds."""
    clock_steps: Times = 0
    """Steps of wall clocks, by up to twice as much."""
    down_s: Span = (5.0, 60.0)
    """Shortest and longest time that a crashed node stays down, or a disk full."""

    # The silos
    late: Times = 0
    """Nodes that start only after `late_s`."""
    late_s: Seconds = 120.0
    leavers: Times = 0
    """Silos that withdraw."""
    deaths: Times = 0
    """Nodes that lose power for good."""
    equivocators: Times = 0
    """Silos whose key signs two histories and sends one to each half; their nodes end."""
    spoilers: Times = 0
    """Silos that distil bad students and checkpoints, endorse those, and refuse good ones."""

    # Members whose keys or nodes an attacker controls, from the beginning to the end
    fat: Times = 0
    """Silos whose key writes as many useless records as the protocol allows."""
    fat_by: tuple[Fat, ...] = ("students", "epochs", "stale", "votes")
    """The kinds of such records, one by one in `byzantine`. "joins" are slow to simulate."""
    misjoined: Times = 0
    """Silos whose key joins with label counts that fit no silo of the run."""
    liars: Times = 0
    """Leaders whose students name one teacher, nobody missing, and the end in every round."""
    busy: Times = 0
    """Silos that show progress for ever and publish nothing."""
    core: bool = False
    """Once faults stop, a quorum is sound and the others break for good."""

    # What must hold in addition to SPEC 8
    whole: bool = False
    """No student may lack a silo."""
    max_terms: Annotated[int, Field(ge=1)] | None = None
    """Most terms. More would be a storm of votes."""

    @property
    def quorum(self) -> int:
        return self.nodes // 2 + 1

    @model_validator(mode="after")
    def _possible(self) -> Self:
        gone = self.deaths + self.equivocators + self.fat + self.misjoined + self.busy
        if gone and self.participation == "strict":
            raise ValueError(
                "a strict run waits for dead silos for ever; write tolerant, or deaths 0"
            )
        if self.core and self.participation == "strict":
            raise ValueError("a strict run waits for broken silos for ever; write tolerant")
        if self.nodes - gone - self.leavers - self.spoilers - self.liars < self.quorum:
            raise ValueError(
                "no majority stays sound; lower deaths, leavers or the byzantine silos"
            )
        if self.nat and self.nodes - self.nat < 2:
            raise ValueError("nodes behind NAT must dial two others; lower nat")
        if self.late >= self.nodes or self.slow > self.nodes:
            raise ValueError("late must be below nodes, and slow at most nodes; lower one of them")
        for first, last in (*self.partitions_s, *self.one_way_s, self.delay_s, self.work_s):
            if first > last:
                raise ValueError(f"[{first:g}, {last:g}] ends before it begins; swap the two")
        return self


class _File(Model):
    variant: dict[str, dict[str, Any]]


def names() -> tuple[str, ...]:
    """Names of the scenarios in the package, each variant after its scenario."""
    found = []
    for path in sorted(shipped("scenarios").glob("*.toml")):
        variants = toml.read(path, "").values.get("variant", {})
        found += [path.stem, *(f"{path.stem}:{name}" for name in variants)]
    return tuple(found)


def load(name: str, changes: Mapping[str, Any] | None = None) -> Scenario:
    """Load a scenario: NAME or NAME:VARIANT of a shipped one, or the same with a TOML file's path.

    Args:
        changes: settings that override the file's.

    Raises:
        ConfigError: the scenario or variant does not exist, or the file has an error; the message
            says where.
    """
    stem, _, variant = name.partition(":")
    path = toml.shipped(stem, shipped("scenarios"), "scenario")
    document = toml.read(path, "name a TOML file that exists")
    values = dict(document.values)
    only = {"variant": values.pop("variant", {})}
    variants = toml.Document(document.path, document.text, only).parse(_File).variant
    if variant and variant not in variants:
        raise ConfigError(
            f"no variant {variant!r}", where=str(path), fix=closest(variant, variants)
        )
    given = toml.Document(document.path, document.text, values).parse(Scenario)
    over = {**(variants[variant] if variant else {}), **(changes or {})}
    try:
        return Scenario.model_validate({**given.model_dump(exclude_unset=True), **over})
    except ValidationError as error:
        (first, *_) = toml.problems(error, Scenario, over)
        place = ("variant", variant, *first.place) if variant else first.place
        raise ConfigError(first.what, where=document.where(*place), fix=first.fix) from None


def manifest(scenario: Scenario, members: Sequence[Signs]) -> Manifest:
    """The manifest of a small run with one silo for each signer."""
    stage = Training(steps=10)
    model = find("methods", MethodSettings, scenario.method)
    offered: dict[str, object] = {"max_rounds": scenario.rounds, "schedule": scenario.schedule}
    settings = {name: value for name, value in offered.items() if name in model.model_fields}
    settings |= {name: stage for name, field in model.model_fields.items() if field.is_required()}
    policy = Policy.model_validate(
        {"participation": scenario.participation, "stall_s": scenario.stall_s}
    )
    sections: dict[str, Any] = {}
    if scenario.tokens:
        settings["solver"] = "euler"
        path = find("paths", PathSettings, "discrete")
        network = find("networks", NetworkSettings, "transformer")
        sections = {
            "path": path.model_validate({"tokens": scenario.tokens}),
            "network": network.model_validate({}),
        }
    return Manifest(
        name="simulated",
        sample_shape=(2,),
        **sections,
        attributes=(
            Attribute(name="horizontal", values=("left", "right")),
            Attribute(name="vertical", values=("bottom", "top")),
        ),
        method=model.model_validate({**settings, "name": scenario.method}),
        policy=policy,
        roster=tuple(
            Silo(name=f"silo-{index:04d}", key=signer.key) for index, signer in enumerate(members)
        ),
    )
