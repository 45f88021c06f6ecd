"""configs/scenarios/*.toml: what befalls a simulated run, and the manifest that its nodes share."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from dcfm_node.config import toml
from dcfm_node.config.advice import closest
from dcfm_node.errors import ConfigError
from dcfm_node.files import shipped
from dcfm_node.records.base import Model, Name
from dcfm_node.records.manifest import Attribute, Manifest, Policy, Silo
from dcfm_node.records.settings import MethodSettings, Training, find
from dcfm_node.wire.envelope import Signs

Fat = Literal["students", "joins", "epochs", "stale", "votes", "offences"]
Record = Literal["join", "expert", "vote", "lease", "student", "endorse"]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Seconds = Annotated[float, Field(ge=0.0, le=1e6)]
Times = Annotated[int, Field(ge=0, le=1_000)]
Span = tuple[Seconds, Seconds]


class Scenario(Model):
    """What befalls a simulated run. Times in seconds of the fake clock; faults without a time of
    their own fall at random instants before `quiet_s`."""

    title: str = ""
    nodes: Annotated[int, Field(ge=1, le=1_000)] = 7

    # The run
    method: Name = "dcfm"
    schedule: Literal["alternating", "paper"] = "alternating"
    participation: Literal["strict", "tolerant"] = "strict"
    rounds: Annotated[int, Field(ge=1, le=100)] = 2
    stall_s: Annotated[float, Field(gt=0.0)] = 60.0
    gossip_s: Annotated[float, Field(gt=0.0)] = 2.0
    work_s: Span = (5.0, 30.0)
    """Shortest and longest piece of work."""
    quiet_s: Seconds = 240.0
    """Faults stop; what is true afterwards must become known to everyone."""
    limit_s: Seconds = 7_200.0
    """The run must be over by then."""

    # The network
    loss: Share = 0.0
    """Of the messages."""
    duplicate: Share = 0.0
    """Of the messages, delivered twice."""
    stray: Share = 0.0
    """Of the messages lost, turning up within two minutes, whatever happened meanwhile."""
    delay_s: Span = (0.01, 0.2)
    """Shortest and longest delay of a message; unequal delays reorder."""
    degree: Annotated[int, Field(ge=2)] | None = None
    """Peers a node has links with; all if not given."""
    nat: Times = 0
    """Nodes that only dial out: linked with two of the others and not with one another."""
    partitions_s: tuple[Span, ...] = ()
    """When the network splits in two, and when it heals."""
    one_way_s: tuple[Span, ...] = ()
    """When messages pass from one half to the other and none come back, and until when."""

    # The machines
    crashes: Times = 0
    """Power cuts; the disk is as it was."""
    crash_on: tuple[Record, ...] = ()
    """Who publishes such a record may lose power then and there, between any two effects."""
    crash_on_times: Times = 3
    disks_lost: Times = 0
    """Power cuts after which the disk is empty. Those that harm a disk fall one at a time."""
    disk_lost_on: tuple[Record, ...] = ()
    """Somebody who publishes such a record loses power and disk then and there."""
    disks_old: Times = 0
    """After which the disk is as it was some time ago: a backup was put back."""
    journals_damaged: Times = 0
    """After which the journals do not open and are moved aside; snapshots are there."""
    snapshots_damaged: Times = 0
    """After which about half of the snapshots are not what they were, and are dropped."""
    disks_full: Times = 0
    """Disks that take nothing more for a while: what they refuse is not told of before."""
    stops: Times = 0
    """Machines that stand still for a while and go on (SIGSTOP, a laptop's lid)."""
    stop_on: Times = 0
    """Leaders that stand still when their worker has just finished."""
    stop_s: Span = (30.0, 120.0)
    slow: Times = 0
    """Nodes that compute and answer `slowness` times as slowly, to the end."""
    slowness: Annotated[float, Field(ge=1.0)] = 10.0
    clock_skew_s: Seconds = 0.0
    """Wall clocks are wrong by up to so much."""
    clock_steps: Times = 0
    """And step by up to twice as much."""
    down_s: Span = (5.0, 60.0)
    """How long a crashed node stays away, or a disk full."""

    # The silos
    late: Times = 0
    """Nodes that start only after `late_s`."""
    late_s: Seconds = 120.0
    leavers: Times = 0
    """Silos that withdraw."""
    deaths: Times = 0
    """Nodes that lose power for good."""
    equivocators: Times = 0
    """Silos whose key signs two histories and shows each to one half; their nodes end."""
    spoilers: Times = 0
    """Silos that distil bad students and checkpoints, endorse those, and refuse good ones."""

    # Members whose keys or nodes are in bad hands, from the beginning to the end
    fat: Times = 0
    """Silos whose key writes as much as the protocol lets it, of what counts for nothing."""
    fat_by: tuple[Fat, ...] = ("students", "epochs", "stale", "votes")
    """By what: `byzantine` says what each is. "joins" are dear to simulate."""
    misjoined: Times = 0
    """Silos whose key joins with label counts that fit no silo of the run."""
    liars: Times = 0
    """Leaders whose students name one teacher, nobody missing, and the end in every round."""
    busy: Times = 0
    """Silos that show progress for ever and publish nothing."""
    core: bool = False
    """Once faults stop, a quorum is sound and the others break for good."""

    # What must come of it, beside SPEC 8
    whole: bool = False
    """No student may lack a silo."""
    max_terms: Annotated[int, Field(ge=1)] | None = None
    """More terms would be a storm of votes."""

    @property
    def quorum(self) -> int:
        return self.nodes // 2 + 1

    @model_validator(mode="after")
    def _possible(self) -> Self:
        gone = self.deaths + self.equivocators + self.fat + self.misjoined + self.busy
        if gone and self.participation == "strict":
            raise ValueError(
                "a strict run waits for the dead for ever; write tolerant, or deaths 0"
            )
        if self.core and self.participation == "strict":
            raise ValueError("a strict run waits for the broken for ever; write tolerant")
        if self.nodes - gone - self.leavers - self.spoilers - self.liars < self.quorum:
            raise ValueError("no majority is left; lower deaths, leavers, or who is byzantine")
        if self.nat and self.nodes - self.nat < 2:
            raise ValueError("nodes behind NAT need two others to dial; lower nat")
        if self.late >= self.nodes or self.slow > self.nodes:
            raise ValueError("more nodes are late or slow than there are; lower late or slow")
        for first, last in (*self.partitions_s, *self.one_way_s, self.delay_s, self.work_s):
            if first > last:
                raise ValueError(f"[{first:g}, {last:g}] ends before it begins; swap the two")
        return self


class _File(Model):
    variant: dict[str, dict[str, Any]]


def names() -> tuple[str, ...]:
    """The scenarios that come with the package, each variant after its scenario."""
    found = []
    for path in sorted(shipped("scenarios").glob("*.toml")):
        variants = toml.read(path, "").values.get("variant", {})
        found += [path.stem, *(f"{path.stem}:{name}" for name in variants)]
    return tuple(found)


def load(name: str, changes: Mapping[str, Any] | None = None) -> Scenario:
    """A scenario: NAME or NAME:VARIANT of the shipped ones, or the same with a TOML file's path.

    Args:
        changes: settings laid over the file's.

    Raises:
        ConfigError: no such scenario or variant, or what is wrong with the file and where.
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
    """A small run for as many silos as there are signers."""
    stage = Training(steps=10)
    model = find("methods", MethodSettings, scenario.method)
    offered: dict[str, object] = {"max_rounds": scenario.rounds, "schedule": scenario.schedule}
    settings = {name: value for name, value in offered.items() if name in model.model_fields}
    settings |= {name: stage for name, field in model.model_fields.items() if field.is_required()}
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
        method=model.model_validate({**settings, "name": scenario.method}),
        policy=policy,
        roster=tuple(
            Silo(name=f"silo-{index:04d}", key=signer.key) for index, signer in enumerate(members)
        ),
    )
