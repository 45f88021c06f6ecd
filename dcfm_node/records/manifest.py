"""The manifest of a run: all that its nodes must agree on before they work together (SPEC 2).

Its canonical bytes hash to the run id. Two nodes with different manifests take no part in each
other's run; `differing_fields` names what to compare, and `differences` says it to people.
"""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dcfm_node.records.base import Digest, Key, Model, Name, Snapshot

MAX_COMBINATIONS = 65_536
MAX_SILOS = 1_000
MAX_TOLD = 8
"""Silos that are named where two rosters differ."""

Positive = Annotated[int, Field(ge=1, le=100_000_000)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Attribute(Model):
    """One generative factor and the names of its values. `c_i` is an index into `values`."""

    name: Name
    values: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=64)], ...],
        Field(min_length=2, max_length=1_000),
    ]

    @model_validator(mode="after")
    def _unique(self) -> Self:
        if len(set(self.values)) != len(self.values):
            raise ValueError(f"attribute {self.name!r} names a value twice")
        return self


class Network(Model):
    """The velocity network every silo and the student share."""

    kind: Literal["mlp", "unet"] = "mlp"
    width: Annotated[int, Field(ge=8, le=4_096)] = 256
    depth: Annotated[int, Field(ge=1, le=16)] = 3
    predict: Literal["sample", "velocity"] = "sample"
    """`sample`: the net predicts x_1 and v = (x_1 - x) / max(1 - t, 0.05)."""


class Training(Model):
    """One stage's optimiser settings."""

    steps: Positive
    batch: Annotated[int, Field(ge=1, le=65_536)] = 128
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] = 1e-3
    ci_weight: Annotated[float, Field(ge=0.0, le=1e6)] = 1.0
    """Lambda of Eqs. 11, 14 and 17."""
    ci_batch: Annotated[int, Field(ge=1, le=65_536)] = 32
    """How many of the batch bear the conditional-independence penalty."""
    product_share: Share = 0.0
    """Share of the penalty's labels drawn from the product space instead of the silo's own."""
    patience: Annotated[int, Field(ge=0, le=100)] = 0
    """Stop early once the CI gap has not fallen for this many twentieths of the steps; 0 never."""


class Masks(Model):
    """Label masking of Eq. 8: weights of full labels, one attribute, none. Any positive scale."""

    full: Annotated[float, Field(gt=0.0)] = 0.6
    marginal: Annotated[float, Field(gt=0.0)] = 0.3
    null: Annotated[float, Field(gt=0.0)] = 0.1


NO_STAGE = Training(steps=1)
"""Stands where a method has no such stage."""


class Method(Model):
    """The method and its settings: the schedule of phases and how each stage trains.

    A method's own settings are in `OWN`; those of other methods must be left at their defaults.
    """

    name: Literal["dcfm", "fedflow", "ddm", "dfd"] = "dcfm"
    """DCFM, or a baseline: federated averaging, or independent experts mixed by labels or by
    energies."""
    schedule: Literal["alternating", "paper"] = "alternating"
    min_rounds: Annotated[int, Field(ge=1, le=1_000)] = 1
    max_rounds: Annotated[int, Field(ge=1, le=1_000)] = 3
    """Rounds of DCFM-A at least and at most; convergence is judged from `min_rounds` on. Of
    FedFlow: how often parameters are averaged, at equal intervals of `local.steps`."""
    tolerance: Annotated[float, Field(ge=0.0, le=1.0)] = 0.01
    """Converged when a round lowers the hold-out objective (Eq. 14) by no more than this share."""
    masks: Masks = Masks()
    local: Training
    refine: Training = NO_STAGE
    distil: Training = NO_STAGE
    """The student's distillation; of DDM, the training of its router."""
    routing: Literal["label", "trained"] = "label"
    """What DDM weighs its experts by: label counts, or a classifier of x_t and t."""
    top: Annotated[int, Field(ge=0, le=MAX_SILOS)] = 0
    """How many experts DDM and DFD keep at every step, the heaviest; 0 keeps all."""
    ema: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.995
    solver_steps: Annotated[int, Field(ge=1, le=1_000)] = 25
    """Steps of the ODE solver, in sampling and for the teachers' paths of Eq. 15."""
    solver: Literal["euler", "midpoint", "heun", "rk4"] = "heun"
    composed: bool = True
    """The student is sampled through Eq. 5; False samples its joint head directly."""
    seed: Annotated[int, Field(ge=0, le=2**31)] = 0

    @property
    def in_turn(self) -> bool:
        """Silos refine one after the other, against each other's experts: the paper's DCFM-A."""
        return self.name == "dcfm" and self.schedule == "paper"

    @property
    def alternates(self) -> bool:
        """A student is distilled after every round of training, to refine against."""
        return self.name == "dcfm" and self.schedule == "alternating"

    @property
    def ensemble(self) -> bool:
        """The student is all experts together, mixed when sampled."""
        return self.name in ("ddm", "dfd")

    @property
    def last_round(self) -> int:
        """The last round of training there may be; round 0 is the first, Stage I."""
        return {"dcfm": self.max_rounds, "fedflow": self.max_rounds - 1}.get(self.name, 0)


OWN: dict[str, frozenset[str]] = {
    "dcfm": frozenset(
        {"schedule", "min_rounds", "max_rounds", "tolerance", "refine", "distil", "ema"}
    ),
    "fedflow": frozenset({"max_rounds"}),
    "ddm": frozenset({"routing", "top", "distil", "ema"}),
    "dfd": frozenset({"top", "ema"}),
}
"""Settings that not every method has, by method. Beside `distil`, which DDM has for a trained
router alone."""


class Policy(Model):
    """Who must take part, and how long silence may last."""

    participation: Literal["strict", "tolerant"] = "strict"
    """strict waits for every silo; tolerant goes on with a quorum once the rest stopped moving."""
    stall_s: Annotated[float, Field(gt=0.0, le=1e6)] = 600.0
    """A silo is late after this long without progress: steps done, bytes received, records."""
    duty_s: Annotated[float, Field(gt=0.0, le=1e8)] = 86_400.0
    """Nor does the run wait longer than this for anyone's training, leading or snapshot, whatever
    progress is shown: the longest that one stage may take a silo that is honest and slow."""
    max_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """The most that one silo weighs among all, whatever it says to count: in averages, in what
    experts are asked, in the start of students. Never less than an equal share."""
    endorse_ratio: Annotated[float, Field(gt=0.0)] = 2.0
    """A silo refuses a student whose velocity error on its hold-out data exceeds its own expert's
    by more than this factor."""
    audit: bool = True
    """Every silo scores its peers' experts before they serve; one that is condemned is not used."""


class Transfer(Model):
    """What snapshots are made of, and how they travel."""

    precision: Literal["f32", "bf16"] = "f32"
    """bf16 halves snapshots: weights are rounded before they are published, and trained on from as
    they were published."""
    delta: bool = False
    """Publish each snapshot also as what changed since the one it was trained from: lossless."""

    @property
    def width(self) -> int:
        """Bytes of a number."""
        return 2 if self.precision == "bf16" else 4


class Silo(Model):
    """One member of the roster."""

    name: Name
    key: Key


class Handover(Model):
    """A silo's old key names its new ones: the identity goes on in a run that continues another."""

    name: Name
    link_key: Key
    """Curve25519 public key that goes with the new signing key, which is the roster's."""
    signature: Annotated[bytes, Field(min_length=64, max_length=64)]
    """Under the old key (SPEC 2.7.2)."""


class Continues(Model):
    """The run that this one goes on from, with another roster, other keys or other settings."""

    run: Digest
    student: Snapshot | None
    """A student of that run: what newcomers start from."""
    handovers: Annotated[tuple[Handover, ...], Field(max_length=MAX_SILOS)] = ()
    replaced: Annotated[tuple[Name, ...], Field(max_length=MAX_SILOS)] = ()
    """Silos whose old key is lost: the members vouch for the new one."""


class Manifest(Model):
    """A run. The roster is sorted by name, so that two nodes write the same bytes."""

    name: Name
    sample_shape: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=3)]
    """(features,) for vectors, (channels, height, width) for images."""
    attributes: Annotated[tuple[Attribute, ...], Field(min_length=1, max_length=32)]
    network: Network = Network()
    method: Method
    policy: Policy = Policy()
    transfer: Transfer = Transfer()
    roster: Annotated[tuple[Silo, ...], Field(min_length=1, max_length=MAX_SILOS)]
    continues: Continues | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if math.prod(self.cardinalities) > MAX_COMBINATIONS:
            raise ValueError(f"the attribute space has more than {MAX_COMBINATIONS} combinations")
        names = [attribute.name for attribute in self.attributes]
        if len(set(names)) != len(names):
            raise ValueError("two attributes bear one name")
        silos = [silo.name for silo in self.roster]
        if silos != sorted(set(silos)) or len({silo.key for silo in self.roster}) != len(silos):
            raise ValueError("the roster must be sorted by name, each name and key once")
        if self.policy.duty_s < self.policy.stall_s:
            raise ValueError("policy.duty_s is below policy.stall_s")
        if self.method.min_rounds > self.method.max_rounds:
            raise ValueError("method.min_rounds exceeds method.max_rounds")
        if problem := _method_problem(self.method):
            raise ValueError(problem)
        if self.continues is not None and self.method.name != "dcfm":
            raise ValueError("method.name is no 'dcfm'; a run of another method is not continued")
        if self.network.kind == "unet" and len(self.sample_shape) != 3:
            raise ValueError("network.kind 'unet' needs sample_shape = [channels, height, width]")
        return self

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """|C_i| of every attribute."""
        return tuple(len(attribute.values) for attribute in self.attributes)

    @property
    def quorum(self) -> int:
        """A majority of the roster."""
        return len(self.roster) // 2 + 1

    @property
    def audits(self) -> bool:
        """Whether experts are audited: of two silos or one, no quorum could refuse any."""
        return self.policy.audit and len(self.roster) > 2

    def silo_name(self, key: bytes) -> str:
        """The roster's name for a key, or its first eight hex digits for a stranger."""
        return next((silo.name for silo in self.roster if silo.key == key), key.hex()[:8])


def _method_problem(method: Method) -> str:
    """Which setting does not fit the method, and what to do; empty where all do."""
    own = OWN[method.name]
    if method.name == "ddm" and method.routing == "label":
        own -= {"distil"}
    for name in sorted(frozenset().union(*OWN.values())):
        field = Method.model_fields[name]
        if name not in own and getattr(method, name) != field.default:
            return f"method.{name} is no setting of {method.name!r} as it is set; leave it out"
        if name in own and field.default is NO_STAGE and name not in method.model_fields_set:
            return f"method.{name} is missing, a stage of {method.name!r}; say its steps"
    if method.name == "fedflow" and method.local.patience:
        return "method.local.patience is not 0; 'fedflow' takes all its steps, leave it out"
    if method.name == "fedflow" and method.max_rounds > method.local.steps:
        return "method.max_rounds exceeds method.local.steps; average less often"
    return ""


def differing_fields(ours: Manifest, theirs: Manifest) -> tuple[str, ...]:
    """Dotted names of the fields in which two manifests differ, in document order."""
    found: list[str] = []

    def walk(a: object, b: object, path: str) -> None:
        if isinstance(a, Model) and type(a) is type(b):
            for field in type(a).model_fields:
                walk(getattr(a, field), getattr(b, field), f"{path}.{field}" if path else field)
        elif a != b:
            found.append(path)

    walk(ours, theirs, "")
    return tuple(found)


def differences(ours: Manifest, theirs: Manifest) -> tuple[str, ...]:
    """The same in words: of the rosters, also the silos and what of them differs."""
    return tuple(
        f"roster ({_of_rosters(ours, theirs)})" if field == "roster" else field
        for field in differing_fields(ours, theirs)
    )


def _of_rosters(ours: Manifest, theirs: Manifest) -> str:
    here = {silo.name: silo.key for silo in ours.roster}
    there = {silo.name: silo.key for silo in theirs.roster}
    found = [
        f"{name} is missing there"
        if name not in there
        else f"{name} is missing here"
        if name not in here
        else f"the key of {name}"
        for name in sorted(here.keys() | there.keys())
        if here.get(name) != there.get(name)
    ]
    more = [f"and {len(found) - MAX_TOLD} more"] if len(found) > MAX_TOLD else []
    return "; ".join(found[:MAX_TOLD] + more)
